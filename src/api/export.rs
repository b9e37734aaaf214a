//! Exports: whole lists as rows.

use quorapay_core::domain::LogIndex;
use serde::{Deserialize, Serialize};

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FormatWord))]
pub enum ExportFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl ExportFormat {
    /// The format as the parameter names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// Reads the parameter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Csv, Self::Ndjson].into_iter().find(|format| format.as_str() == text)
    }
}

/// The last line of an export as NDJSON. An export without one is not whole. In CSV the last row has the same values,
/// `complete` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportTrailer {
    /// Always `true`.
    pub complete: bool,
    /// How many rows came before it.
    #[serde(default)]
    pub rows: u64,
    /// The end of the ledger as of which it was made.
    #[serde(default)]
    pub as_of_index: LogIndex,
}
