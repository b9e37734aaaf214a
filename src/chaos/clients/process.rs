//! One process: what it asks, on its turns of the schedule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::task::JoinSet;

use super::chance::Chance;
use super::exchange::Ended;
use super::shared::Shared;
use crate::client::{KeyLookup, KeyState};
use crate::domain::{
    AccountChangeKind, AccountId, Currency, IdempotencyKey, MinorUnits, OperationRequest, Overdraft, PaymentRequest,
    Proposal,
};
use crate::history::{Ask, Consistency, Micros, Read, Subject, Told};

/// How often a write is tried under its key before it is left to the final look-ups.
const ATTEMPTS: u32 = 4;

/// The rest before another attempt, times the attempts made: a node that is gone refuses in microseconds.
const REST: Duration = Duration::from_millis(40);

/// The accounts outside the cluster's books.
const CARD: &str = "external:card";
const BANK: &str = "external:bank";

/// What is done on one turn.
#[derive(Debug)]
enum Step {
    /// A write at one node, and at others if that one cannot say what became of it.
    Write { proposal: Proposal, node: usize },
    /// Two writes under one key at two nodes at once, the second in the name of another process.
    Race { proposals: [Proposal; 2], nodes: [usize; 2], rival: u32 },
    /// A read.
    Read { read: Read, node: usize },
}

/// See the module.
pub(super) struct Process {
    shared: Arc<Shared>,
    number: u32,
    chance: Chance,
    keys: u64,
}

impl Process {
    pub(super) fn new(shared: Arc<Shared>, number: u32) -> Self {
        let chance = Chance::of_process(shared.plan.seed, number);
        Self { shared, number, chance, keys: 0 }
    }

    /// Asks on every turn until the schedule is over, then waits for what is under way.
    pub(super) async fn run(mut self, start: Instant) {
        let period = Duration::from_secs(1) / self.shared.plan.rate;
        let mut over = self.shared.over.clone();
        let mut under_way = JoinSet::new();
        for turn in (self.number..).step_by(usize::try_from(self.shared.plan.processes).expect("a u32 fits")) {
            let due = start + period * turn;
            tokio::select! {
                biased;
                // The sender is gone only when the load itself is.
                _ = over.wait_for(|over| *over) => break,
                () = tokio::time::sleep_until(due.into()) => {}
            }
            while under_way.try_join_next().is_some() {}
            let intended = self.shared.exchange.recorder().at(due);
            if under_way.len() < usize::try_from(self.shared.plan.outstanding).expect("a u32 fits") {
                let step = self.draw();
                under_way.spawn(step.run(Arc::clone(&self.shared), self.number, intended));
            } else {
                self.shared.late(self.number, intended);
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended.expect("a step does not panic");
        }
    }

    fn draw(&mut self) -> Step {
        let node = self.node();
        match self.chance.below(100) {
            0..46 => Step::Write { proposal: self.new_payment(), node },
            46..54 => self.repeat(node),
            54..57 => self.reuse(node),
            57..60 => Step::Write { proposal: self.account_write(), node },
            60..65 => self.race(),
            65..77 => self.read(node, Consistency::Linearizable),
            77..85 => self.read(node, Consistency::Local),
            85..90 => self.look_up(node),
            90..95 => self.payment_by_id(node),
            _ => self.payments(node),
        }
    }

    fn node(&mut self) -> usize {
        self.chance.index(self.shared.nodes.len())
    }

    fn new_key(&mut self) -> IdempotencyKey {
        self.keys += 1;
        let key = format!("{}-{}-{}", self.shared.run, self.number, self.keys);
        IdempotencyKey::parse(&key).expect("letters, digits and dashes")
    }

    fn account(&mut self) -> AccountId {
        account(self.chance.below(u64::from(self.shared.plan.accounts)))
    }

    fn new_payment(&mut self) -> Proposal {
        Proposal { key: self.new_key(), request: OperationRequest::Payment(self.payment_request()) }
    }

    /// Money comes in from a card, goes round and leaves to a bank; what goes round is often more than there is.
    fn payment_request(&mut self) -> PaymentRequest {
        let outside = |id| AccountId::parse(id).expect("an account id");
        let (from, to, most) = match self.chance.below(10) {
            0..4 => (outside(CARD), self.account(), 1_000),
            4..9 => (self.account(), self.account(), 1_500),
            _ => (self.account(), outside(BANK), 2_000),
        };
        let to = if from == to { outside(BANK) } else { to };
        let currency = if self.chance.below(10) == 0 { "JPY" } else { "EUR" };
        let described = self.chance.below(8) == 0;
        PaymentRequest {
            from,
            to,
            amount: MinorUnits::new(self.chance.amount(most)),
            currency: Currency::parse(currency).expect("a currency"),
            description: described.then(|| "under load, with \"quotes\" and \u{2603}".into()),
            metadata: (described && self.chance.below(2) == 0).then(|| r#"{"attempts":[1,2.5,null]}"#.into()),
        }
    }

    fn account_write(&mut self) -> Proposal {
        let overdraft = match self.chance.below(4) {
            0 => Overdraft::Limit(MinorUnits::new(self.chance.amount(3_000))),
            1 => Overdraft::Unlimited,
            _ => Overdraft::None,
        };
        let change = match self.chance.below(2) {
            0 => AccountChangeKind::Open(overdraft),
            _ => AccountChangeKind::SetOverdraft(overdraft),
        };
        Proposal { key: self.new_key(), request: OperationRequest::Account { account: self.account(), change } }
    }

    /// An old key with its old request: the answer must be the old one.
    fn repeat(&mut self, node: usize) -> Step {
        let proposal = self.decided().unwrap_or_else(|| self.new_payment());
        Step::Write { proposal, node }
    }

    /// An old key with another request: it must be refused.
    fn reuse(&mut self, node: usize) -> Step {
        let mut proposal = self.new_payment();
        if let Some(decided) = self.decided() {
            proposal.key = decided.key;
        }
        Step::Write { proposal, node }
    }

    /// The same payment from two processes at two nodes, or, now and then, two payments under one key.
    fn race(&mut self) -> Step {
        let first = self.new_payment();
        let mut second = first.clone();
        if self.chance.below(4) == 0 {
            second.request = OperationRequest::Payment(self.payment_request());
        }
        let rival = (self.number + 1) % self.shared.plan.processes;
        Step::Race { proposals: [first, second], nodes: [self.node(), self.node()], rival }
    }

    fn decided(&mut self) -> Option<Proposal> {
        let memory = self.shared.memory();
        let writes = memory.decided_writes();
        (!writes.is_empty()).then(|| writes[self.chance.index(writes.len())].clone())
    }

    fn read(&mut self, node: usize, consistency: Consistency) -> Step {
        let of = Subject::Account(self.account());
        // Reading one's writes behind a load balancer, whatever node it chose.
        let read_back = consistency == Consistency::Local && self.chance.below(3) == 0;
        let min_index = read_back.then(|| self.shared.told_index());
        Step::Read { read: Read { of, consistency, min_index }, node }
    }

    fn look_up(&mut self, node: usize) -> Step {
        let open = {
            let memory = self.shared.memory();
            let open = memory.open();
            (!open.is_empty()).then(|| open.iter().nth(self.chance.index(open.len()))).flatten().cloned()
        };
        let key = open.or_else(|| self.decided().map(|proposal| proposal.key)).unwrap_or_else(|| self.new_key());
        Step::Read { read: linearizable(Subject::Key(key)), node }
    }

    fn payment_by_id(&mut self, node: usize) -> Step {
        let id = {
            let memory = self.shared.memory();
            let ids = memory.payment_ids();
            (!ids.is_empty()).then(|| ids[self.chance.index(ids.len())].clone())
        };
        id.map_or_else(|| self.payments(node), |id| Step::Read { read: linearizable(Subject::Payment(id)), node })
    }

    fn payments(&mut self, node: usize) -> Step {
        let account = (self.chance.below(2) == 0).then(|| self.account());
        Step::Read { read: linearizable(Subject::Payments { account, limit: 10 }), node }
    }
}

/// One of the accounts among which the money goes round.
pub(super) fn account(number: u64) -> AccountId {
    AccountId::parse(&format!("chaos:{number}")).expect("letters, a colon and digits")
}

/// Every account that a load may have touched.
pub(super) fn every_account(accounts: u32) -> impl Iterator<Item = AccountId> {
    let outside = [CARD, BANK].map(|id| AccountId::parse(id).expect("an account id"));
    (0..u64::from(accounts)).map(account).chain(outside)
}

pub(super) const fn linearizable(of: Subject) -> Read {
    Read { of, consistency: Consistency::Linearizable, min_index: None }
}

impl Step {
    async fn run(self, shared: Arc<Shared>, process: u32, intended: Micros) {
        match self {
            Self::Write { proposal, node } => write(&shared, process, node, intended, proposal).await,
            Self::Race { proposals: [first, second], nodes, rival } => {
                let one = write(&shared, process, nodes[0], intended, first);
                let other = write(&shared, rival, nodes[1], intended, second);
                tokio::join!(one, other);
            }
            Self::Read { read, node } => {
                let key = if let Subject::Key(key) = &read.of { Some(key.clone()) } else { None };
                let ended = shared.attempt(process, node, intended, &Ask::Read(read)).await;
                if let (Some(key), Ended::Ok(told)) = (key, ended)
                    && key_state(&told) == Some(KeyState::Committed)
                {
                    shared.memory().settled(&key);
                }
            }
        }
    }
}

/// What a look-up said of a key.
pub(super) fn key_state(told: &Told) -> Option<KeyState> {
    serde_json::from_str::<KeyLookup>(told.body.as_str()).ok().map(|lookup| lookup.state)
}

/// Tries a write under its key, at one node after another, until its outcome is known or the attempts are used up.
async fn write(shared: &Shared, process: u32, node: usize, intended: Micros, proposal: Proposal) {
    let key = proposal.key.clone();
    let ask = Ask::Write(Box::new(proposal.clone()));
    let mut open = false;
    for attempt in 0..ATTEMPTS {
        let at = (node + usize::try_from(attempt).expect("a few")) % shared.nodes.len();
        match shared.attempt(process, at, intended, &ask).await {
            Ended::Ok(told) | Ended::Rejected(told) => {
                shared.memory().decided(&proposal, payment_id(&told));
                return;
            }
            Ended::Refused { retryable: false } => break,
            Ended::Refused { retryable: true } => {}
            Ended::Unknown => open = true,
        }
        if shared.is_over() {
            break;
        }
        tokio::time::sleep(REST * (attempt + 1)).await;
    }
    if open {
        shared.memory().left_open(&key);
    }
}

/// The id of the payment in an answer; the refusal of a payment names it as a member.
fn payment_id(told: &Told) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
        #[serde(default)]
        status: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        payment: Named,
    }
    let body = told.body.as_str();
    let named = serde_json::from_str::<Named>(body).ok().filter(|named| named.status.is_some());
    let named = named.or_else(|| serde_json::from_str::<Refusal>(body).ok().map(|refusal| refusal.payment));
    named.map(|named| named.id)
}
