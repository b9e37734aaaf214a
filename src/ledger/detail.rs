//! The JSON that stands in a row's `detail`: what only some kinds of entries have.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, Overdraft, Payment, PaymentOutcome, Rejection,
};
use crate::replication::NodeId;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochStartDetail {
    pub(super) leader: NodeId,
}

/// The metadata is a JSON text inside the JSON, because its very bytes are hashed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentDetail {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rejection: Option<Rejection>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) description: Option<CompactString>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) metadata: Option<CompactString>,
}

impl PaymentDetail {
    /// `None` for a plain payment, which is what nearly every row is.
    pub(super) fn of(payment: &Payment) -> Option<Self> {
        let rejection = match payment.outcome {
            PaymentOutcome::Succeeded { .. } => None,
            PaymentOutcome::Rejected(rejection) => Some(rejection),
        };
        let request = &payment.request;
        if rejection.is_none() && request.description.is_none() && request.metadata.is_none() {
            return None;
        }
        Some(Self { rejection, description: request.description.clone(), metadata: request.metadata.clone() })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChangeName {
    Open,
    SetOverdraft,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountDetail {
    account: AccountId,
    change: ChangeName,
    overdraft: Overdraft,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rejection: Option<Rejection>,
}

impl AccountDetail {
    pub(super) fn of(change: &AccountChange) -> Self {
        let (name, overdraft) = match change.change {
            AccountChangeKind::Open(overdraft) => (ChangeName::Open, overdraft),
            AccountChangeKind::SetOverdraft(overdraft) => (ChangeName::SetOverdraft, overdraft),
        };
        let rejection = match change.outcome {
            AccountOutcome::Applied => None,
            AccountOutcome::Rejected(rejection) => Some(rejection),
        };
        Self { account: change.account.clone(), change: name, overdraft, rejection }
    }

    pub(super) fn into_parts(self) -> (AccountId, AccountChangeKind, AccountOutcome) {
        let change = match self.change {
            ChangeName::Open => AccountChangeKind::Open(self.overdraft),
            ChangeName::SetOverdraft => AccountChangeKind::SetOverdraft(self.overdraft),
        };
        (self.account, change, self.rejection.map_or(AccountOutcome::Applied, AccountOutcome::Rejected))
    }
}

/// Writes a detail. Its types are made of text and numbers, which JSON always holds.
pub(super) fn to_json(detail: &impl Serialize) -> String {
    serde_json::to_string(detail).expect("details are made of types that JSON can always hold")
}
