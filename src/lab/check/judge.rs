//! Reads the histories operation by operation, and then checks every idempotency key.

use std::collections::HashMap;
use std::path::PathBuf;

use super::error::CheckError;
use super::order::{OperationRef, RealTimeOrder};
use super::report::{Breach, Location, Report};
use super::truth::Truth;
use crate::history::{Ending, Event, FaultPhase, HistoryReader, Micros, Operation, OperationId, Operations, Request};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Fingerprint, IdempotencyKey, OperationRequest};

/// All attempts to send the same request under one key.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) fingerprint: Fingerprint,
    first: OperationRef,
    first_at: Micros,
    /// Whether the attempts are in more than one history. Clocks of different histories cannot be compared.
    in_several_histories: bool,
    /// Whether any attempt may have created an entry.
    pub(super) may_apply: bool,
    /// Whether any attempt ended with an unknown outcome.
    pub(super) unknown: bool,
    /// The first attempt that was definitely not applied, and the reason.
    pub(super) refused: Option<(OperationRef, Box<str>)>,
    /// The first answer, as a digest of its status and body.
    pub(super) answer: Option<(u64, OperationRef)>,
}

/// A linearizable read, to be compared with what clients knew when it began.
#[derive(Clone, Copy, Debug)]
struct LinearizableRead {
    invoked: Micros,
    as_of: LogIndex,
    by: OperationRef,
}

/// The state of a check of histories.
pub(super) struct Judge<'a> {
    pub(super) truth: &'a Truth,
    pub(super) report: &'a mut Report,
    names: Vec<String>,
    orders: Vec<RealTimeOrder>,
    linearizable_reads: Vec<LinearizableRead>,
    /// The requests under each key; almost always one.
    keys: HashMap<IdempotencyKey, Vec<Attempts>>,
    /// The highest index that an answer to a write named.
    acknowledged: LogIndex,
}

/// Checks all histories and returns the highest index that was acknowledged to a writer.
pub(super) fn judge(paths: &[PathBuf], truth: &Truth, report: &mut Report) -> Result<LogIndex, CheckError> {
    let (names, orders, linearizable_reads, keys) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
    let mut judge = Judge { truth, report, names, orders, linearizable_reads, keys, acknowledged: LogIndex::default() };
    for path in paths {
        judge.history(path)?;
    }
    judge.conclude();
    Ok(judge.acknowledged)
}

impl Judge<'_> {
    fn history(&mut self, path: &PathBuf) -> Result<(), CheckError> {
        self.names.push(path.display().to_string());
        self.orders.push(RealTimeOrder::default());
        self.report.counts.histories += 1;
        let mut reader = HistoryReader::open(path)?;
        let mut operations = Operations::of(path);
        for event in reader.by_ref() {
            let (line, event) = event?;
            match &event {
                Event::NotSent(_) => self.report.counts.late += 1,
                Event::Fault(fault) if fault.phase == FaultPhase::Begin => self.report.counts.faults += 1,
                _ => {}
            }
            if let Some(operation) = operations.take(line, event)? {
                self.operation(&operation);
            }
        }
        if reader.is_cut_off() {
            self.report.notes.push(format!("{}: the last line is cut off and was left out", path.display()));
        }
        operations.never_ended().iter().for_each(|operation| self.operation(operation));
        self.order().finish();
        Ok(())
    }

    fn operation(&mut self, operation: &Operation) {
        self.report.counts.operations += 1;
        if matches!(operation.ending, Ending::Unknown { .. } | Ending::Never) {
            self.report.counts.unknown += 1;
        }
        let by = self.reference(operation);
        match &operation.invoke.request {
            Request::Write(proposal) => self.write(operation, proposal, by),
            Request::Read(read) => match &operation.ending {
                Ending::Ok { at, response } => self.read(operation, read, *at, response, by),
                Ending::Refused { .. } => self.report.counts.refused += 1,
                Ending::Unknown { .. } | Ending::Never => {}
            },
        }
    }

    fn reference(&self, operation: &Operation) -> OperationRef {
        let id = OperationId { process: operation.invoke.process, operation: operation.invoke.operation };
        OperationRef { history: self.names.len() - 1, line: operation.line, id }
    }

    /// The order of the history that is being read.
    pub(super) fn order(&mut self) -> &mut RealTimeOrder {
        self.orders.last_mut().expect("a history is being read")
    }

    /// Adds a linearizable read that was answered as of an index.
    pub(super) fn linearizable_read(&mut self, invoked: Micros, as_of: LogIndex, by: OperationRef) {
        self.linearizable_reads.push(LinearizableRead { invoked, as_of, by });
    }

    /// Adds an index that was acknowledged to a writer.
    pub(super) fn acknowledged(&mut self, index: LogIndex) {
        self.acknowledged = self.acknowledged.max(index);
    }

    /// The attempts of a write, with this one added.
    pub(super) fn attempts(
        &mut self,
        key: &IdempotencyKey,
        request: &OperationRequest,
        at: Micros,
        by: OperationRef,
    ) -> &mut Attempts {
        let fingerprint = request.fingerprint();
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), Vec::with_capacity(1));
        }
        let requests = self.keys.get_mut(key).expect("just inserted");
        let known = requests.iter().position(|attempts| attempts.fingerprint == fingerprint);
        let number = known.unwrap_or_else(|| {
            requests.push(Attempts::new(fingerprint, at, by));
            requests.len() - 1
        });
        let attempts = &mut requests[number];
        attempts.in_several_histories |= attempts.first.history != by.history;
        if at < attempts.first_at && !attempts.in_several_histories {
            (attempts.first, attempts.first_at) = (by, at);
        }
        attempts
    }

    /// Where an operation is recorded, for people.
    pub(super) fn location(&self, by: OperationRef, key: Option<&IdempotencyKey>) -> Location {
        Location {
            history: self.names[by.history].clone(),
            line: by.line,
            process: by.id.process,
            operation: by.id.operation,
            key: key.map(|key| key.as_str().to_owned()),
        }
    }

    /// An operation as part of a sentence.
    pub(super) fn pointer(&self, by: OperationRef) -> String {
        format!("{}:{} ({})", self.names[by.history], by.line, by.id)
    }

    /// Reports a breach that an operation shows.
    pub(super) fn breach(
        &mut self,
        breach: Breach,
        by: OperationRef,
        key: Option<&IdempotencyKey>,
        index: Option<LogIndex>,
        what: String,
    ) {
        let location = self.location(by, key);
        self.report.add(breach, Some(location), index, what);
    }

    fn conclude(&mut self) {
        for read in std::mem::take(&mut self.linearizable_reads) {
            self.check_not_stale(&read);
        }
        self.check_doubles();
        let mut keys: Vec<_> = std::mem::take(&mut self.keys).into_iter().collect();
        // Sorted by line, so that the same files always give the same report.
        keys.sort_by_key(|(_, requests)| {
            requests.first().map(|attempts| (attempts.first.history, attempts.first.line))
        });
        for (key, requests) in keys {
            self.check_key(&key, &requests);
        }
    }

    fn check_not_stale(&mut self, read: &LinearizableRead) {
        let known = self.orders[read.by.history].known_before(read.invoked);
        if let Some((index, known_by)) = known.filter(|(index, _)| *index > read.as_of) {
            let what = format!(
                "a linearizable read that began at {} shows the ledger as of entry {}, but {} had been told of entry \
                 {index} before that",
                read.invoked,
                read.as_of,
                self.pointer(known_by)
            );
            self.breach(Breach::StaleRead, read.by, None, Some(index), what);
        }
    }

    fn check_doubles(&mut self) {
        for (key, second) in self.truth.doubles() {
            let first = self.truth.index_of(key).unwrap_or_default();
            let what = format!("{}, and {}", self.truth.describe(first), self.truth.describe(*second));
            let location = self
                .keys
                .get(key)
                .and_then(|requests| requests.first())
                .map(|attempts| self.location(attempts.first, Some(key)));
            self.report.add(Breach::DoubleApply, location, Some(*second), what);
        }
    }

    /// Compares all requests under one key with the entry that the ledger has for it.
    fn check_key(&mut self, key: &IdempotencyKey, requests: &[Attempts]) {
        let index = self.truth.index_of(key);
        if requests.iter().any(|attempts| attempts.unknown) && requests.iter().all(|attempts| attempts.answer.is_none())
        {
            match index {
                Some(_) => self.report.counts.unknown_applied += 1,
                None => self.report.counts.unknown_not_applied += 1,
            }
        }
        let Some(index) = index else { return };
        let held = self.truth.content_of(key);
        let fence = OperationRequest::KeyFence.fingerprint();
        let committed = held.map(|held| held.fingerprint().unwrap_or(fence));
        match requests.iter().find(|attempts| Some(attempts.fingerprint) == committed) {
            None => self.wrong_request(key, index, requests),
            Some(attempts) => {
                self.check_refused(key, index, attempts);
                self.check_order(key, index, attempts);
            }
        }
    }

    fn wrong_request(&mut self, key: &IdempotencyKey, index: LogIndex, requests: &[Attempts]) {
        let Some(first) = requests.first() else { return };
        let what = format!("nobody asked for what stands under the key: {}", self.truth.describe(index));
        self.breach(Breach::WrongRequest, first.first, Some(key), Some(index), what);
    }

    fn check_refused(&mut self, key: &IdempotencyKey, index: LogIndex, attempts: &Attempts) {
        if let Some((by, why)) = attempts.refused.as_ref().filter(|_| !attempts.may_apply) {
            let entry = self.truth.describe(index);
            let what = format!("it was refused for good ({why}), and so was every other attempt at it, but {entry}");
            self.breach(Breach::RefusedButApplied, *by, Some(key), Some(index), what);
        }
    }

    fn check_order(&mut self, key: &IdempotencyKey, index: LogIndex, attempts: &Attempts) {
        if attempts.in_several_histories {
            return;
        }
        let known = self.orders[attempts.first.history].known_before(attempts.first_at);
        if let Some((named, by)) = known.filter(|(named, _)| *named >= index) {
            let what = format!(
                "it was asked for first at {}, and stands at entry {index}, but {} had been told of entry {named} before \
                 that",
                attempts.first_at,
                self.pointer(by)
            );
            self.breach(Breach::Reordered, attempts.first, Some(key), Some(index), what);
        }
    }
}

impl Attempts {
    const fn new(fingerprint: Fingerprint, at: Micros, by: OperationRef) -> Self {
        Self {
            fingerprint,
            first: by,
            first_at: at,
            in_several_histories: false,
            may_apply: false,
            unknown: false,
            refused: None,
            answer: None,
        }
    }
}
