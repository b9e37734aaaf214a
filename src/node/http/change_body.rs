//! What a capture, a void or a refund says in its body, which may be left out.

use quorapay_api::{ChangeAmount, Code, Nothing};
use quorapay_core::domain::PaymentChangeKind;

use super::problem::Problem;
use super::read_json::{RequestBody, read_object};

impl RequestBody for ChangeAmount {
    fn code_of(_: &str) -> Code {
        Code::InvalidAmount
    }
}

impl RequestBody for Nothing {
    fn code_of(_: &str) -> Code {
        Code::InvalidField
    }
}

/// Which change a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeName {
    Capture,
    Void,
    Refund,
}

/// Reads the body of a change; without one nothing is named.
pub(super) fn parse(name: ChangeName, body: &[u8]) -> Result<PaymentChangeKind, Problem> {
    let amount = || read_or_default::<ChangeAmount>(body).map(|body| body.amount);
    Ok(match name {
        ChangeName::Capture => PaymentChangeKind::Capture(amount()?),
        ChangeName::Refund => PaymentChangeKind::Refund(amount()?),
        ChangeName::Void => {
            let Nothing {} = read_or_default(body)?;
            PaymentChangeKind::Void
        }
    })
}

fn read_or_default<T: RequestBody + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { read_object(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::domain::MinorUnits;

    fn refusal(name: ChangeName, body: &str) -> (&'static str, Option<String>) {
        let problem = parse(name, body.as_bytes()).expect_err(body);
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    #[test]
    fn an_amount_is_a_part_and_none_is_all_that_is_left() {
        let part = Some(MinorUnits::new(40));
        assert_eq!(parse(ChangeName::Capture, br#"{"amount":40}"#).expect("valid"), PaymentChangeKind::Capture(part));
        assert_eq!(parse(ChangeName::Refund, br#"{"amount":40}"#).expect("valid"), PaymentChangeKind::Refund(part));
        for body in ["", "{}", " { } "] {
            let parsed = |name| parse(name, body.as_bytes()).expect("valid");
            assert_eq!(parsed(ChangeName::Capture), PaymentChangeKind::Capture(None));
            assert_eq!(parsed(ChangeName::Refund), PaymentChangeKind::Refund(None));
            assert_eq!(parsed(ChangeName::Void), PaymentChangeKind::Void);
        }
    }

    #[test]
    fn a_bad_change_is_refused_by_the_field() {
        for bad in ["0", "-1", "1.5", "\"5\"", "1e400", "9223372036854775808"] {
            let body = format!(r#"{{"amount":{bad}}}"#);
            assert_eq!(refusal(ChangeName::Capture, &body), ("invalid_amount", Some("amount".to_owned())), "{bad}");
        }
        let unknown = |field: &str| ("unknown_field", Some(field.to_owned()));
        assert_eq!(refusal(ChangeName::Void, r#"{"amount":5}"#), unknown("amount"));
        assert_eq!(refusal(ChangeName::Refund, r#"{"reason":"x"}"#), unknown("reason"));
        assert_eq!(refusal(ChangeName::Refund, "[5]"), ("invalid_json", None));
    }
}
