//! JSON in and out: bodies are read into typed requests with a name for whatever is wrong in them, and answers are
//! written field by field into one buffer.
//!
//! It knows what a field is, not what a payment is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;

use super::problem::Problem;

/// Deepest nesting of arrays and objects in a body.
pub(super) const MAX_JSON_DEPTH: usize = 32;

/// A body of a request, one JSON object.
pub(super) trait RequestBody: DeserializeOwned {
    /// The stable code for a field whose value is of the wrong type or out of its range. Of a field within another one,
    /// the outer one is asked for.
    fn code_of(field: &str) -> &'static str;
}

/// Reads a body that must be one JSON object.
///
/// Good bodies are read once. Only a bad one is read a second time, with the path tracked, to name the field.
pub(super) fn read_object<T: RequestBody>(body: &[u8]) -> Result<T, Problem> {
    if nesting(body) > MAX_JSON_DEPTH {
        let detail = format!("the body is nested more than {MAX_JSON_DEPTH} levels deep");
        return Err(Problem::bad_request("json_too_deep", detail));
    }
    // A derived reader would take an array for the object's fields in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::bad_request("invalid_json", "the body must be a JSON object"));
    }
    // Fields that nobody reads would be skipped over whatever their bytes are.
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request("invalid_json", "the body is no JSON: it is not UTF-8 throughout"))?;
    serde_json::from_str(text).map_err(|error| explain::<T>(body, &error))
}

/// A field that must be an object. A derived reader would take an array for the object's fields in order.
#[derive(Debug)]
pub(super) struct ObjectOnly<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOnly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maps<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Maps<T> {
            type Value = ObjectOnly<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ObjectOnly<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(ObjectOnly)
            }
        }
        deserializer.deserialize_map(Maps(PhantomData))
    }
}

/// How deep arrays and objects are nested at most. Brackets within strings do not count.
fn nesting(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in body {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn explain<T: RequestBody>(body: &[u8], first: &serde_json::Error) -> Problem {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let Err(tracked) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        // The object itself is fine, so something follows it.
        return Problem::bad_request("invalid_json", format!("the body is no JSON: {first}"));
    };
    let path = tracked.path().to_string();
    let error = tracked.into_inner();
    let message = without_position(&error);
    if let Some((code, name)) = structural(&message) {
        let field = beside(&path, name);
        return Problem::bad_request(code, message.clone()).field(field);
    }
    let out_of_range = message == "number out of range";
    if error.classify() == Category::Data || out_of_range {
        let leaf = path.split(['.', '[']).next().unwrap_or_default();
        return Problem::bad_request(T::code_of(leaf), format!("{path}: {message}")).field(path);
    }
    Problem::bad_request("invalid_json", format!("the body is no JSON: {error}"))
}

/// `serde_json` appends the place, which says nothing once the field is named.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or_else(|| text.clone(), str::to_owned)
}

/// Errors about the presence of a field carry its name in backticks.
fn structural(message: &str) -> Option<(&'static str, &str)> {
    const KINDS: [(&str, &str); 3] = [
        ("unknown field `", "unknown_field"),
        ("missing field `", "missing_field"),
        ("duplicate field `", "duplicate_field"),
    ];
    KINDS.iter().find_map(|(prefix, code)| {
        let rest = message.strip_prefix(prefix)?;
        Some((*code, rest.split('`').next().unwrap_or(rest)))
    })
}

/// The field `name` in the object where the error was met. The path ends in that object or in the field itself.
fn beside(path: &str, name: &str) -> String {
    let parent = if path == name { "" } else { path.strip_suffix(&format!(".{name}")).unwrap_or(path) };
    match parent {
        "" | "." => name.to_owned(),
        parent => format!("{parent}.{name}"),
    }
}

/// Writes one JSON object into a buffer, field by field.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Opens an object at the end of `out`.
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a field.
    pub(super) fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> &mut Self {
        serde_json::to_writer(self.name(name), value).expect("answers are made of types that JSON can always hold");
        self
    }

    /// Writes a field if there is a value for it.
    pub(super) fn optional<T: Serialize>(&mut self, name: &'static str, value: Option<T>) -> &mut Self {
        match value {
            Some(value) => self.field(name, &value),
            None => self,
        }
    }

    /// Writes a field through its `Display`, as a string. For texts that need no escaping.
    pub(super) fn text(&mut self, name: &'static str, value: impl std::fmt::Display) -> &mut Self {
        use std::io::Write;
        write!(self.name(name), "\"{value}\"").expect("writing to memory does not fail");
        self
    }

    /// Writes a field whose value is JSON already.
    pub(super) fn raw(&mut self, name: &'static str, json: &[u8]) -> &mut Self {
        self.name(name).extend_from_slice(json);
        self
    }

    /// Writes a field that holds an object.
    pub(super) fn object(&mut self, name: &'static str, write: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        write_object(self.name(name), write);
        self
    }

    /// Writes a field that holds an array with one element per item.
    pub(super) fn array<I: IntoIterator>(
        &mut self,
        name: &'static str,
        items: I,
        mut write: impl FnMut(&mut Vec<u8>, I::Item),
    ) -> &mut Self {
        let out = self.name(name);
        out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
        self
    }

    /// Opens a field and hands out the buffer: whoever takes it writes one JSON value to its end.
    pub(super) fn value(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.name(name)
    }

    /// Closes the object.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// Writes one JSON object at the end of `out`.
pub(super) fn write_object(out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    let mut object = ObjectWriter::open(out);
    write(&mut object);
    object.close();
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "amount")]
        _amount: i64,
        #[serde(rename = "inner")]
        _inner: Option<ObjectOnly<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "name")]
        _name: String,
    }

    impl RequestBody for Sample {
        fn code_of(field: &str) -> &'static str {
            if field == "amount" { "invalid_amount" } else { "invalid_field" }
        }
    }

    fn refusal(body: &str) -> (&'static str, Option<String>) {
        let problem = read_object::<Sample>(body.as_bytes()).expect_err("a bad body");
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    fn named(code: &'static str, field: &str) -> (&'static str, Option<String>) {
        (code, Some(field.to_owned()))
    }

    #[test]
    fn an_unknown_missing_or_repeated_field_is_named() {
        assert_eq!(refusal(r#"{"amount":1,"extra":2}"#), named("unknown_field", "extra"));
        assert_eq!(refusal(r#"{"inner":{"name":"x"}}"#), named("missing_field", "amount"));
        assert_eq!(refusal(r#"{"amount":1,"amount":1}"#), named("duplicate_field", "amount"));
        assert_eq!(refusal(r#"{"amount":1,"inner":{"name":"x","age":1}}"#), named("unknown_field", "inner.age"));
        assert_eq!(refusal(r#"{"amount":1,"inner":{}}"#), named("missing_field", "inner.name"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_its_path() {
        assert_eq!(refusal(r#"{"amount":"1"}"#), named("invalid_amount", "amount"));
        assert_eq!(refusal(r#"{"amount":1e999}"#), named("invalid_amount", "amount"));
        assert_eq!(refusal(r#"{"amount":1,"inner":{"name":5}}"#), named("invalid_field", "inner.name"));
        assert_eq!(refusal(r#"{"amount":1,"inner":["x"]}"#), named("invalid_field", "inner"));
    }

    #[test]
    fn what_is_no_json_object_is_refused_as_such() {
        for bad in ["", "null", "[1]", "{", r#"{"amount":}"#, r#"{"amount":1} x"#, "{\"amount\":1,\"\u{fffd}"] {
            assert_eq!(refusal(bad), ("invalid_json", None), "{bad}");
        }
        let not_utf8 = read_object::<Sample>(b"{\"\xff\":1}").expect_err("no text");
        assert_eq!(not_utf8.code(), "invalid_json");
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = |levels: usize| format!(r#"{{"amount":1,"inner":{}}}"#, deep(levels));
        assert_eq!(refusal(&body(MAX_JSON_DEPTH)).0, "json_too_deep");
        assert_eq!(refusal(&body(MAX_JSON_DEPTH - 1)).0, "invalid_field");
        assert_eq!(nesting(br#"{"a":"[[[{{{\"[[","b":[]}"#), 2);
    }

    #[test]
    fn an_object_is_written_field_by_field() {
        let mut out = Vec::new();
        write_object(&mut out, |object| {
            object.field("a", &1).optional("b", None::<u8>).text("c", "x").raw("d", b"{}");
            object.array("e", [1, 2], |out, item| out.extend_from_slice(item.to_string().as_bytes()));
            object.object("f", |inner| {
                inner.field("g", "quo\"ted");
            });
        });
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, r#"{"a":1,"c":"x","d":{},"e":[1,2],"f":{"g":"quo\"ted"}}"#);
    }
}
