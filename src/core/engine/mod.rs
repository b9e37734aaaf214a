//! The engine joins the bank to the replica: proposals become entries, entries change the bank, callers get answers.
//!
//! Pure, like the layers below: time comes in with every input, everything to be done goes out as effects.
//!
//! ```text
//! message       inputs, effects, lookups, outcomes
//! digest_filter approximate set of digests: a binary fuse filter
//! filters       the filters over everything in the views
//! keys          used idempotency keys: recent ones exactly, older ones by the filters
//! lookups       what lookups on disk found for a proposal
//! state         the engine's state: follows the log, answers callers
//! proposals     from a proposal to its entry
//! queries       accounts and payments as of the applied index
//! unprojected   how much the views lack, and when that is too much
//! ```

mod digest_filter;
mod filters;
mod keys;
mod lookups;
mod message;
mod proposals;
mod queries;
mod state;
mod unprojected;

use crate::replication::Now;

use proposals::Asking;

pub use digest_filter::{DigestFilter, FINGERPRINT_BITS, NoFilter, digest_prefix};
pub use filters::{DigestFilters, ViewsFilters};
pub use keys::MIN_FORGOTTEN_PER_POLL;
pub use lookups::{MAX_PENDING_BYTES, MAX_PENDING_LOOKUPS};
pub use message::{CallerId, Effect, Input, LookupId, LookupRequest, LookupResult, ProposalOutcome};
pub use queries::HeldInMemory;
pub use state::{Engine, EngineStart, REPEATS_PER_TAIL_ENTRY};
pub use unprojected::{EntryWeight, ViewsLag};

/// Holds that one poll may expire: each expiry is an entry of its own, and payments wait meanwhile.
const MAX_EXPIRIES_PER_POLL: usize = 64;
/// Closed payments and orders that one poll removes from memory: a fraction of a millisecond's work.
const FORGOTTEN_PER_POLL: usize = 1_024;

impl Engine {
    /// Processes an input.
    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Replication(event) => self.replica.step(now, event),
            Input::Propose { caller, principal, proposal } => self.propose(now, Asking { caller, principal, proposal }),
            Input::LookupDone { id, result } => self.on_lookup_done(now, id, result),
            Input::Read(read) => self.replica.read(read),
            Input::Projected { index, filters } => {
                self.keys.on_projected(index, filters);
                self.unprojected.on_projected(index);
            }
            Input::Fit(fit) => self.replica.set_fit(fit),
            Input::Transfer(to) => self.replica.transfer(now, to),
        }
        self.follow_log();
        self.pace(now);
        self.answer_committed();
        self.answer_unknown_if_deposed();
    }

    /// Takes out everything that is to be done. Called after one `step` or after many: what came in between two calls
    /// is sent and persisted as one batch.
    pub fn take_effects(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.expire_holds(now);
        let mut protocol = Vec::new();
        self.replica.take_effects(now, &mut protocol);
        // The leader may have appended a configuration.
        self.follow_log();
        self.keys.forget_some();
        self.bank.forget_up_to(self.keys.projected(), FORGOTTEN_PER_POLL);
        effects.append(&mut self.effects);
        effects.extend(protocol.into_iter().map(Effect::Replication));
    }

    /// As the leader, expires the holds whose time has passed by the ledger's time.
    fn expire_holds(&mut self, now: Now) {
        for _ in 0..MAX_EXPIRIES_PER_POLL {
            let Some((expires_at_ms, payment)) = self.bank.first_expiry() else { return };
            if !self.replica.takes_proposals() || self.replica.tail_is_full() {
                return;
            }
            let stamp = self.replica.next_stamp(now);
            if expires_at_ms > stamp.timestamp.0 {
                return;
            }
            let Some((operation, undo)) = self.bank.expire(stamp, payment) else { return };
            self.append_executed(stamp, None, operation, undo);
        }
    }
}
