//! The report of a run: as text, as JSON and as a picture.
//!
//! ```text
//! results        the report itself, which is report.json
//! measure        latencies, gaps and availability from a history
//! interruptions  how long each node was without payments, for faults that last
//! text           the report for people
//! timeline       the report as SVG
//! ```

mod interruptions;
mod measure;
mod results;
mod text;
mod timeline;

use std::path::Path;

use super::error::ChaosError;
use crate::local::LocalError;

pub use interruptions::Interruptions;
pub use measure::Availability;
pub use results::Report;
pub(super) use results::RunResult;

impl Report {
    /// Writes `report.json` and `timeline.svg` into a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ChaosError> {
        let json = serde_json::to_string_pretty(self).expect("a report is made of plain values");
        std::fs::write(folder.join("report.json"), json).map_err(LocalError::io("report.json"))?;
        let picture = timeline::draw(self);
        Ok(std::fs::write(folder.join("timeline.svg"), picture).map_err(LocalError::io("timeline.svg"))?)
    }

    /// The report for people.
    #[must_use]
    pub fn describe(&self, folder: &Path) -> String {
        text::describe(self, folder)
    }
}
