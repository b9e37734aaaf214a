//! Draws the operations of a process: a mix in which every kind of operation meets every other.

use std::sync::Arc;

use super::state::LoadState;
use super::step::Step;
use crate::history::{Consistency, Read, Subject};
use crate::random::Random;
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountStatus, BatchItem, BatchRequest, Capture, Currency, IdempotencyKey,
    MinorUnits, OperationRequest, OrderCap, OrderId, Overdraft, PaymentChangeKind, PaymentRequest, Proposal,
};

/// External accounts, which may have any balance.
const CARD: &str = "external:card";
const BANK: &str = "external:bank";

/// Number of orders that payments refer to: few, so that their totals are reached.
const ORDERS: u64 = 200;
/// Total of an order.
const ORDER_TOTAL: i64 = 2_500;

/// Most captures and voids are for this many latest holds.
const LATEST_HOLDS: usize = 32;

/// The operations of one process.
pub(super) struct Workload {
    state: Arc<LoadState>,
    process: u32,
    random: Random,
    keys: u64,
}

impl Workload {
    pub(super) fn new(state: Arc<LoadState>, process: u32) -> Self {
        let random = Random::of_stream(state.plan.seed, process);
        Self { state, process, random, keys: 0 }
    }

    /// The next operation.
    pub(super) fn draw(&mut self) -> Step {
        let node = self.node();
        match self.random.below(100) {
            0..36 => Step::Write { proposal: self.new_payment(), node },
            36..45 => self.payment_change(node),
            45..51 => self.repeat(node),
            51..54 => self.reuse(node),
            54..58 => Step::Write { proposal: self.account_write(), node },
            58..62 => self.race(),
            62..65 => self.fence(node),
            65..68 => Step::Write { proposal: self.batch(), node },
            68..78 => self.read(node, Consistency::Linearizable),
            78..86 => self.read(node, Consistency::Local),
            86..90 => self.look_up(node),
            90..95 => self.payment_by_id(node),
            _ => self.payments(node),
        }
    }

    fn node(&mut self) -> usize {
        self.random.index(self.state.nodes.len())
    }

    fn new_key(&mut self) -> IdempotencyKey {
        self.keys += 1;
        let key = format!("{}-{}-{}", self.state.plan.run, self.process, self.keys);
        IdempotencyKey::parse(&key).expect("letters, digits and dashes")
    }

    /// From 1 to `max` minor units.
    fn amount(&mut self, max: u32) -> MinorUnits {
        MinorUnits::new(i64::try_from(1 + self.random.below(u64::from(max))).expect("at most a u32"))
    }

    fn account(&mut self) -> AccountId {
        account(self.random.below(u64::from(self.state.plan.accounts)))
    }

    fn new_payment(&mut self) -> Proposal {
        Proposal { key: self.new_key(), request: OperationRequest::Payment(self.payment_request()) }
    }

    /// Money comes in from a card, circulates and leaves to a bank. Payments often exceed the balance.
    fn payment_request(&mut self) -> PaymentRequest {
        let (from, to, max) = match self.random.below(10) {
            0..4 => (outside(CARD), self.account(), 1_000),
            4..9 => (self.account(), self.account(), 1_500),
            _ => (self.account(), outside(BANK), 2_000),
        };
        let to = if from == to { outside(BANK) } else { to };
        let currency = if self.random.below(10) == 0 { "JPY" } else { "EUR" };
        let currency = Currency::parse(currency).expect("a currency");
        let amount = self.amount(max);
        let described = self.random.below(8) == 0;
        PaymentRequest {
            capture: self.capture(),
            order: self.order(),
            description: described.then(|| "under load, with \"quotes\" and \u{2603}".into()),
            metadata: (described && self.random.below(2) == 0).then(|| r#"{"attempts":[1,2.5,null]}"#.into()),
            ..PaymentRequest::plain(from, to, amount, currency)
        }
    }

    /// A fifth are holds, some of which expire before a capture or void.
    fn capture(&mut self) -> Capture {
        match self.random.below(5) {
            0 => Capture::Manual { expires_in_s: if self.random.below(2) == 0 { 3 } else { 600 } },
            _ => Capture::Automatic,
        }
    }

    /// Many payments for the same orders under different keys, like those of shops that charge twice.
    fn order(&mut self) -> Option<Box<OrderCap>> {
        if self.random.below(6) != 0 {
            return None;
        }
        let id = format!("{}-order-{}", self.state.plan.run, self.random.below(ORDERS));
        let total = ORDER_TOTAL + i64::from(self.random.below(20) == 0);
        let id = OrderId::parse(&id).expect("letters, digits and dashes");
        Some(Box::new(OrderCap { id, total: MinorUnits::new(total) }))
    }

    /// A capture, a void or a refund of any payment, whether it is possible or not.
    fn payment_change(&mut self, node: usize) -> Step {
        let is_refund = self.random.below(3) == 0;
        let payment = {
            let memory = self.state.memory();
            let of_holds = !is_refund && self.random.below(5) != 0;
            let ids = if of_holds { memory.hold_ids() } else { memory.payment_ids() };
            // Mostly of the latest: little is left of older holds.
            let max = if of_holds { ids.len().min(LATEST_HOLDS) } else { ids.len() };
            (max > 0).then(|| ids[ids.len() - 1 - self.random.index(max)])
        };
        let Some(payment) = payment else { return Step::Write { proposal: self.new_payment(), node } };
        let amount = (self.random.below(2) == 0).then(|| self.amount(600));
        let change = match self.random.below(4) {
            _ if is_refund => PaymentChangeKind::Refund(amount),
            0 => PaymentChangeKind::Void,
            _ => PaymentChangeKind::Capture(amount),
        };
        let request = OperationRequest::PaymentChange { payment, change };
        Step::Write { proposal: Proposal { key: self.new_key(), request }, node }
    }

    fn account_write(&mut self) -> Proposal {
        let overdraft = match self.random.below(4) {
            0 => Overdraft::Limit(self.amount(3_000)),
            1 => Overdraft::Unlimited,
            _ => Overdraft::None,
        };
        let status = match self.random.below(12) {
            0 => AccountStatus::Closed,
            1 => AccountStatus::Frozen,
            _ => AccountStatus::Active,
        };
        let change = match self.random.below(4) {
            0 => AccountChangeKind::Open(overdraft),
            1 => AccountChangeKind::Change { overdraft: Some(overdraft), status: None },
            2 => AccountChangeKind::Change { overdraft: Some(overdraft), status: Some(AccountStatus::Active) },
            _ => AccountChangeKind::Change { overdraft: None, status: Some(status) },
        };
        Proposal { key: self.new_key(), request: OperationRequest::Account { account: self.account(), change } }
    }

    /// A used key with its request: the answer must be the same as before.
    fn repeat(&mut self, node: usize) -> Step {
        let proposal = self.decided().unwrap_or_else(|| self.new_payment());
        Step::Write { proposal, node }
    }

    /// A used key with another request: it must be refused.
    fn reuse(&mut self, node: usize) -> Step {
        let mut proposal = self.new_payment();
        if let Some(decided) = self.decided() {
            proposal.key = decided.key;
        }
        Step::Write { proposal, node }
    }

    /// The same payment from two processes at two nodes, or sometimes two different requests under one key.
    fn race(&mut self) -> Step {
        let first = self.new_payment();
        let mut second = first.clone();
        match self.random.below(6) {
            0 => second.request = OperationRequest::Payment(self.payment_request()),
            1 => second.request = OperationRequest::KeyFence,
            _ => {}
        }
        let rival = (self.process + 1) % self.state.plan.processes;
        Step::Race { proposals: Box::new([first, second]), nodes: [self.node(), self.node()], rival }
    }

    /// A fence of a key that is new, of unknown outcome or used. Afterwards nothing new may be applied under it.
    fn fence(&mut self, node: usize) -> Step {
        let key = match self.random.below(3) {
            0 => self.decided().map(|proposal| proposal.key),
            1 => self.open_key(),
            _ => None,
        };
        let key = key.unwrap_or_else(|| self.new_key());
        Step::Write { proposal: Proposal { key, request: OperationRequest::KeyFence }, node }
    }

    /// A few payments in one entry, some with their own keys.
    fn batch(&mut self) -> Proposal {
        let items = 2 + self.random.below(4);
        let items = (0..items).map(|_| {
            let key = (self.random.below(2) == 0).then(|| self.new_key());
            BatchItem { key, request: self.payment_request() }
        });
        let items = items.collect();
        let atomic = self.random.below(3) == 0;
        Proposal { key: self.new_key(), request: OperationRequest::Batch(BatchRequest { atomic, items }) }
    }

    fn decided(&mut self) -> Option<Proposal> {
        let memory = self.state.memory();
        let writes = memory.decided_writes();
        (!writes.is_empty()).then(|| writes[self.random.index(writes.len())].clone())
    }

    fn open_key(&mut self) -> Option<IdempotencyKey> {
        let memory = self.state.memory();
        let open = memory.open();
        if open.is_empty() { None } else { open.iter().nth(self.random.index(open.len())).cloned() }
    }

    fn read(&mut self, node: usize, consistency: Consistency) -> Step {
        let subject = Subject::Account(self.account());
        // Read-your-writes behind a load balancer that may choose any node.
        let read_back = consistency == Consistency::Local && self.random.below(3) == 0;
        let min_index = read_back.then(|| self.state.highest_index());
        Step::Read { read: Read { subject, consistency, min_index }, node }
    }

    fn look_up(&mut self, node: usize) -> Step {
        let key = self.open_key().or_else(|| self.decided().map(|proposal| proposal.key));
        let key = key.unwrap_or_else(|| self.new_key());
        Step::Read { read: linearizable(Subject::Key(key)), node }
    }

    fn payment_by_id(&mut self, node: usize) -> Step {
        let id = {
            let memory = self.state.memory();
            let ids = memory.payment_ids();
            (!ids.is_empty()).then(|| ids[self.random.index(ids.len())].to_string())
        };
        id.map_or_else(|| self.payments(node), |id| Step::Read { read: linearizable(Subject::Payment(id)), node })
    }

    fn payments(&mut self, node: usize) -> Step {
        let account = (self.random.below(2) == 0).then(|| self.account());
        Step::Read { read: linearizable(Subject::Payments { account, limit: 10 }), node }
    }
}

/// One of the accounts among which money circulates.
fn account(number: u64) -> AccountId {
    AccountId::parse(&format!("chaos:{number}")).expect("letters, a colon and digits")
}

fn outside(id: &str) -> AccountId {
    AccountId::parse(id).expect("an account id")
}

/// Every account that a load may have touched.
pub(super) fn every_account(accounts: u32) -> impl Iterator<Item = AccountId> {
    (0..u64::from(accounts)).map(account).chain([CARD, BANK].map(outside))
}

/// A linearizable read.
pub(super) const fn linearizable(subject: Subject) -> Read {
    Read { subject, consistency: Consistency::Linearizable, min_index: None }
}
