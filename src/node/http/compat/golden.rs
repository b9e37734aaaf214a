//! The earlier systems' answers, byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::problem::Problem;
use super::super::samples;
use super::super::write_json::to_json;
use super::{nodes, syncpay, transfer};
use crate::runtime::{CommittedWrite, Cursor, NodeStatus, Page, PaymentRecord, PeerStatus};
use quorapay_api::compatible::SyncPayPing;
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
        let shown = nodes::syncpay_status(status, &peers, &seen, offset_ms);
        shapes.push((format!("status {name} {offset_ms:?}"), to_json(&shown, 0)));
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
    for (name, request) in [("euros", samples::request()), ("yen", yen)] {
        for outcome in [samples::succeeded(), samples::authorized()] {
            let entry = Arc::new(samples::payment_entry(request.clone(), outcome));
            for replayed in [false, true] {
                let committed = CommittedWrite {
                    entry: Arc::clone(&entry),
                    replayed,
                    leader: node.clone(),
                    epoch: Epoch(2),
                    time_error_ms: Some(51),
                };
                let made = to_json(&syncpay::receipt(&committed, &samples::key("order \"42\""), &node), 0);
                shapes.push((format!("syncpay {name} {replayed}"), made));
                shapes.push((
                    format!("transfer {name} {replayed}"),
                    to_json(&transfer::receipt(&committed, &request), 0),
                ));
            }
            let state = PaymentState::decided(&request, outcome).expect("no repeat");
            let record = PaymentRecord { entry, item: 0, state, history: Vec::new() };
            for leader in [None, Some(&node)] {
                let shown = syncpay::transaction(&record, leader);
                shapes.push((format!("transaction {name} {}", leader.is_some()), to_json(&shown, 0)));
            }
            for next_before in [None, Some(Cursor { index: LogIndex(7), item: 3 })] {
                let page = Page { found: vec![record.clone()], next_before };
                let leaders = BTreeMap::new();
                let shown = syncpay::transaction_page(&page, &leaders, 12, &node);
                shapes.push((format!("transactions {name} {}", next_before.is_some()), to_json(&shown, 0)));
            }
        }
    }
    let ping = SyncPayPing { status: "ok", node_id: Cow::Borrowed(&node) };
    shapes.push(("ping".to_owned(), to_json(&ping, 0)));
}

pub(in crate::http) fn syncpay_refusal(body: &[u8]) -> Option<Problem> {
    syncpay::parse(body).err()
}

pub(in crate::http) fn transfer_refusal(body: &[u8]) -> Option<Problem> {
    transfer::parse(body).err()
}
