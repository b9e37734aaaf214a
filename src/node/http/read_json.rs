//! JSON bodies of requests, with errors that name the wrong field.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::problem::Problem;
use quorapay_api::Code;
use quorapay_api::limits::MAX_JSON_DEPTH;

/// A body of a request, one JSON object.
pub(super) trait RequestBody: DeserializeOwned {
    /// The code for a field whose value has the wrong type or is out of range. For a nested field this is called with
    /// the outermost one.
    fn code_of(field: &str) -> Code;
}

/// Reads a body that must be one JSON object.
///
/// Good bodies are read once. Only a bad one is read a second time, with the path tracked, to name the field.
pub(super) fn read_object<T: RequestBody>(body: &[u8]) -> Result<T, Problem> {
    if nesting(body) > MAX_JSON_DEPTH {
        let detail = format!("the body is nested more than {MAX_JSON_DEPTH} levels deep");
        return Err(Problem::bad_request(Code::JsonTooDeep, detail));
    }
    // A derived reader accepts an array in place of the object.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::bad_request(Code::InvalidJson, "the body must be a JSON object"));
    }
    // The parser does not check the encoding of fields that it ignores.
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::bad_request(Code::InvalidJson, "the body is no JSON: it is not UTF-8 throughout"))?;
    serde_json::from_str(text).map_err(|error| explain::<T>(body, &error))
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
        // The object itself is valid, so something follows it.
        return Problem::bad_request(Code::InvalidJson, format!("the body is no JSON: {first}"));
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
    Problem::bad_request(Code::InvalidJson, format!("the body is no JSON: {error}"))
}

/// Removes the position that `serde_json` appends: the field is named instead.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or_else(|| text.clone(), str::to_owned)
}

/// Errors about the presence of a field contain its name in backticks.
fn structural(message: &str) -> Option<(Code, &str)> {
    const KINDS: [(&str, Code); 3] = [
        ("unknown field `", Code::UnknownField),
        ("missing field `", Code::MissingField),
        ("duplicate field `", Code::DuplicateField),
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
        _inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "name")]
        _name: String,
    }

    impl RequestBody for Sample {
        fn code_of(field: &str) -> Code {
            if field == "amount" { Code::InvalidAmount } else { Code::InvalidField }
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
        assert_eq!(refusal(r#"{"amount":1,"inner":"x"}"#), named("invalid_field", "inner"));
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
}
