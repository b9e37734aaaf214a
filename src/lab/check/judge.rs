//! Goes through the histories, one operation after another, and through the keys in the end.

use std::collections::HashMap;
use std::path::PathBuf;

use super::error::CheckError;
use super::order::{Order, Reference};
use super::report::{Breach, Place, Report};
use super::truth::Truth;
use crate::history::{Ask, Ending, Event, FaultPhase, HistoryReader, Micros, Operation, OperationId, Operations};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Fingerprint, IdempotencyKey, OperationRequest};

/// What was asked under a key, all attempts at the same request together.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) fingerprint: Fingerprint,
    first: Reference,
    first_at: Micros,
    /// Whether attempts are in more than one history, whose clocks cannot be compared.
    scattered: bool,
    /// Whether any attempt may have led to an entry.
    pub(super) may_apply: bool,
    /// Whether any attempt ended without its outcome being known.
    pub(super) unknown: bool,
    /// The first attempt that was definitely not done, and why.
    pub(super) refused: Option<(Reference, Box<str>)>,
    /// The first answer: a digest of its status and body.
    pub(super) answer: Option<(u64, Reference)>,
}

/// A linearizable read, to be compared with what was known when it began.
#[derive(Clone, Copy, Debug)]
struct FreshRead {
    invoked: Micros,
    as_of: LogIndex,
    by: Reference,
}

/// See the module.
pub(super) struct Judge<'a> {
    pub(super) truth: &'a Truth,
    pub(super) report: &'a mut Report,
    names: Vec<String>,
    orders: Vec<Order>,
    fresh_reads: Vec<FreshRead>,
    /// Nearly every key has one request.
    keys: HashMap<IdempotencyKey, Vec<Asked>>,
    /// The highest index that an answer to a write told of.
    acked: LogIndex,
}

/// Judges all histories and returns the highest index that was acknowledged to a writer.
pub(super) fn judge(paths: &[PathBuf], truth: &Truth, report: &mut Report) -> Result<LogIndex, CheckError> {
    let (names, orders, fresh_reads, keys) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
    let mut judge = Judge { truth, report, names, orders, fresh_reads, keys, acked: LogIndex::default() };
    for path in paths {
        judge.history(path)?;
    }
    judge.conclude();
    Ok(judge.acked)
}

impl Judge<'_> {
    fn history(&mut self, path: &PathBuf) -> Result<(), CheckError> {
        self.names.push(path.display().to_string());
        self.orders.push(Order::default());
        self.report.counts.histories += 1;
        let mut reader = HistoryReader::open(path)?;
        let mut operations = Operations::of(path);
        for event in reader.by_ref() {
            let (line, event) = event?;
            match &event {
                Event::Late(_) => self.report.counts.late += 1,
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
        self.order().settle();
        Ok(())
    }

    fn operation(&mut self, operation: &Operation) {
        self.report.counts.operations += 1;
        if matches!(operation.ending, Ending::Unknown { .. } | Ending::Never) {
            self.report.counts.unknown += 1;
        }
        let by = self.reference(operation);
        match &operation.invoke.ask {
            Ask::Write(proposal) => self.write(operation, proposal, by),
            Ask::Read(read) => match &operation.ending {
                Ending::Ok { at, told } => self.read(operation, read, *at, told, by),
                Ending::Refused { .. } => self.report.counts.refused += 1,
                Ending::Unknown { .. } | Ending::Never => {}
            },
        }
    }

    fn reference(&self, operation: &Operation) -> Reference {
        let id = OperationId { process: operation.invoke.process, operation: operation.invoke.operation };
        Reference { history: self.names.len() - 1, line: operation.line, id }
    }

    /// The order of the history that is being read.
    pub(super) fn order(&mut self) -> &mut Order {
        self.orders.last_mut().expect("a history is being read")
    }

    /// A linearizable read was answered as of an index.
    pub(super) fn fresh_read(&mut self, invoked: Micros, as_of: LogIndex, by: Reference) {
        self.fresh_reads.push(FreshRead { invoked, as_of, by });
    }

    /// A writer was told of an index.
    pub(super) fn acked(&mut self, index: LogIndex) {
        self.acked = self.acked.max(index);
    }

    /// Notes an attempt at a write.
    pub(super) fn asked(
        &mut self,
        key: &IdempotencyKey,
        request: &OperationRequest,
        at: Micros,
        by: Reference,
    ) -> &mut Asked {
        let fingerprint = request.fingerprint();
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), Vec::with_capacity(1));
        }
        let requests = self.keys.get_mut(key).expect("it was just put there");
        let known = requests.iter().position(|asked| asked.fingerprint == fingerprint);
        let place = known.unwrap_or_else(|| {
            requests.push(Asked::new(fingerprint, at, by));
            requests.len() - 1
        });
        let asked = &mut requests[place];
        asked.scattered |= asked.first.history != by.history;
        if at < asked.first_at && !asked.scattered {
            (asked.first, asked.first_at) = (by, at);
        }
        asked
    }

    /// Where an operation is, for people.
    pub(super) fn place(&self, by: Reference, key: Option<&IdempotencyKey>) -> Place {
        Place {
            history: self.names[by.history].clone(),
            line: by.line,
            process: by.id.process,
            operation: by.id.operation,
            key: key.map(|key| key.as_str().to_owned()),
        }
    }

    /// Another operation, in the middle of a sentence.
    pub(super) fn pointer(&self, by: Reference) -> String {
        format!("{}:{} ({})", self.names[by.history], by.line, by.id)
    }

    /// Notes a breach that an operation shows.
    pub(super) fn breach(
        &mut self,
        breach: Breach,
        by: Reference,
        key: Option<&IdempotencyKey>,
        index: Option<LogIndex>,
        what: String,
    ) {
        let place = self.place(by, key);
        self.report.add(breach, Some(place), index, what);
    }

    fn conclude(&mut self) {
        for read in std::mem::take(&mut self.fresh_reads) {
            self.check_fresh(&read);
        }
        self.check_doubles();
        let mut keys: Vec<_> = std::mem::take(&mut self.keys).into_iter().collect();
        // By line, so that the same files always give the same report.
        keys.sort_by_key(|(_, asked)| asked.first().map(|asked| (asked.first.history, asked.first.line)));
        for (key, asked) in keys {
            self.check_key(&key, &asked);
        }
    }

    fn check_fresh(&mut self, read: &FreshRead) {
        let known = self.orders[read.by.history].known_before(read.invoked);
        if let Some((index, told_by)) = known.filter(|(index, _)| *index > read.as_of) {
            let what = format!(
                "a linearizable read that began at {} shows the ledger as of entry {}, but {} had been told of entry \
                 {index} before that",
                read.invoked,
                read.as_of,
                self.pointer(told_by)
            );
            self.breach(Breach::StaleRead, read.by, None, Some(index), what);
        }
    }

    fn check_doubles(&mut self) {
        for (key, second) in self.truth.doubles() {
            let first = self.truth.index_of(key).unwrap_or_default();
            let what = format!("{}, and {}", self.truth.describe(first), self.truth.describe(*second));
            let place =
                self.keys.get(key).and_then(|asked| asked.first()).map(|asked| self.place(asked.first, Some(key)));
            self.report.add(Breach::DoubleApply, place, Some(*second), what);
        }
    }

    /// Everything that was asked under one key against the one entry that may stand there.
    fn check_key(&mut self, key: &IdempotencyKey, asked: &[Asked]) {
        let index = self.truth.index_of(key);
        if asked.iter().any(|asked| asked.unknown) && asked.iter().all(|asked| asked.answer.is_none()) {
            match index {
                Some(_) => self.report.counts.unknown_applied += 1,
                None => self.report.counts.unknown_not_applied += 1,
            }
        }
        let Some(index) = index else { return };
        let held = self.truth.held_by(key);
        let fence = OperationRequest::KeyFence.fingerprint();
        let stands = held.map(|held| held.fingerprint().unwrap_or(fence));
        match asked.iter().find(|asked| Some(asked.fingerprint) == stands) {
            None => self.wrong_request(key, index, asked),
            Some(asked) => {
                self.check_refused(key, index, asked);
                self.check_order(key, index, asked);
            }
        }
    }

    fn wrong_request(&mut self, key: &IdempotencyKey, index: LogIndex, asked: &[Asked]) {
        let Some(first) = asked.first() else { return };
        let what = format!("nobody asked for what stands under the key: {}", self.truth.describe(index));
        self.breach(Breach::WrongRequest, first.first, Some(key), Some(index), what);
    }

    fn check_refused(&mut self, key: &IdempotencyKey, index: LogIndex, asked: &Asked) {
        if let Some((by, why)) = asked.refused.as_ref().filter(|_| !asked.may_apply) {
            let entry = self.truth.describe(index);
            let what = format!("it was refused for good ({why}), and so was every other attempt at it, but {entry}");
            self.breach(Breach::RefusedButApplied, *by, Some(key), Some(index), what);
        }
    }

    fn check_order(&mut self, key: &IdempotencyKey, index: LogIndex, asked: &Asked) {
        if asked.scattered {
            return;
        }
        let known = self.orders[asked.first.history].known_before(asked.first_at);
        if let Some((told, by)) = known.filter(|(told, _)| *told >= index) {
            let what = format!(
                "it was asked for first at {}, and stands at entry {index}, but {} had been told of entry {told} before \
                 that",
                asked.first_at,
                self.pointer(by)
            );
            self.breach(Breach::Reordered, asked.first, Some(key), Some(index), what);
        }
    }
}

impl Asked {
    const fn new(fingerprint: Fingerprint, at: Micros, by: Reference) -> Self {
        Self {
            fingerprint,
            first: by,
            first_at: at,
            scattered: false,
            may_apply: false,
            unknown: false,
            refused: None,
            answer: None,
        }
    }
}
