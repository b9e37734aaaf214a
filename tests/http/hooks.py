"""What the description cannot say: rules between two fields, and how a body of lines is written."""

import json
from urllib.parse import unquote

import schemathesis

# Within this a healthy cluster answers, or says why it does not: a call waits for its index as long as it may.
DEADLINE_MS = 1000

# What is answered to calls that are right field by field and wrong as a whole.
CODES_BETWEEN_FIELDS = {
    "duplicate_field",
    "duplicate_idempotency_key",
    "invalid_amount",
    "invalid_cursor",
    "invalid_expires_in",
    "invalid_order",
    "invalid_overdraft",
    "metadata_too_large",
    "nothing_to_change",
    "same_account",
    "unknown_field",
}


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """A list of payments, one per line."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, list):
        return json.dumps(value).encode()
    return "\n".join(json.dumps(item) for item in value).encode()


@schemathesis.hook
def filter_case(context, case):
    """Leaves out calls that break a rule between fields: JSON Schema has no words for these."""
    negative = case.meta is not None and case.meta.generation.mode.is_negative
    return negative or fits(case)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """The same for calls that were not filtered: refusing them by such a code is right."""
    if fits(case) or response.status_code != 400:
        return True
    return response.json().get("code") not in CODES_BETWEEN_FIELDS


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives a call that is right time enough, and none too much."""
    given = (case.headers or {}).get("Quorapay-Deadline-Ms")
    if given is None or str(given).isdigit():
        case.headers["Quorapay-Deadline-Ms"] = str(DEADLINE_MS)


def fits(case):
    """Whether a call keeps the rules between its fields."""
    try:
        # A value may be in its encoded form already when it comes here.
        outside = unquote(str((case.path_parameters or {}).get("id", ""))).startswith("external:")
        return query_fits(case.query or {}) and body_fits(case.operation.label, case.query or {}, case.body, outside)
    except (AttributeError, KeyError, TypeError):
        # The parts are not even of the right type.
        return True


def query_fits(query):
    """An export has no pages, and a cursor is one that was given."""
    return "cursor" not in query and not ("format" in query and "limit" in query)


def body_fits(label, query, body, outside):
    """The rules between the fields of payments, batches and changes of accounts."""
    if label == "PATCH /v1/accounts/{id}":
        return any(value is not None for value in body.values()) and (not outside or is_unlimited(body))
    if label == "POST /v1/accounts":
        return not body["id"].startswith("external:") or is_unlimited(body)
    if label == "POST /v1/payments":
        return payment_fits(body)
    if label == "POST /v1/payments/batch":
        payments = body["payments"] if isinstance(body, dict) else body
        keys = [item["idempotency_key"] for item in payments if item.get("idempotency_key")]
        twice = isinstance(body, dict) and "atomic" in body and "atomic" in query
        return all(map(payment_fits, payments)) and len(keys) == len(set(keys)) and not twice
    if label in ("POST /v1/payments/{id}/capture", "POST /v1/payments/{id}/refund"):
        return is_plain(body.get("amount"))
    return True


def payment_fits(payment):
    """Two accounts, a lifetime only for a hold, metadata within 4 KiB; and integers written as such: 5.0 is one to JSON
    Schema, and no amount to a ledger that knows no decimals."""
    order = payment.get("order") or {}
    plain = all(map(is_plain, (payment["amount"], payment.get("expires_in"), order.get("total"))))
    lifetime = payment.get("expires_in") is None or payment.get("capture") == "manual"
    small = len(json.dumps(payment.get("metadata"))) <= 2048
    return payment["from"] != payment["to"] and plain and lifetime and small


def is_unlimited(body):
    """The overdraft of an account of the outside world."""
    return body.get("overdraft") in (None, "unlimited")


def is_plain(number):
    """Whether a number has no decimals, be they zero."""
    return not isinstance(number, float)
