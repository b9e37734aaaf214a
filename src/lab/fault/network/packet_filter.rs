//! A link state as a packet filter.

use crate::fault::link_fault::LinkState;

/// What `iptables` must match at the receiving end to drop what a link in this state loses; `None` if packet filters have no
/// means for it. `peer_port` is the nodes' port for peers.
pub(crate) fn packet_filter(state: LinkState, peer_port: u16) -> Option<String> {
    match state {
        LinkState::Cut => Some(String::new()),
        LinkState::Unconnectable => Some(format!("-p tcp --dport {peer_port}")),
        LinkState::Lossy(per_mille) => {
            Some(format!("-m statistic --mode random --probability {}", f64::from(per_mille) / 1_000.0))
        }
        // Packet filters cannot delay.
        LinkState::Healthy | LinkState::Delayed(_) => None,
    }
}
