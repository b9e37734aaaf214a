//! A file of rows, read one row at a time: where each begins, and never more of it in memory than a row may have.

use std::io::{self, BufRead, Read};

/// More than any payment has, in bytes. A quote that is never closed would otherwise swallow the file.
const LONGEST_RECORD: usize = 64 << 10;

/// A place in a file, between two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Lines before it.
    pub(super) lines: u64,
}

/// One row as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) text: Vec<u8>,
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Where the next one begins.
    pub(super) end: Place,
}

/// Splits what it reads into rows. Empty lines are passed over.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    /// Whether a line's end within double quotes belongs to the row.
    quoted: bool,
    place: Place,
}

impl<R: BufRead> Records<R> {
    /// Reads on from a place at which `input` stands.
    pub(super) fn from(input: R, quoted: bool, place: Place) -> Self {
        Self { input, quoted, place }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What reading the file brought, or [`io::ErrorKind::InvalidData`] for a row that is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let line = self.place.lines + 1;
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
                return Ok(Some(Record { text, line, end: self.place }));
            }
        }
    }

    /// What is left of the input.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// Adds one line to the row. Says whether there was one.
    fn read_line(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let room = u64::try_from(LONGEST_RECORD - text.len()).expect("a usize fits into 64 bits") + 1;
        let read = self.input.by_ref().take(room).read_until(b'\n', text)?;
        if text.len() > LONGEST_RECORD {
            let line = self.place.lines + 1;
            let what = format!("line {line}: a row has more than {LONGEST_RECORD} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.place.offset += u64::try_from(read).expect("a usize fits into 64 bits");
        self.place.lines += u64::from(read > 0);
        Ok(read > 0)
    }
}

/// Splits a row into its fields as RFC 4180 has them; `None` if the quotes are wrong.
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

/// The text up to the closing quote, with doubled quotes made single, and what follows.
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

    const START: Place = Place { offset: 0, lines: 0 };

    fn all(text: &str, quoted: bool) -> Vec<(u64, String)> {
        let mut records = Records::from(text.as_bytes(), quoted, START);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push((record.line, String::from_utf8(record.text).unwrap()));
        }
        found
    }

    #[test]
    fn a_row_ends_with_its_line_but_not_within_quotes() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x\ny\"\n  \n2,z";
        let expected = [(1, "a,b"), (3, "1,\"x\ny\""), (6, "2,z")];
        assert_eq!(all(text, true), expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(all("{\"a\":\"\\\"\"}\n{}\n", false).len(), 2);
    }

    #[test]
    fn reading_goes_on_from_where_a_row_ended() {
        let text = "a\n\"b\nb\"\nc\n";
        let mut records = Records::from(text.as_bytes(), true, START);
        records.next().unwrap().unwrap();
        let end = records.next().unwrap().unwrap().end;
        assert_eq!(end, Place { offset: 8, lines: 3 });
        let mut rest = Records::from(&text.as_bytes()[8..], true, end);
        let next = rest.next().unwrap().unwrap();
        assert_eq!((next.line, next.text.as_slice()), (4, b"c".as_slice()));
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_the_file() {
        let text = format!("a,b\n1,\"{}", "x\n".repeat(LONGEST_RECORD));
        let mut records = Records::from(text.as_bytes(), true, START);
        records.next().unwrap();
        assert_eq!(records.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn fields_are_split_as_rfc_4180_has_them() {
        let split = |text: &str| fields(text);
        let owned = |fields: &[&str]| Some(fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>());
        assert_eq!(split("a,,b"), owned(&["a", "", "b"]));
        assert_eq!(split("\"a,\"\"b\"\"\n\",c"), owned(&["a,\"b\"\n", "c"]));
        assert_eq!(split("a,"), owned(&["a", ""]));
        for bad in ["\"a", "\"a\"b,c", "a\"b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
