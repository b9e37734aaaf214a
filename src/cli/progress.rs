//! Progress bars on stderr; nothing is drawn where nobody looks at a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts towards a known end.
pub(super) fn counting_bar(what: &str) -> ProgressBar {
    styled(ProgressBar::new(0), &format!("{{wide_bar}} {{human_pos}}/{{human_len}} {what}, {{eta}} left"))
}

/// A bar over the bytes of a file, with a message beside it.
pub(super) fn bytes_bar(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes} {msg}, {eta} left")
}

/// For what has no known end: how much came, and how fast.
pub(super) fn endless_bar(what: &str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), &format!("{{spinner}} {{human_pos}} {what}, {{per_sec}}, {{elapsed}}"))
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.with_style(ProgressStyle::with_template(template).expect("the template is sound"))
}
