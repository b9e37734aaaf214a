//! Joins the beginning of each operation with its end.

use std::collections::HashMap;
use std::path::PathBuf;

use super::event::{Event, Invoke, Micros, OperationId, Response};

/// An operation with its beginning and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Line number of its `invoke`.
    pub line: u64,
    /// The request.
    pub invoke: Invoke,
    /// How it ended.
    pub ending: Ending,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was answered.
    Ok {
        /// When the answer was complete.
        at: Micros,
        /// The response.
        response: Response,
    },
    /// It was definitely not applied.
    Refused {
        /// When this was known.
        at: Micros,
        /// The code of the problem.
        code: String,
        /// The response, if there was one.
        response: Option<Response>,
    },
    /// It may or may not have been applied.
    Unknown {
        /// When it was given up.
        at: Micros,
        /// The code of the problem, `timeout` or `connection_lost`.
        reason: String,
    },
    /// The history ends before the operation: unknown too.
    Never,
}

impl Ending {
    /// When it ended, if it did.
    #[must_use]
    pub const fn at(&self) -> Option<Micros> {
        match self {
            Self::Ok { at, .. } | Self::Refused { at, .. } | Self::Unknown { at, .. } => Some(*at),
            Self::Never => None,
        }
    }
}

/// A line that contradicts earlier ones.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {reason}", .path.display())]
pub struct OperationError {
    path: PathBuf,
    line: u64,
    reason: String,
}

/// Joins the events of one history. Holds only the operations in flight.
#[derive(Debug)]
pub struct Operations {
    path: PathBuf,
    open: HashMap<OperationId, (u64, Invoke)>,
}

impl Operations {
    /// For the history at `path`, which is named in errors.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), open: HashMap::new() }
    }

    /// Takes the next event. Returns the operation that ends with it, if there is one.
    ///
    /// # Errors
    /// [`OperationError`] for an operation that begins twice or ends without having begun.
    pub fn take(&mut self, line: u64, event: Event) -> Result<Option<Operation>, OperationError> {
        let (process, operation, ending) = match event {
            Event::Invoke(invoke) => return self.begin(line, invoke).map(|()| None),
            Event::Ok(end) => (end.process, end.operation, Ending::Ok { at: end.at, response: end.response }),
            Event::Refused(end) => {
                (end.process, end.operation, Ending::Refused { at: end.at, code: end.code, response: end.response })
            }
            Event::Unknown(end) => (end.process, end.operation, Ending::Unknown { at: end.at, reason: end.reason }),
            Event::NotSent(_) | Event::Fault(_) | Event::Phase(_) => return Ok(None),
        };
        let id = OperationId { process, operation };
        let Some((begun_at, invoke)) = self.open.remove(&id) else {
            return Err(self.wrong(line, format!("{id} ends here but is not under way")));
        };
        Ok(Some(Operation { line: begun_at, invoke, ending }))
    }

    fn begin(&mut self, line: u64, invoke: Invoke) -> Result<(), OperationError> {
        let id = OperationId { process: invoke.process, operation: invoke.operation };
        match self.open.insert(id, (line, invoke)) {
            None => Ok(()),
            Some((earlier, _)) => Err(self.wrong(line, format!("{id} began at line {earlier} and begins again here"))),
        }
    }

    /// The operations without an end, in the order of their lines.
    #[must_use]
    pub fn never_ended(self) -> Vec<Operation> {
        let open = self.open.into_values();
        let mut open: Vec<_> = open.map(|(line, invoke)| Operation { line, invoke, ending: Ending::Never }).collect();
        open.sort_by_key(|operation| operation.line);
        open
    }

    fn wrong(&self, line: u64, reason: String) -> OperationError {
        OperationError { path: self.path.clone(), line, reason }
    }
}
