//! Progress bars on stderr, drawn only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with a known total.
pub(super) fn counting_bar(what: &str) -> ProgressBar {
    styled(ProgressBar::new(0), &format!("{{wide_bar}} {{human_pos}}/{{human_len}} {what}, {{eta}} left"))
}

/// A bar over the bytes of a file, with a message.
pub(super) fn bytes_bar(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes} {msg}, {eta} left")
}

/// A spinner for an unknown total, with count and rate.
pub(super) fn endless_bar(what: &str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), &format!("{{spinner}} {{human_pos}} {what}, {{per_sec}}, {{elapsed}}"))
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}
