//! A disk that hangs: a write that has begun does not end, no process can start on it, and reads go on from memory.

use super::faults::Fault;
use super::world::{World, WorldEvent};

impl World {
    /// Some node's disk hangs for a while. One at a time: a quorum must be able to store.
    pub(crate) fn hang_some_disk(&mut self) {
        let length = self.random.between(self.knobs.hung_disk_length / 10, self.knobs.hung_disk_length);
        let node = self.random.index(self.nodes.len());
        if self.nodes.iter().any(|node| node.disk_hangs) {
            return;
        }
        self.met.insert("hung disk");
        self.hang_disk(node);
        self.schedule(length, WorldEvent::Fault(Fault::DiskResponds(node)));
    }

    /// From now on no write of this node ends.
    pub(crate) fn hang_disk(&mut self, node: usize) {
        self.trace.note(self.now, node, "disk hangs", [0, 0]);
        self.nodes[node].disk_hangs = true;
    }

    /// The disk works again: the writes that hung end now, and a process can start.
    pub(crate) fn disk_responds(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].disk_hangs, false) {
            return;
        }
        self.trace.note(self.now, node, "disk responds", [0, 0]);
        match &self.nodes[node].process {
            Some(process) => {
                let (life, writes) = (process.life, process.writes.len());
                (0..writes).for_each(|_| self.schedule(0, WorldEvent::Persisted { node, life }));
            }
            None => self.restart(node),
        }
    }
}
