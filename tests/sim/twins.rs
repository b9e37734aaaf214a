//! Two processes with one node's id: a second machine with a copied configuration. The locks against it are assumed to
//! have failed, and messages for the node reach either of them.

use quorapay_core::replication::NodeId;

use super::node::Node;
use super::world::World;

impl World {
    /// Starts a second process with some node's id, on its own disk. A run has at most one, and only while no disk is
    /// lost: what it acknowledges instead of the node is lost when it leaves.
    pub(crate) fn start_twin(&mut self) {
        let twin = self.knobs.nodes;
        if self.nodes.len() > twin || twin < 3 || self.stores_lost() > 0 {
            return;
        }
        let id = self.nodes[self.random.index(twin)].id.clone();
        self.trace.show("twin", &id);
        self.met.insert("twin");
        let disk = self.new_disk(twin);
        self.nodes.push(Node::new(id, disk, 0));
        self.start(twin);
    }

    /// Ends the second process for good.
    pub(crate) fn end_twin(&mut self) {
        let twin = self.knobs.nodes;
        if self.nodes.len() > twin {
            self.crash(twin);
            self.zookeeper.expire(twin);
        }
    }

    /// The processes with the same id as this one.
    pub(crate) fn rivals_of(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|rival| *rival != node && self.nodes[*rival].id == self.nodes[node].id).collect()
    }

    /// The process that receives a message for a node.
    pub(crate) fn receiver_for(&mut self, id: &NodeId) -> usize {
        let node = self.number_of(id);
        match self.rivals_of(node).first() {
            Some(twin) if self.life(*twin).is_some() && self.random.chance(500) => *twin,
            _ => node,
        }
    }
}
