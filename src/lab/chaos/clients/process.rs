//! One process: its turns of the schedule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::shared::Shared;
use super::workload::Workload;

/// See the module.
pub(super) struct Process {
    shared: Arc<Shared>,
    number: u32,
    workload: Workload,
}

impl Process {
    pub(super) fn new(shared: Arc<Shared>, number: u32) -> Self {
        let workload = Workload::new(Arc::clone(&shared), number);
        Self { shared, number, workload }
    }

    /// Asks on every turn until the schedule is over, then waits for what is under way.
    pub(super) async fn run(mut self, start: Instant) {
        let period = Duration::from_secs(1) / self.shared.plan.rate;
        let most = usize::try_from(self.shared.plan.outstanding).expect("a u32 fits");
        let every = usize::try_from(self.shared.plan.processes).expect("a u32 fits");
        let mut over = self.shared.over.clone();
        let mut under_way = JoinSet::new();
        for turn in (self.number..).step_by(every) {
            let due = start + period * turn;
            tokio::select! {
                biased;
                // The sender is gone only when the load itself is.
                _ = over.wait_for(|over| *over) => break,
                () = tokio::time::sleep_until(due.into()) => {}
            }
            while under_way.try_join_next().is_some() {}
            let intended = self.shared.exchange.recorder().at(due);
            if under_way.len() < most {
                let step = self.workload.draw();
                under_way.spawn(step.run(Arc::clone(&self.shared), self.number, intended));
            } else {
                self.shared.late(self.number, intended);
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended.expect("a step does not panic");
        }
    }
}
