-- Views of the ledger: everything here is derived, may be deleted at any time and is rebuilt from the ledger.
--
-- In a file of their own because their indexes are random: kept in the ledger's transactions they made each payment
-- ten times as dear. Here they are written lazily, in big chunks sorted by key, so that a page is written once per
-- chunk and not once per row.

-- Idempotency keys by digest: 16 bytes instead of up to 255 characters. Without a rowid, the key is the table. Those of a
-- batch's payments are here too.
CREATE TABLE keys (
    digest    BLOB    NOT NULL PRIMARY KEY,
    log_index INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accounts by a short number, so that their many postings do not repeat their names.
CREATE TABLE accounts (
    account   INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    overdraft TEXT    NOT NULL,         -- none, unlimited or limit:N
    status    TEXT    NOT NULL          -- active, frozen or closed
) STRICT;

CREATE TABLE balances (
    account  INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    posted   INTEGER NOT NULL,          -- minor units, as of the projected index
    held     INTEGER NOT NULL,          -- what of it is set aside for captures
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;

-- The entries that moved an account's money, each once however many of a batch's payments did. Clustered by account: a
-- statement reads neighbouring rows.
CREATE TABLE account_entries (
    account   INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (account, log_index)
) STRICT, WITHOUT ROWID;

-- Where the latest change of a payment stands: capture, void, refund or expiry. Of a payment that never changed, its own
-- entry tells all, so nearly every payment has no row here. By the payment's place: what is newest first in a list is
-- last in this table.
CREATE TABLE changed_payments (
    log_index   INTEGER NOT NULL,       -- of the entry that decided the payment
    item        INTEGER NOT NULL,       -- its number there: 0 but for batches
    last_change INTEGER NOT NULL,       -- index of the entry that changed it last
    status      TEXT    NOT NULL,       -- its status since then
    PRIMARY KEY (log_index, item)
) STRICT, WITHOUT ROWID;

-- The open holds, whole: memory holds them all, and a node that starts takes them from here.
CREATE TABLE holds (
    log_index     INTEGER NOT NULL,
    item          INTEGER NOT NULL,
    payment_id    TEXT    NOT NULL,
    from_account  TEXT    NOT NULL,
    to_account    TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    amount        INTEGER NOT NULL,
    held          INTEGER NOT NULL,     -- what is still set aside
    captured      INTEGER NOT NULL,
    refunded      INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    order_id      TEXT,
    changes       INTEGER NOT NULL,
    last_change   INTEGER NOT NULL,
    PRIMARY KEY (log_index, item)
) STRICT, WITHOUT ROWID;

-- How far each order is paid. By digest, for the reason that keys are.
CREATE TABLE orders (
    digest   BLOB    NOT NULL PRIMARY KEY,
    id       TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    total    INTEGER NOT NULL,          -- what all payments for it may come to
    used     INTEGER NOT NULL           -- live holds and captures
) STRICT, WITHOUT ROWID;

-- The payments that name an order, refused ones too.
CREATE TABLE order_payments (
    digest    BLOB    NOT NULL,
    log_index INTEGER NOT NULL,
    item      INTEGER NOT NULL,
    PRIMARY KEY (digest, log_index, item)
) STRICT, WITHOUT ROWID;

-- Exactly one row: of which ledger this is a view, and up to where. The hash tells a ledger that was truncated and
-- continued differently from the one that was projected.
CREATE TABLE meta (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    cluster_id      TEXT    NOT NULL,
    store_id        TEXT    NOT NULL,
    projected_index INTEGER NOT NULL,
    projected_epoch INTEGER NOT NULL,
    projected_hash  BLOB    NOT NULL,
    payments        INTEGER NOT NULL    -- how many payments were decided up to there, refused ones too
) STRICT;
