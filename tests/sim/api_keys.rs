//! API keys in a run: which writes change keys, and with which keys clients ask. The draws have a generator of their own,
//! so that a run without keys is the same as if there were none.

use std::collections::VecDeque;

use quorapay_core::domain::{ApiKey, ApiKeyChangeKind, ApiKeyGrant, ApiKeyId, ApiKeyName, OperationRequest};

use super::random::Random;

/// Keys that are used and revoked at the same time.
const IN_USE: usize = 4;

/// The clients' keys.
pub(crate) struct ApiKeys {
    random: Random,
    active: bool,
    made: u64,
    /// Some of them are revoked.
    in_use: VecDeque<ApiKeyId>,
}

impl ApiKeys {
    pub(crate) const fn new(seed: u64, active: bool) -> Self {
        Self { random: Random::new(seed ^ 0xA91_4E75), active, made: 0, in_use: VecDeque::new() }
    }

    /// For the next write: the key with which it is asked for, and the change of a key that takes its place.
    pub(crate) fn choose(&mut self) -> (Option<ApiKeyId>, Option<OperationRequest>) {
        if !self.active {
            return (None, None);
        }
        match self.random.below(100) {
            0..=5 => (None, Some(self.create())),
            6..=9 => {
                let revoked = self.any();
                (None, revoked.map(|id| OperationRequest::ApiKey { id, change: ApiKeyChangeKind::Revoke }))
            }
            10..=54 => (self.any(), None),
            _ => (None, None),
        }
    }

    fn create(&mut self) -> OperationRequest {
        self.made += 1;
        let key = ApiKey::from_random(self.made.to_be_bytes(), [7; 32]);
        self.in_use.push_back(key.id());
        if self.in_use.len() > IN_USE {
            self.in_use.pop_front();
        }
        let grant = Box::new(ApiKeyGrant::everything(ApiKeyName::parse("client").expect("a short text")));
        OperationRequest::ApiKey { id: key.id(), change: ApiKeyChangeKind::Create { grant, secret: key.digest() } }
    }

    fn any(&mut self) -> Option<ApiKeyId> {
        let at = (!self.in_use.is_empty()).then(|| self.random.index(self.in_use.len()))?;
        self.in_use.get(at).copied()
    }
}
