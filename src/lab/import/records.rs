//! Splits a file into records, one at a time and with a bound on the length of each, and a CSV record into fields.
//!
//! Hand-written instead of the `csv` crate for two reasons. The crate accepts wrong quotes (`a"b`, `"a"b`) and reads
//! something from them; a file that moves money must be refused there. And it has no bound on the length of a record: a
//! quote that is not closed makes it read the rest of the file into memory.

use std::io::{self, BufRead, Read};

use super::file_format::FileFormat;

/// Maximum length of a record in bytes, more than any payment needs. It stops at a quote that is not closed.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// A position in a file between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilePosition {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Lines before it.
    pub(super) lines: u64,
}

impl FilePosition {
    pub(super) const START: Self = Self { offset: 0, lines: 0 };
}

/// One record of the file: a line, or several if a quoted CSV field contains line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) text: Vec<u8>,
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Where the next one begins.
    pub(super) end: FilePosition,
}

/// Splits its input into records. Blank lines are skipped.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    /// Whether a line end within double quotes belongs to the record.
    quoted: bool,
    position: FilePosition,
}

impl<R: BufRead> Records<R> {
    /// Reads from `input`, whose next byte is at this position of the file.
    pub(super) fn from(input: R, format: FileFormat, position: FilePosition) -> Self {
        Self { input, quoted: format == FileFormat::Csv, position }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Any error of the file, and [`io::ErrorKind::InvalidData`] for a record that is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let line = self.position.lines + 1;
            let mut text = Vec::new();
            while self.read_line(&mut text)? {
                if !self.quoted || text.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2) {
                    break;
                }
            }
            if text.is_empty() {
                return Ok(None);
            }
            if line == 1 && text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
            while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                text.pop();
            }
            if !text.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(Record { text, line, end: self.position }));
            }
        }
    }

    /// The input behind the last record.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// Appends one line to the record. Returns whether there was one.
    fn read_line(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let limit = u64::try_from(MAX_RECORD_BYTES - text.len()).expect("a usize fits into 64 bits") + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', text)?;
        if text.len() > MAX_RECORD_BYTES {
            let line = self.position.lines + 1;
            let message = format!("line {line}: a row has more than {MAX_RECORD_BYTES} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.position.offset += u64::try_from(read).expect("a usize fits into 64 bits");
        self.position.lines += u64::from(read > 0);
        Ok(read > 0)
    }
}

/// Splits a record into its fields as RFC 4180 defines them; `None` if the quotes are wrong.
pub(super) fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return None;
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(fields),
        }
    }
}

/// The text up to the closing quote with doubled quotes unescaped, and the rest after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let quote = rest.find('"')?;
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn all(text: &str, format: FileFormat) -> Vec<(u64, String)> {
        let mut records = Records::from(text.as_bytes(), format, FilePosition::START);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push((record.line, String::from_utf8(record.text).unwrap()));
        }
        found
    }

    #[test]
    fn a_record_ends_with_its_line_but_not_within_quotes() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x\ny\"\n  \n2,z";
        let expected = [(1, "a,b"), (3, "1,\"x\ny\""), (6, "2,z")];
        assert_eq!(all(text, FileFormat::Csv), expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(all("{\"a\":\"\\\"\"}\n{}\n", FileFormat::Ndjson).len(), 2);
    }

    #[test]
    fn reading_continues_where_a_record_ended() {
        let text = "a\n\"b\nb\"\nc\n";
        let mut records = Records::from(text.as_bytes(), FileFormat::Csv, FilePosition::START);
        records.next().unwrap().unwrap();
        let end = records.next().unwrap().unwrap().end;
        assert_eq!(end, FilePosition { offset: 8, lines: 3 });
        let mut rest = Records::from(&text.as_bytes()[8..], FileFormat::Csv, end);
        let next = rest.next().unwrap().unwrap();
        assert_eq!((next.line, next.text.as_slice()), (4, b"c".as_slice()));
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_read_the_whole_file() {
        let text = format!("a,b\n1,\"{}", "x\n".repeat(MAX_RECORD_BYTES));
        let mut records = Records::from(text.as_bytes(), FileFormat::Csv, FilePosition::START);
        records.next().unwrap();
        assert_eq!(records.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn fields_are_split_as_rfc_4180_defines() {
        let owned = |fields: &[&str]| Some(fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>());
        assert_eq!(fields("a,,b"), owned(&["a", "", "b"]));
        assert_eq!(fields("\"a,\"\"b\"\"\n\",c"), owned(&["a,\"b\"\n", "c"]));
        assert_eq!(fields("a,"), owned(&["a", ""]));
        for bad in ["\"a", "\"a\"b,c", "a\"b"] {
            assert_eq!(fields(bad), None, "{bad}");
        }
    }
}
