-- Views of the ledger: everything here is derived, may be deleted at any time and is rebuilt from the ledger.
--
-- In a file of their own because their indexes are random: kept in the ledger's transactions they made each payment
-- ten times as dear. Here they are written lazily, in big chunks sorted by key, so that a page is written once per
-- chunk and not once per row.

-- Idempotency keys by digest: 16 bytes instead of up to 255 characters. Without a rowid, the key is the table.
CREATE TABLE keys (
    digest    BLOB    NOT NULL PRIMARY KEY,
    log_index INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accounts by a short number, so that their many postings do not repeat their names.
CREATE TABLE accounts (
    account   INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    overdraft TEXT    NOT NULL          -- none, unlimited or limit:N
) STRICT;

CREATE TABLE balances (
    account  INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    posted   INTEGER NOT NULL,          -- minor units, as of the projected index
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;

-- The payments that moved an account's money. Clustered by account: a statement reads neighbouring rows.
CREATE TABLE account_entries (
    account   INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (account, log_index)
) STRICT, WITHOUT ROWID;

-- Exactly one row: of which ledger this is a view, and up to where. The hash tells a ledger that was truncated and
-- continued differently from the one that was projected.
CREATE TABLE meta (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    cluster_id      TEXT    NOT NULL,
    store_id        TEXT    NOT NULL,
    projected_index INTEGER NOT NULL,
    projected_epoch INTEGER NOT NULL,
    projected_hash  BLOB    NOT NULL
) STRICT;
