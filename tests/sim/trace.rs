//! What a run did, as one number: every event goes into a rolling hash, so that two runs of one seed can be compared.
//! With `TRACE=1` each event is also a line on standard error. With `FINGERPRINTS=file` the text
//! of every protocol effect goes into the hash as well.

use std::fmt::{Debug, Write};

/// Characters of a value in the written trace; batches would fill screens.
const MAX_LINE_CHARS: usize = 600;

/// The rolling hash over all events, and optionally their text.
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    written: bool,
    /// Whether the text of every protocol effect is part of the hash: several times slower.
    with_effects: bool,
}

/// Adds formatted text to a rolling hash without building it.
struct TextHasher<'a>(&'a mut u64);

impl Write for TextHasher<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        *self.0 = text.bytes().fold(*self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
        Ok(())
    }
}

impl Trace {
    pub(crate) fn new(written: bool) -> Self {
        let with_effects = std::env::var_os("FINGERPRINTS").is_some();
        Self { hash: 0xCBF2_9CE4_8422_2325, events: 0, written, with_effects }
    }

    /// Adds one event. The meaning of the numbers depends on `what`.
    pub(crate) fn note(&mut self, now_us: u64, node: usize, what: &'static str, numbers: [u64; 2]) {
        let number = u64::try_from(node).expect("few nodes");
        let words = [now_us, number, numbers[0], numbers[1]];
        let named = what.bytes().fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
        self.hash =
            words.iter().fold(named, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.events += 1;
        if self.written {
            let (millis, micros) = (now_us / 1_000, now_us % 1_000);
            let number = node + 1;
            eprintln!("{millis:>6}.{micros:03} node{number} {what} {} {}", numbers[0], numbers[1]);
        }
    }

    /// Adds the text of a protocol effect to the hash, if this run is to be compared with another revision's.
    pub(crate) fn note_effect(&mut self, effect: &dyn Debug) {
        if self.with_effects {
            let _ = write!(TextHasher(&mut self.hash), "{effect:?}");
        }
    }

    /// Adds a value to the written trace; it is not part of the hash.
    pub(crate) fn show(&self, what: &str, value: &dyn Debug) {
        if self.written {
            let line = format!("{what} {value:?}");
            let end = line.char_indices().nth(MAX_LINE_CHARS).map_or(line.len(), |(at, _)| at);
            eprintln!("             {}", &line[..end]);
        }
    }

    /// The hash and the number of all events so far.
    pub(crate) const fn summary(&self) -> (u64, u64) {
        (self.hash, self.events)
    }
}
