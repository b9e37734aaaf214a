//! The faults that last on a target, and how they are healed.

use super::action::FaultAction;
use super::active::ActiveFault;
use super::error::FaultError;
use super::request::{FaultName, FaultReply, HealRequest, Names, PlannedFault};
use super::target::Target;

/// The faults that were made and not healed.
#[derive(Debug, Default)]
pub(crate) struct Board {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: FaultName,
    at: Option<String>,
    line: String,
    fault: ActiveFault,
}

impl Entry {
    fn is_meant_by(&self, request: &HealRequest) -> bool {
        request.name.is_none_or(|name| name == self.name) && (request.node.is_none() || request.node == self.at)
    }

    /// Whether the node stays down as long as it lasts.
    fn keeps_down(&self, node: usize) -> bool {
        let keeps = matches!(self.fault.action(), FaultAction::Kill(_) | FaultAction::WipeDisk(_));
        keeps && self.fault.action().unavailable_nodes().contains(&node)
    }
}

impl Board {
    /// Makes a fault. Returns what happens now, for people.
    ///
    /// # Errors
    /// [`FaultError`]; nothing has changed then.
    pub(crate) async fn make(
        &mut self,
        planned: PlannedFault,
        target: &mut impl Target,
    ) -> Result<FaultReply, FaultError> {
        let PlannedFault { name, at, action, line } = planned;
        if let Some(entry) = self.entries.iter().find(|entry| entry.at == at && entry.name == name) {
            return Err(FaultError::Impossible(format!("this fault lasts already ({}); heal it first", entry.line)));
        }
        if action.unavailable_nodes().iter().any(|node| self.keeps_down(*node)) {
            let who = at.unwrap_or_default();
            return Err(FaultError::Impossible(format!(
                "{who} does not run; heal it first: quorapay heal --node {who}"
            )));
        }
        let fault = ActiveFault::inject(action, target).await?;
        if name == FaultName::BitFlip && fault.damaged().is_none() {
            let why = "no bit was found whose flip would be noticed, so the ledger is as it was; try again after more payments";
            return Err(FaultError::impossible(why));
        }
        let lasts = !name.is_momentary();
        let heal = lasts.then(|| HealRequest { name: Some(name), node: at.clone() });
        let lines = vec![line.clone()];
        if lasts {
            self.entries.push(Entry { name, at, line, fault });
        }
        Ok(FaultReply { lines, heal })
    }

    /// Heals the faults that are meant, and starts what does not run because of them. With everything healed, everything
    /// runs.
    ///
    /// # Errors
    /// [`FaultError`] if there is no such fault, or one cannot be healed; the others are.
    pub(crate) async fn heal(
        &mut self,
        request: &HealRequest,
        names: &Names,
        target: &mut impl Target,
    ) -> Result<FaultReply, FaultError> {
        let (meant, rest) = std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.is_meant_by(request));
        self.entries = rest;
        if Vec::is_empty(&meant) && !request.is_all() {
            return Err(self.nothing_to_heal());
        }
        let (mut lines, mut result) = (Vec::new(), Ok(()));
        let mut affected = Vec::new();
        for Entry { line, fault, .. } in meant {
            affected.extend(fault.action().unavailable_nodes());
            let healed = fault.heal(target).await;
            if healed.is_ok() {
                lines.push(format!("healed: {line}"));
            }
            result = result.and(healed);
        }
        if request.is_all() {
            affected = (0..names.nodes.len()).collect();
            result = result.and(target.start_zookeepers().await);
        }
        affected.retain(|node| !self.keeps_down(*node));
        result = result.and(target.start(&affected).await);
        // Two faults may have had a link in common.
        for entry in &self.entries {
            if let FaultAction::Links(fault) = entry.fault.action() {
                result = result.and(target.begin_links(fault).await);
            }
        }
        result.map(|()| FaultReply { lines, heal: None })
    }

    /// Whether a fault keeps a node down.
    pub(crate) fn keeps_down(&self, node: usize) -> bool {
        self.entries.iter().any(|entry| entry.keeps_down(node))
    }

    fn nothing_to_heal(&self) -> FaultError {
        let lines = self.lines();
        let there_are =
            if lines.is_empty() { "no fault lasts".to_owned() } else { format!("these last: {}", lines.join("; ")) };
        FaultError::Impossible(format!("there is no such fault to heal; {there_are}"))
    }

    /// A line for each fault that lasts.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.entries.iter().map(|entry| format!("{}: {}", entry.name, entry.line)).collect()
    }

    /// Updates what changes with time.
    ///
    /// # Errors
    /// [`FaultError`].
    pub(crate) async fn maintain(&self, target: &mut impl Target) -> Result<(), FaultError> {
        for entry in &self.entries {
            entry.fault.maintain(target).await?;
        }
        Ok(())
    }
}
