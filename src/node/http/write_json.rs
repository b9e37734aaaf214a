//! Answers of the contract as JSON.

use serde::Serialize;

/// A value as JSON. `capacity` is about how many bytes it takes.
pub(super) fn to_json(value: &(impl Serialize + ?Sized), capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    append_json(&mut out, value);
    out
}

/// Writes a value at the end of `out`.
pub(super) fn append_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("answers are made of types that JSON can always hold");
}

/// Writes a value whose last field is an empty list and leaves the list open, for items that are written one by one
/// behind it. [`close_last_list`] ends it.
pub(super) fn open_last_list(out: &mut Vec<u8>, value: &impl Serialize) {
    append_json(out, value);
    assert!(out.ends_with(b"[]}"), "the last field is an empty list");
    out.truncate(out.len() - b"]}".len());
}

/// Ends a list and its value.
pub(super) fn close_last_list(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_that_is_written_item_by_item_is_the_same_json() {
        let mut out = Vec::new();
        open_last_list(&mut out, &json!({"a": {"list": []}, "list": []}));
        append_json(&mut out, &1);
        out.push(b',');
        append_json(&mut out, "two");
        close_last_list(&mut out);
        assert_eq!(String::from_utf8(out).expect("text"), r#"{"a":{"list":[]},"list":[1,"two"]}"#);
    }
}
