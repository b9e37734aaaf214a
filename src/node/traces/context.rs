//! Which trace a request belongs to: the header `traceparent` of the W3C's Trace Context.

use std::fmt;

/// `00-` and the ids in 32 and 16 hexadecimal digits and the flags in 2, with hyphens between them.
const TRACEPARENT_BYTES: usize = 55;
/// The flag that says that the caller keeps its part of the trace.
const SAMPLED: u8 = 1;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The caller's span.
    pub parent_span_id: u64,
    /// Whether the caller keeps its part of the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads the header; `None` if it is not valid. A later version may have more fields, which are ignored.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let lower = !header.bytes().any(|byte| byte.is_ascii_uppercase());
        let fields: Vec<&str> = header.split('-').collect();
        let [version, trace_id, parent_id, flags, ..] = fields[..] else { return None };
        let whole = version != "00" || header.len() == TRACEPARENT_BYTES;
        let lengths = [version, trace_id, parent_id, flags].map(str::len) == [2, 32, 16, 2];
        if !(lower && whole && lengths && version != "ff") {
            return None;
        }
        let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if ![version, trace_id, parent_id, flags].into_iter().all(hexadecimal) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let parent_span_id = u64::from_str_radix(parent_id, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace_id, parent_span_id, sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.parent_span_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_header_is_read_and_any_other_is_ignored() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(text).expect("valid");
        assert!(context.sampled && context.parent_span_id == 0x00f0_67aa_0ba9_02b7, "{context:?}");
        assert_eq!(context.to_string(), text);
        assert!(TraceContext::parse(&format!("01{}-more", &text[2..])).is_some(), "a later version");
        assert!(!TraceContext::parse(&text.replace("-01", "-00")).expect("valid").sampled);
        for bad in [
            "",
            &text.to_uppercase(),
            &text.replace("4bf9", "xyz1"),
            &text.replace("4bf9", "+bf9"),
            &text[..54],
            &format!("{text}-more"),
            &format!("ff{}", &text[2..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}
