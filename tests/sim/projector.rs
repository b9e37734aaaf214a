//! A node's projector, which brings the views up to date by the real one's rules: it rests between two chunks, and from
//! half of the views' bound on it does not, unless it has just failed.

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;

use super::knobs::MILLI;
use super::world::{World, WorldEvent};

/// Its rest between two chunks, and after a failure.
const RESTS: u64 = 200 * MILLI;
/// How long one chunk takes at most.
const CHUNK: u64 = 5 * MILLI;

/// What a process remembers of its projector.
#[derive(Default)]
pub(crate) struct Projector {
    /// When the next chunk ends.
    due: u64,
    /// Whether the last one failed.
    failed: bool,
}

impl World {
    /// The next chunk ends this long from now, and no other one is under way.
    pub(crate) fn project_after(&mut self, delay: u64, node: usize) {
        let due = self.now + delay;
        let Some(process) = &mut self.nodes[node].process else { return };
        process.projector.due = due;
        let life = process.life;
        self.schedule(delay, WorldEvent::Project { node, life });
    }

    /// A chunk ends.
    pub(crate) fn project(&mut self, node: usize) {
        let now = self.now;
        if self.nodes[node].process.as_ref().is_none_or(|process| process.projector.due != now) {
            // It was brought forward.
            return;
        }
        let chance = self.knobs.stuck_views;
        let failed = self.nodes[node].views_stuck || (chance > 0 && self.random.chance(chance));
        let Some(process) = &mut self.nodes[node].process else { return };
        process.projector.failed = failed;
        let applied = process.applied;
        self.project_after(RESTS, node);
        if failed {
            self.feed(node, Input::Fit(false));
        } else {
            self.project_some(node, applied);
        }
        self.hurry_projector(node);
    }

    fn project_some(&mut self, node: usize, applied: LogIndex) {
        let (index, filters) = self.nodes[node].disk.project(applied, &mut self.random);
        self.feed(node, Input::Fit(true));
        self.feed(node, Input::Projected { index, filters });
    }

    /// Ends the projector's rest if the views' lag is half of what it may be.
    pub(crate) fn hurry_projector(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let half_full = 2 * process.engine.views_lag().keys >= self.knobs.limits.unprojected_keys;
        let rests = process.projector.due > self.now + CHUNK;
        if half_full && rests && !process.projector.failed && !process.paused {
            let delay = self.random.between(CHUNK / 10, CHUNK);
            self.project_after(delay, node);
        }
    }
}
