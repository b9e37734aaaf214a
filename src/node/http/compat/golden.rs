//! The earlier systems' answers, byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::json::write_object;
use super::super::problem::Problem;
use super::super::read::List;
use super::super::render::ShownPayment;
use super::super::samples;
use super::syncpay::{self, nodes};
use super::transfer;
use crate::runtime::{CommittedWrite, Cursor, NodeStatus, PaymentRecord, PeerStatus};
use quorapay_core::domain::{Currency, Epoch, LogIndex, MinorUnits, PaymentRequest, PaymentState, Timestamp};

type Shapes = Vec<(String, Vec<u8>)>;

pub(in crate::http) fn nodes(shapes: &mut Shapes, name: &str, status: &NodeStatus, peers: &[PeerStatus]) {
    let now = Timestamp(1_700_000_001_250);
    let answer = nodes::health_answer(status, now, 7);
    shapes.push((format!("health {name} {}", answer.status().as_u16()), answer.body().to_vec()));
    let third = PeerStatus { node_id: samples::node("node3"), peer_url: String::new(), status: Some(status.clone()) };
    let peers = [peers, &[third]].concat();
    let seen = BTreeMap::from([(samples::node("node3"), now)]);
    for offset_ms in [None, Some(0), Some(-20), Some(123_456)] {
        let json = nodes::status_json(status, &peers, &seen, offset_ms);
        shapes.push((format!("status {name} {offset_ms:?}"), json));
    }
}

pub(in crate::http) fn payments(shapes: &mut Shapes) {
    let yen = PaymentRequest::plain(
        samples::account("1"),
        samples::account("2"),
        MinorUnits::new(150),
        Currency::parse("JPY").expect("valid"),
    );
    let node = samples::node("node1");
    let mut out = Vec::new();
    for (name, request) in [("euros", samples::request()), ("yen", yen)] {
        for outcome in [samples::succeeded(), samples::authorized()] {
            let entry = Arc::new(samples::payment_entry(request.clone(), outcome));
            for replayed in [false, true] {
                let committed =
                    CommittedWrite { entry: Arc::clone(&entry), replayed, leader: node.clone(), epoch: Epoch(2) };
                let made = syncpay::made(&committed, &samples::key("order \"42\""), &node);
                shapes.push((format!("syncpay {name} {replayed}"), made));
                shapes.push((format!("transfer {name} {replayed}"), transfer::complete(&committed, &request)));
            }
            let state = PaymentState::decided(&request, outcome).expect("no repeat");
            let view = PaymentRecord { entry, item: 0, state, history: Vec::new() };
            let shown = ShownPayment::now(&view).expect("a payment");
            for leader in [None, Some(&node)] {
                out.clear();
                syncpay::transaction(&mut out, &view, &shown, leader);
                shapes.push((format!("transaction {name} {}", leader.is_some()), out.clone()));
            }
            for next in [None, Some(Cursor { index: LogIndex(7), item: 3 })] {
                out.clear();
                write_object(&mut out, |object| {
                    object.array("transactions", [(&view, &shown)], |out, (view, shown)| {
                        syncpay::transaction(out, view, shown, None);
                    });
                    object.field("total_count", &12_u64).text("node_id", &node);
                    object.optional("next_cursor", next.map(|cursor| List::Payments.cursor_before(cursor)));
                });
                shapes.push((format!("transactions {name} {}", next.is_some()), out.clone()));
            }
        }
    }
    out.clear();
    write_object(&mut out, |object| {
        object.field("status", "ok").text("node_id", &node);
    });
    shapes.push(("ping".to_owned(), out));
}

pub(in crate::http) fn syncpay_refusal(body: &[u8]) -> Option<Problem> {
    syncpay::parse(body).err()
}

pub(in crate::http) fn transfer_refusal(body: &[u8]) -> Option<Problem> {
    transfer::parse(body).err()
}
