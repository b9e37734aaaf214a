-- The ledger: one row per log entry, append-only except for an uncommitted tail that a new leader contradicts.
--
-- Typed columns, because finance people and operators read this file with `sqlite3`; whatever only some kinds of
-- entries have stands in `detail` as JSON. A row holds everything that the entry's hash covers, exactly and once: what
-- stands in a column does not stand in `detail` too.
--
-- `log_index` is the rowid: entries are dense and only ever appended, so an insert touches the last page and nothing
-- else. There is no index on accounts or keys: each page of a random index that a small write touches is 4 KiB of WAL,
-- which made a row ten times as dear. Such questions are answered by the views, which can be rebuilt from this table.
--
-- There are no CHECK constraints: they would be paid for by every row, and the chain of hashes says more.
--
-- Money columns go in the direction of the money: `from_account` is debited and `to_account` credited, so of a refund
-- `from_account` is the one that gives back. A batch is one row, because it is one entry that cannot be torn apart: its
-- payments stand in `detail.items`, each an object with the names of these columns.
CREATE TABLE entries (
    log_index       INTEGER PRIMARY KEY,
    epoch           INTEGER NOT NULL,
    timestamp_ms    INTEGER NOT NULL,   -- milliseconds since the Unix epoch, never smaller than the row before
    kind            TEXT    NOT NULL,   -- epoch_start, configuration; payment, authorization, payment_rejected;
                                        -- capture, void, refund and the same with _rejected; expiry; batch;
                                        -- account, account_rejected; fence; api_key, api_key_rejected
    idempotency_key TEXT,               -- NULL for what nobody asked for
    fingerprint     BLOB,               -- 16 bytes over the request: tells a repeated request from another one
    from_account    TEXT,
    to_account      TEXT,
    amount          INTEGER,            -- minor units of `currency`: moved, set aside or released; refused: asked for
    currency        TEXT,
    from_balance    INTEGER,            -- posted balances right after; NULL where nothing was posted
    to_balance      INTEGER,
    principal       TEXT,               -- the id of the API key that asked for it; NULL without one
    commit_lag      INTEGER NOT NULL,   -- how far this row was above what its node knew as committed when it stored the
                                        -- row; 0 at and below that. Not part of the entry, nor of the hash
    hash            BLOB    NOT NULL,   -- SHA-256 over the previous row's hash and this row, without commit_lag
    detail          TEXT                -- NULL for a plain payment and a fence. Last, because a batch's is megabytes
                                        -- long, and the other columns are read without it
) STRICT;

-- Where every leadership begins, and who votes since when. Partial: a payment never touches them.
CREATE INDEX epoch_starts   ON entries (log_index) WHERE kind = 'epoch_start';
CREATE INDEX configurations ON entries (log_index) WHERE kind = 'configuration';

-- Every change of an API key: a start reads them all.
CREATE INDEX api_keys       ON entries (log_index) WHERE kind = 'api_key';

-- Exactly one row: who this file belongs to, and what the node promised.
CREATE TABLE meta (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    cluster_id      TEXT    NOT NULL,
    node_id         TEXT    NOT NULL,
    store_id        TEXT    NOT NULL,   -- random, made with the file: a wiped disk gets another one
    promised_epoch  INTEGER,            -- no leadership older than this is listened to
    promised_leader TEXT,
    commit_index    INTEGER NOT NULL    -- a quorum has at least this much; see `committed`
) STRICT;

-- What this node knew as committed when it last wrote: a lower bound. A write of entries says it by its last row, so that it
-- touches no other page; every other write says it in `meta`.
CREATE VIEW committed AS
SELECT MAX(commit_index, COALESCE((SELECT log_index - commit_lag FROM entries ORDER BY log_index DESC LIMIT 1), 0))
           AS commit_index
  FROM meta;

-- For people: every payment as it was decided, those of batches too, with its id.
CREATE VIEW payments AS
WITH decided AS (
    SELECT log_index, 0 AS item, epoch, timestamp_ms, from_account, to_account, amount, currency, from_balance,
           to_balance, idempotency_key, detail
      FROM entries
     WHERE kind IN ('payment', 'authorization', 'payment_rejected')
     UNION ALL
    SELECT log_index, items.key, epoch, timestamp_ms, items.value ->> 'from_account', items.value ->> 'to_account',
           items.value ->> 'amount', items.value ->> 'currency', items.value ->> 'from_balance',
           items.value ->> 'to_balance', items.value ->> 'idempotency_key', items.value -> 'detail'
      FROM entries JOIN json_each(entries.detail, '$.items') AS items
     WHERE kind = 'batch'
)
SELECT log_index, item,
       printf('%08x-%04x-7%03x-%04x-%012x', timestamp_ms >> 16, timestamp_ms & 65535, epoch & 4095, 32768 | item,
              log_index) AS payment_id,
       strftime('%Y-%m-%dT%H:%M:%S', timestamp_ms / 1000, 'unixepoch') || printf('.%03dZ', timestamp_ms % 1000) AS time,
       CASE WHEN detail ->> 'rejection' IS NOT NULL THEN 'rejected'
            WHEN detail ->> 'from_held' IS NOT NULL THEN 'authorized'
            WHEN detail ->> 'repeats' IS NOT NULL THEN 'repeated'   -- in a batch: see the entry at that index
            ELSE 'succeeded' END AS status,
       detail ->> 'rejection' AS rejection,
       from_account, to_account, amount, currency, from_balance, to_balance, idempotency_key,
       detail ->> '$.order.id' AS order_id,
       detail ->> 'description' AS description,
       detail ->> 'metadata' AS metadata
  FROM decided;

-- For people: every movement of money, whatever moved it.
CREATE VIEW postings AS
SELECT log_index, item, time, 'payment' AS kind, payment_id, from_account, to_account, amount, currency, from_balance,
       to_balance
  FROM payments
 WHERE status = 'succeeded'
 UNION ALL
SELECT log_index, 0,
       strftime('%Y-%m-%dT%H:%M:%S', timestamp_ms / 1000, 'unixepoch') || printf('.%03dZ', timestamp_ms % 1000),
       kind, detail ->> 'payment', from_account, to_account, amount, currency, from_balance, to_balance
  FROM entries
 WHERE kind IN ('capture', 'refund');
