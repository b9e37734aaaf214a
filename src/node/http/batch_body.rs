//! The body of `POST /v1/payments/batch`, parsed while it arrives: every payment is parsed when its last byte arrives,
//! so that memory holds the parsed payments and one incomplete one, never the whole body.

use std::collections::HashSet;

use quorapay_api::Code;
use quorapay_api::limits::MAX_BATCH_ITEMS;
use quorapay_core::domain::{BatchItem, BatchRequest, IdempotencyKey};

use super::payment_body::parse_item;
use super::problem::Problem;

/// Longest name and longest literal outside of the payments, in bytes.
const MAX_LITERAL_BYTES: usize = 64;

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchForm {
    /// One JSON array, or an object with the array in `payments`.
    Json,
    /// One payment per line.
    Lines,
}

/// Reads a batch piece by piece.
#[derive(Debug)]
pub(super) struct BatchReader {
    expects: Expects,
    /// The incomplete token, with the bytes of it from earlier pieces.
    token: Option<Token>,
    token_bytes: Vec<u8>,
    /// Whether the payments are in an object.
    in_object: bool,
    /// Whether that object already had its payments.
    has_payments: bool,
    items: Vec<BatchItem>,
    atomic: Option<bool>,
}

/// What is valid next, outside of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// The array or the object.
    Start,
    /// In the array: a payment or the array's end.
    ItemOrEnd,
    Item,
    CommaOrEnd,
    /// In the object: a name or the object's end.
    NameOrEnd,
    Name,
    Colon(Field),
    Value(Field),
    FieldEnd,
    /// Only whitespace.
    Nothing,
    /// Lines: another payment or the end.
    Line,
}

/// A field of the object form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Atomic,
    Payments,
}

/// Bytes that are parsed together once all of them are there.
#[derive(Clone, Copy, Debug)]
enum Token {
    /// A payment in an array: up to its last bracket.
    Item(Scan),
    /// A payment on a line: up to the line's end.
    Line,
    /// A field's name: up to its second quote.
    Name(Scan),
    /// `true` or `false`: up to the first other character.
    Literal,
}

impl BatchReader {
    /// A reader; `atomic` is what the query says.
    pub(super) fn new(form: BatchForm, atomic: Option<bool>) -> Self {
        let expects = if form == BatchForm::Json { Expects::Start } else { Expects::Line };
        Self {
            expects,
            token: None,
            token_bytes: Vec::new(),
            in_object: false,
            has_payments: false,
            items: Vec::new(),
            atomic,
        }
    }

    /// Parses the next piece of the body. After an error the reader must not be used.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Problem> {
        while let Some(first) = piece.first() {
            let Some(token) = &mut self.token else {
                if first.is_ascii_whitespace() || self.begin(*first)? {
                    piece = &piece[1..];
                }
                continue;
            };
            let Some(end) = token.end_in(piece) else {
                let token = *token;
                self.token_bytes.extend_from_slice(piece);
                return self.check_length(token, self.token_bytes.len());
            };
            let (last, rest) = piece.split_at(end);
            piece = rest;
            self.complete(last)?;
        }
        Ok(())
    }

    /// The batch, once the whole body was read.
    pub(super) fn finish(mut self, key: &IdempotencyKey) -> Result<BatchRequest, Problem> {
        if matches!(self.token, Some(Token::Line)) {
            self.complete(b"")?;
        }
        if self.token.is_some() || !matches!(self.expects, Expects::Nothing | Expects::Line) {
            return Err(self.no_json("it ends too early"));
        }
        if self.items.is_empty() {
            return Err(Problem::bad_request(Code::EmptyBatch, "a batch has at least one payment").field("payments"));
        }
        check_keys(key, &self.items)?;
        Ok(BatchRequest { atomic: self.atomic.unwrap_or(false), items: self.items })
    }

    /// Handles a byte that is not whitespace and not part of a token. Returns whether it was consumed; the first byte
    /// of a token is not.
    fn begin(&mut self, byte: u8) -> Result<bool, Problem> {
        let token = |token: Token| Some((self.expects, Some(token)));
        let next = |expects: Expects| Some((expects, None));
        let taken = match (self.expects, byte) {
            (Expects::Start | Expects::Value(Field::Payments), b'[') => next(Expects::ItemOrEnd),
            (Expects::Start, b'{') => {
                self.in_object = true;
                next(Expects::NameOrEnd)
            }
            (Expects::ItemOrEnd | Expects::Item, b'{') => token(Token::Item(Scan::default())),
            (Expects::Line, b'{') => token(Token::Line),
            (Expects::CommaOrEnd, b',') => next(Expects::Item),
            (Expects::ItemOrEnd | Expects::CommaOrEnd, b']') => {
                next(if self.in_object { Expects::FieldEnd } else { Expects::Nothing })
            }
            (Expects::NameOrEnd | Expects::Name, b'"') => token(Token::Name(Scan::default())),
            (Expects::Colon(field), b':') => next(Expects::Value(field)),
            (Expects::Value(Field::Atomic), b'a'..=b'z') => token(Token::Literal),
            (Expects::FieldEnd, b',') => next(Expects::Name),
            (Expects::NameOrEnd | Expects::FieldEnd, b'}') => next(Expects::Nothing),
            _ => None,
        };
        let Some((expects, token)) = taken else { return Err(self.unexpected(byte)) };
        let used_up = token.is_none();
        (self.expects, self.token) = (expects, token);
        Ok(used_up)
    }

    /// Handles a complete token, whose last bytes are given.
    fn complete(&mut self, last: &[u8]) -> Result<(), Problem> {
        let token = self.token.take().expect("a token is complete only if there is one");
        let begun = std::mem::take(&mut self.token_bytes);
        let joined;
        let whole = if begun.is_empty() {
            last
        } else {
            joined = [begun.as_slice(), last].concat();
            joined.as_slice()
        };
        self.check_length(token, whole.len())?;
        match token {
            Token::Item(_) => {
                self.push(whole)?;
                self.expects = Expects::CommaOrEnd;
            }
            Token::Line => self.push(whole)?,
            Token::Name(_) => self.expects = Expects::Colon(self.field(whole)?),
            Token::Literal => {
                self.atomic = Some(match whole {
                    b"true" => true,
                    b"false" => false,
                    _ => return Err(invalid_atomic()),
                });
                self.expects = Expects::FieldEnd;
            }
        }
        Ok(())
    }

    fn push(&mut self, whole: &[u8]) -> Result<(), Problem> {
        if self.items.len() == MAX_BATCH_ITEMS {
            let detail = format!("a batch has at most {MAX_BATCH_ITEMS} payments");
            return Err(Problem::bad_request(Code::TooManyPayments, detail).field("payments"));
        }
        let item = parse_item(whole).map_err(|problem| self.of_item(problem))?;
        self.items.push(item);
        Ok(())
    }

    /// The field of the object with this quoted name.
    fn field(&mut self, quoted: &[u8]) -> Result<Field, Problem> {
        let name: String = serde_json::from_slice(quoted).map_err(|_| self.no_json("a name in it is no text"))?;
        let given_before = match name.as_str() {
            "atomic" => self.atomic.is_some(),
            "payments" => std::mem::replace(&mut self.has_payments, true),
            _ => return Err(Problem::bad_request(Code::UnknownField, format!("unknown field `{name}`")).field(name)),
        };
        if given_before {
            let detail = format!("{name} is given twice, in the body or in the query");
            return Err(Problem::bad_request(Code::DuplicateField, detail).field(name));
        }
        Ok(if name == "atomic" { Field::Atomic } else { Field::Payments })
    }

    /// Bounds names and literals, whatever is sent.
    fn check_length(&self, token: Token, bytes: usize) -> Result<(), Problem> {
        match token {
            Token::Name(_) | Token::Literal if bytes > MAX_LITERAL_BYTES => {
                Err(self.no_json("there is no field with such a long name or value"))
            }
            _ => Ok(()),
        }
    }

    fn unexpected(&self, byte: u8) -> Problem {
        match self.expects {
            Expects::Start => self.no_json("a batch is an array of payments, or an object with one"),
            Expects::ItemOrEnd | Expects::Item | Expects::Line if !matches!(byte, b']' | b'}' | b',') => {
                self.of_item(Problem::bad_request(Code::InvalidJson, "a payment is a JSON object"))
            }
            Expects::Value(Field::Atomic) => invalid_atomic(),
            Expects::Value(Field::Payments) => {
                Problem::bad_request(Code::InvalidJson, "payments is an array").field("payments")
            }
            _ => self.no_json(&format!("{:?} stands in a wrong place", char::from(byte))),
        }
    }

    /// Adds the position of the payment that is being read.
    fn of_item(&self, problem: Problem) -> Problem {
        problem.in_item(self.items.len())
    }

    fn no_json(&self, what: &str) -> Problem {
        let place = match self.items.len() {
            0 => String::new(),
            items => format!(" after payment {}", items - 1),
        };
        Problem::bad_request(Code::InvalidJson, format!("the body is no JSON{place}: {what}"))
    }
}

impl Token {
    /// Where the token ends in a piece, if it does.
    fn end_in(&mut self, piece: &[u8]) -> Option<usize> {
        match self {
            Self::Item(scan) | Self::Name(scan) => scan.end_in(piece),
            Self::Line => piece.iter().position(|byte| *byte == b'\n'),
            Self::Literal => piece.iter().position(|byte| !byte.is_ascii_alphanumeric()),
        }
    }
}

/// Finds the end of a JSON object or string without validating it.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    fn end_in(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, byte) in piece.iter().enumerate() {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                _ => continue,
            }
            if self.depth == 0 && !self.in_string {
                return Some(at + 1);
            }
        }
        None
    }
}

fn invalid_atomic() -> Problem {
    Problem::bad_request(Code::InvalidAtomic, "atomic is true or false").field("atomic")
}

/// No two payments have the same key, and none has the batch's.
fn check_keys(own: &IdempotencyKey, items: &[BatchItem]) -> Result<(), Problem> {
    let mut known = HashSet::with_capacity(items.len() + 1);
    known.insert(own);
    for (at, item) in items.iter().enumerate() {
        if item.key.as_ref().is_some_and(|key| !known.insert(key)) {
            let detail = "another payment of the batch, or the batch itself, has the same key";
            let problem = Problem::bad_request(Code::DuplicateIdempotencyKey, detail);
            return Err(problem.field("idempotency_key").in_item(at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text).expect("valid")
    }

    fn payment(amount: usize) -> String {
        format!(r#"{{"from":"external:a","to":"b","amount":{amount},"currency":"EUR","description":"}}]\"[{{ é"}}"#)
    }

    fn array(payments: &[String]) -> String {
        format!("[{}]", payments.join(","))
    }

    /// Reads a body that arrives in pieces of so many bytes.
    fn read_in(piece: usize, form: BatchForm, atomic: Option<bool>, body: &str) -> Result<BatchRequest, Problem> {
        let mut reader = BatchReader::new(form, atomic);
        body.as_bytes().chunks(piece).try_for_each(|piece| reader.feed(piece))?;
        reader.finish(&key("batch"))
    }

    fn read(form: BatchForm, body: &str) -> Result<BatchRequest, Problem> {
        read_in(usize::MAX, form, None, body)
    }

    #[track_caller]
    fn refusal(form: BatchForm, body: &str) -> (&'static str, Option<String>) {
        let problem = read(form, body).expect_err(body);
        for piece in [1, 2, 3, 7] {
            let in_pieces = read_in(piece, form, None, body).expect_err(body);
            assert_eq!((in_pieces.code(), in_pieces.field_name()), (problem.code(), problem.field_name()), "{body}");
        }
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    fn named(code: &'static str, field: &str) -> (&'static str, Option<String>) {
        (code, Some(field.to_owned()))
    }

    fn amounts(batch: &BatchRequest) -> Vec<i64> {
        batch.items.iter().map(|item| item.request.amount.get()).collect()
    }

    #[test]
    fn a_batch_is_an_array_an_object_or_lines_however_it_is_cut_into_pieces() {
        let payments: Vec<String> = (1..=3).map(payment).collect();
        let spaced = format!(" [ {} ] \n", payments.join(" , "));
        let object = format!(r#" {{ "payments" : {} , "atomic" : true }} "#, array(&payments));
        let lines = format!("{}\n\n  {}\r\n{}", payments[0], payments[1], payments[2]);
        for piece in [1, 2, 3, 5, 64, usize::MAX] {
            for (form, body, atomic) in [
                (BatchForm::Json, &array(&payments), false),
                (BatchForm::Json, &spaced, false),
                (BatchForm::Json, &object, true),
                (BatchForm::Lines, &lines, false),
            ] {
                let batch = read_in(piece, form, None, body).expect("valid");
                assert_eq!((amounts(&batch), batch.atomic), (vec![1, 2, 3], atomic), "{body} by {piece}");
            }
        }
    }

    #[test]
    fn all_or_none_is_asked_for_in_the_query_or_in_the_object_but_not_in_both() {
        let body = array(&[payment(1)]);
        assert!(read_in(9, BatchForm::Json, Some(true), &body).expect("valid").atomic);
        let object = format!(r#"{{"atomic":true,"payments":{body}}}"#);
        let problem = read_in(9, BatchForm::Json, Some(true), &object).expect_err("twice");
        assert_eq!((problem.code(), problem.field_name()), ("duplicate_field", Some("atomic")));
    }

    #[test]
    fn a_bad_payment_is_named_by_its_position_and_field() {
        let with = |bad: &str| vec![payment(1), payment(2), bad.to_owned(), payment(4)];
        let cases = [
            (payment(0), "invalid_amount", "payments[2].amount"),
            (payment(1).replace("EUR", "EURO"), "invalid_currency", "payments[2].currency"),
            (payment(1).replace("external:a", "b"), "same_account", "payments[2].to"),
            (payment(1).replace("amount", "sum"), "unknown_field", "payments[2].sum"),
            (r#"{"from":"a","to":"b","amount":1}"#.to_owned(), "missing_field", "payments[2].currency"),
            ("[]".to_owned(), "invalid_json", "payments[2]"),
            ("7".to_owned(), "invalid_json", "payments[2]"),
            ("null".to_owned(), "invalid_json", "payments[2]"),
            (r#"{"from":}"#.to_owned(), "invalid_json", "payments[2]"),
            (format!(r#"{{"metadata":{}1{}}}"#, "[".repeat(40), "]".repeat(40)), "json_too_deep", "payments[2]"),
        ];
        for (bad, code, field) in cases {
            assert_eq!(refusal(BatchForm::Json, &array(&with(&bad))), named(code, field), "{bad}");
            assert_eq!(refusal(BatchForm::Lines, &with(&bad).join("\n")), named(code, field), "{bad}");
        }
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let good = payment(1);
        for bad in [
            "",
            "  ",
            "null",
            "5",
            "[",
            "]",
            &format!("[{good}"),
            &format!("[{good},]"),
            &format!("[,{good}]"),
            &format!("[{good} {good}]"),
            &format!("[{good}] x"),
            &format!("[{good}]]"),
            "{",
            &format!(r#"{{"payments":[{good}]"#),
            &format!(r#"{{"payments":[{good}],}}"#),
            &format!(r#"{{payments:[{good}]}}"#),
            &format!(r#"{{"payments" [{good}]}}"#),
            &format!("[{}", good.trim_end_matches('}')),
            &format!(r#"{{"{}":1}}"#, "x".repeat(5_000)),
        ] {
            assert_eq!(refusal(BatchForm::Json, bad), ("invalid_json", None), "{bad}");
        }
        assert_eq!(refusal(BatchForm::Json, r#"{"payments":{}}"#), named("invalid_json", "payments"));
        assert_eq!(refusal(BatchForm::Json, r#"{"colour":1}"#), named("unknown_field", "colour"));
        for bad in ["1", "null", "\"true\"", "tru", "truefalse"] {
            let body = format!(r#"{{"atomic":{bad},"payments":[]}}"#);
            assert_eq!(refusal(BatchForm::Json, &body), named("invalid_atomic", "atomic"), "{bad}");
        }
        let twice = format!(r#"{{"payments":[],"payments":[{good}]}}"#);
        assert_eq!(refusal(BatchForm::Json, &twice), named("duplicate_field", "payments"));
    }

    #[test]
    fn a_batch_has_1_to_10000_payments() {
        for (form, empty) in [
            (BatchForm::Json, "[]"),
            (BatchForm::Json, r#"{"payments":[]}"#),
            (BatchForm::Json, "{}"),
            (BatchForm::Lines, "\n"),
        ] {
            assert_eq!(refusal(form, empty), named("empty_batch", "payments"));
        }
        let most: Vec<String> = (1..=MAX_BATCH_ITEMS).map(payment).collect();
        assert_eq!(read(BatchForm::Json, &array(&most)).expect("fits").items.len(), MAX_BATCH_ITEMS);
        assert_eq!(read(BatchForm::Lines, &most.join("\n")).expect("fits").items.len(), MAX_BATCH_ITEMS);
        let more = [most, vec![payment(1)]].concat();
        assert_eq!(read(BatchForm::Json, &array(&more)).expect_err("too many").code(), "too_many_payments");
    }

    #[test]
    fn no_two_payments_have_one_key_and_none_has_the_batchs() {
        let keyed = |key: &str| payment(1).replacen('{', &format!(r#"{{"idempotency_key":"{key}","#), 1);
        let batch = read(BatchForm::Json, &array(&[keyed("a"), payment(1), keyed("b"), payment(1)])).expect("valid");
        assert_eq!(batch.items[2].key, Some(key("b")));
        let twice = array(&[keyed("a"), keyed("b"), keyed("a")]);
        assert_eq!(refusal(BatchForm::Json, &twice), named("duplicate_idempotency_key", "payments[2].idempotency_key"));
        let batchs = array(&[keyed("batch")]);
        assert_eq!(
            refusal(BatchForm::Json, &batchs),
            named("duplicate_idempotency_key", "payments[0].idempotency_key")
        );
    }
}
