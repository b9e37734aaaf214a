-- The ledger: one row per log entry, append-only except for an uncommitted tail that a new leader contradicts.
--
-- Typed columns, because finance people and operators read this file with `sqlite3`; whatever only some kinds of
-- entries have stands in `detail` as JSON. A row holds everything that the entry's hash covers, exactly.
--
-- `log_index` is the rowid: entries are dense and only ever appended, so an insert touches the last page and nothing
-- else. There is no index on accounts or keys: each page of a random index that a small write touches is 4 KiB of WAL,
-- which made a row ten times as dear. Such questions are answered by the views, which can be rebuilt from this table.
--
-- There are no CHECK constraints: they would be paid for by every row, and the chain of hashes says more.
CREATE TABLE entries (
    log_index       INTEGER PRIMARY KEY,
    epoch           INTEGER NOT NULL,
    timestamp_ms    INTEGER NOT NULL,   -- milliseconds since the Unix epoch, never smaller than the row before
    kind            TEXT    NOT NULL,   -- epoch_start, configuration, payment, payment_rejected, account, account_rejected
    idempotency_key TEXT,
    fingerprint     BLOB,               -- 16 bytes over the request: tells a repeated request from another one
    from_account    TEXT,
    to_account      TEXT,
    amount          INTEGER,            -- minor units of `currency`
    currency        TEXT,
    from_balance    INTEGER,            -- posted balances right after the payment; NULL when it was rejected
    to_balance      INTEGER,
    detail          TEXT,               -- NULL for a plain payment
    hash            BLOB    NOT NULL    -- SHA-256 over the previous row's hash and this row
) STRICT;

-- Where every leadership begins, and who votes since when. Partial: a payment never touches them.
CREATE INDEX epoch_starts   ON entries (log_index) WHERE kind = 'epoch_start';
CREATE INDEX configurations ON entries (log_index) WHERE kind = 'configuration';

-- Exactly one row: who this file belongs to, and what the node promised.
CREATE TABLE meta (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    cluster_id      TEXT    NOT NULL,
    node_id         TEXT    NOT NULL,
    store_id        TEXT    NOT NULL,   -- random, made with the file: a wiped disk gets another one
    promised_epoch  INTEGER,            -- no leadership older than this is listened to
    promised_leader TEXT,
    commit_index    INTEGER NOT NULL    -- a lower bound: a quorum has at least this much
) STRICT;

-- For people.
CREATE VIEW payments AS
SELECT log_index,
       strftime('%Y-%m-%dT%H:%M:%S', timestamp_ms / 1000, 'unixepoch') || printf('.%03dZ', timestamp_ms % 1000) AS time,
       CASE kind WHEN 'payment' THEN 'succeeded' ELSE 'rejected' END AS status,
       json_extract(detail, '$.rejection') AS rejection,
       from_account, to_account, amount, currency, from_balance, to_balance, idempotency_key,
       json_extract(detail, '$.description') AS description,
       json_extract(detail, '$.metadata') AS metadata
  FROM entries
 WHERE kind IN ('payment', 'payment_rejected');
