-- Views of the ledger: everything here is derived, may be deleted at any time and is rebuilt from the ledger.
--
-- In a file of their own because their indexes are random: kept in the ledger's transactions they made each payment
-- ten times as dear. Here they are written lazily, in big chunks.

-- What grows with every payment is in segments: sorted once, written one block after the other, never changed, merged
-- into larger ones. An index in one tree touches a page for every key as soon as it is larger than the cache; this costs
-- the same at any size (docs/decisions/0017-views-are-sorted-segments.md).
CREATE TABLE segments (
    segment     INTEGER PRIMARY KEY,
    from_index  INTEGER NOT NULL,       -- the first of the entries of which it holds everything
    to_index    INTEGER NOT NULL,       -- the last
    state       TEXT    NOT NULL,       -- whole: it is read; growing: a merge writes it; gone: it is being deleted
    keys        INTEGER NOT NULL,       -- how many idempotency keys are in it
    bytes       INTEGER NOT NULL,       -- of all of its blocks
    merged_kind INTEGER NOT NULL,       -- of a growing one: the kind that is being merged
    merged_up_to BLOB   NOT NULL        -- and up to which of its keys
) STRICT;

-- Sorted pairs of keys and values, about 4.6 KB in a row, with a checksum. The row's place in the tree is about 500 bytes,
-- the rest is one page of its own. Kinds:
--   0 idempotency key (digest)                 -> index of its entry
--   1 account, index                           -> the indexes from there on of entries that moved its money
--   2 order (digest)                           -> what the segment's entries change of it
--   3 order (digest), index, number in a batch -> nothing: a payment that names the order, refused ones too
--   4 rejected or authorized, index            -> the indexes from there on of entries with payments decided so
--   5 and 6: filters over the keys and over the orders, each over a stretch of digests
CREATE TABLE blocks (
    segment   INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    data      BLOB    NOT NULL,
    PRIMARY KEY (segment, kind, first_key)
) STRICT, WITHOUT ROWID;

-- The tables below do not grow with the payments but with the accounts, the open holds and the changed payments.

CREATE TABLE accounts (
    id        TEXT NOT NULL PRIMARY KEY,
    overdraft TEXT NOT NULL,            -- none, unlimited or limit:N
    status    TEXT NOT NULL             -- active, frozen or closed
) STRICT, WITHOUT ROWID;

CREATE TABLE balances (
    account  TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    posted   INTEGER NOT NULL,          -- minor units, as of the projected index
    held     INTEGER NOT NULL,          -- what of it is set aside for captures
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;

-- Where the latest change of a payment stands: capture, void, refund or expiry. Of a payment that never changed, its own
-- entry tells all, so nearly every payment has no row here. By the payment's place: payments change while they are young,
-- so that the rows of one chunk are neighbours at the end of the table.
CREATE TABLE changed_payments (
    log_index   INTEGER NOT NULL,       -- of the entry that decided the payment
    item        INTEGER NOT NULL,       -- its number there: 0 but for batches
    last_change INTEGER NOT NULL,       -- index of the entry that changed it last
    status      TEXT    NOT NULL,       -- its status since then
    PRIMARY KEY (log_index, item)
) STRICT, WITHOUT ROWID;

-- For lists by status, newest first, which cost what they return. Neighbours at the end of each status, for the same
-- reason.
CREATE INDEX changed_payments_by_status ON changed_payments (status, log_index, item);

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
