//! One client process and its share of the schedule.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::state::LoadState;
use super::workload::Workload;

/// A client process.
pub(super) struct ClientProcess {
    state: Arc<LoadState>,
    number: u32,
    workload: Workload,
}

impl ClientProcess {
    pub(super) fn new(state: Arc<LoadState>, number: u32) -> Self {
        let workload = Workload::new(Arc::clone(&state), number);
        Self { state, number, workload }
    }

    /// Runs an operation in each of its slots until the load stops, then waits for the operations in flight.
    pub(super) async fn run(mut self, start: Instant) {
        let period = Duration::from_secs(1) / self.state.plan.rate;
        let max_in_flight = usize::try_from(self.state.plan.outstanding).expect("a u32 fits");
        let processes = usize::try_from(self.state.plan.processes).expect("a u32 fits");
        let mut stopping = self.state.stopping.clone();
        let mut in_flight = JoinSet::new();
        for slot in (self.number..).step_by(processes) {
            let due = start + period * slot;
            tokio::select! {
                biased;
                // The sender is dropped only with the load itself.
                _ = stopping.wait_for(|stopping| *stopping) => break,
                () = tokio::time::sleep_until(due) => {}
            }
            while in_flight.try_join_next().is_some() {}
            let intended = self.state.exchange.recorder().at(due);
            if in_flight.len() < max_in_flight {
                let step = self.workload.draw();
                in_flight.spawn(step.run(Arc::clone(&self.state), self.number, intended));
            } else {
                self.state.count_not_sent(self.number, intended);
            }
        }
        while let Some(ended) = in_flight.join_next().await {
            ended.expect("a step does not panic");
        }
    }
}
