//! A client's write on its way from the node that it was sent to, to the leader.

use serde::{Deserialize, Serialize};

use crate::request_id::RequestId;
use quorapay_core::domain::{ApiKeyId, Proposal};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedWrite {
    /// The API key with which the caller asked.
    pub principal: Option<ApiKeyId>,
    /// What is to be decided.
    pub proposal: Proposal,
    /// What both nodes' logs name the request by.
    pub request_id: RequestId,
}
