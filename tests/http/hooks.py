"""Hooks for what the OpenAPI description cannot express: rules between two fields, and the format of NDJSON bodies."""

import json
import unicodedata
from urllib.parse import unquote

import schemathesis

# The deadline of valid calls. It is short, because a call with a high min_index waits until its deadline.
DEADLINE_MS = 1000

# The codes of 400 responses to calls whose fields are valid one by one but not together, or not in this cluster.
CODES_BETWEEN_FIELDS = {
    "duplicate_field",
    "duplicate_idempotency_key",
    "invalid_amount",
    "invalid_api_key_field",
    "invalid_cursor",
    "invalid_expires_in",
    "invalid_index",
    "invalid_order",
    "invalid_overdraft",
    "metadata_too_large",
    "no_such_successor",
    "nothing_to_change",
    "same_account",
    "unknown_field",
}

# Some currencies. The description cannot list all of them as names of the limits of an API key.
CURRENCIES = ("EUR", "GBP", "JPY", "USD")

# The nodes of the cluster that schemathesis.sh starts.
NODES = ("node1", "node2", "node3")

# The payments of the earlier systems: the two accounts of each.
COMPATIBLE_PAYMENTS = {
    "POST /payment": ("sender", "receiver"),
    "POST /pay": ("sender", "receiver"),
    "POST /transfer": ("from_id", "to_id"),
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
def map_case(context, case):
    """Rounds the amounts of the earlier systems to the decimals of their currency: hardly any generated number has as few."""
    if case.operation.label in COMPATIBLE_PAYMENTS and not is_negative(case) and isinstance(case.body, dict):
        amount = case.body.get("amount")
        if isinstance(amount, (int, float)) and not isinstance(amount, bool):
            decimals = 2 if case.body.get("currency") in (None, "EUR", "USD") else 0
            case.body["amount"] = max(1, round(min(abs(amount), 1e9), decimals))
    return case


@schemathesis.hook
def filter_case(context, case):
    """Skips calls that break a rule between fields, because JSON Schema cannot express such a rule."""
    return is_negative(case) or fits(case)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Does not report a failure if the call breaks such a rule and was refused with one of these codes."""
    if fits(case) or response.status_code != 400:
        return True
    # The errors of the earlier systems have no code.
    code = response.json().get("code")
    return code is not None and code not in CODES_BETWEEN_FIELDS


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sets the deadline of a call, unless the call tests an invalid one."""
    given = (case.headers or {}).get("Quorapay-Deadline-Ms")
    if given is None or str(given).isdigit():
        case.headers["Quorapay-Deadline-Ms"] = str(DEADLINE_MS)


def fits(case):
    """Returns whether a call follows the rules between its fields."""
    try:
        # The value may already be percent-encoded.
        outside = unquote(str((case.path_parameters or {}).get("id", ""))).startswith("external:")
        label = case.operation.label
        if label in COMPATIBLE_PAYMENTS:
            return compatible_payment_fits(case.body, case.headers or {}, COMPATIBLE_PAYMENTS[label])
        return query_fits(case.query or {}) and body_fits(label, case.query or {}, case.body, outside)
    except (AttributeError, KeyError, TypeError):
        # A part of the call does not have the expected type.
        return True


def query_fits(query):
    """An export has no pages, a generated cursor is not one that a node issued, and the entry that a backup begins with
    is hardly ever in the ledger."""
    if str(query.get("from_index") or 1) != "1" or "cursor" in query:
        return False
    return not ("format" in query and "limit" in query)


def body_fits(label, query, body, outside):
    """Checks the rules between the fields of payments, batches, changes of accounts and API keys, and who can succeed a leader."""
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
    if label == "POST /v1/api-keys":
        limits, name = body.get("limits") or {}, body["name"]
        plain = len(name.encode()) <= 100 and all(unicodedata.category(char) != "Cc" for char in name)
        return plain and all(currency in CURRENCIES and is_plain(limit) for currency, limit in limits.items())
    if label == "POST /v1/api-keys/{id}/rotate":
        return is_plain(body.get("old_valid_for_s"))
    if label == "POST /v1/cluster/leader/transfer":
        return body is None or body.get("to") in (None, *NODES)
    if label in ("POST /v1/payments/{id}/capture", "POST /v1/payments/{id}/refund"):
        return is_plain(body.get("amount"))
    return True


def payment_fits(payment):
    """Two different accounts, expires_in only for a hold, metadata within 4 KiB, and integers without decimals: 5.0 is
    an integer in JSON Schema, but the ledger refuses it."""
    order = payment.get("order") or {}
    plain = all(map(is_plain, (payment["amount"], payment.get("expires_in"), order.get("total"))))
    lifetime = payment.get("expires_in") is None or payment.get("capture") == "manual"
    small = len(json.dumps(payment.get("metadata"))) <= 2048
    return payment["from"] != payment["to"] and plain and lifetime and small


def compatible_payment_fits(payment, headers, accounts):
    """Two different accounts, numbers of accounts without decimals, and one idempotency key."""
    sides = [payment[account] for account in accounts]
    keys = [key for key in (payment.get("transaction_id"), headers.get("Idempotency-Key")) if key is not None]
    return sides[0] != sides[1] and all(map(is_plain, sides)) and len(set(keys)) <= 1


def is_negative(case):
    """Returns whether a call is meant to be invalid."""
    return case.meta is not None and case.meta.generation.mode.is_negative


def is_unlimited(body):
    """Returns whether the overdraft is valid for an account of the outside world (external:)."""
    return body.get("overdraft") in (None, "unlimited")


def is_plain(number):
    """Returns whether a number is written without decimals; 5.0 is not."""
    return not isinstance(number, float)
