-- The views for people say of each row whether it is committed. The last rows of a node's file may be on no other node
-- yet: a new leader may remove them, so a payment that stands there as succeeded may never have happened.
--
-- `committed` compares with the view of that name, which is a lower bound: a row with 1 is final, a row with 0 is final or
-- not yet. On a node at rest only rows of the last moment have 0.
DROP VIEW postings;
DROP VIEW payments;

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
       detail ->> 'metadata' AS metadata,
       log_index <= (SELECT commit_index FROM committed) AS committed
  FROM decided;

-- For people: every movement of money, whatever moved it.
CREATE VIEW postings AS
SELECT log_index, item, time, 'payment' AS kind, payment_id, from_account, to_account, amount, currency, from_balance,
       to_balance, committed
  FROM payments
 WHERE status = 'succeeded'
 UNION ALL
SELECT log_index, 0,
       strftime('%Y-%m-%dT%H:%M:%S', timestamp_ms / 1000, 'unixepoch') || printf('.%03dZ', timestamp_ms % 1000),
       kind, detail ->> 'payment', from_account, to_account, amount, currency, from_balance, to_balance,
       log_index <= (SELECT commit_index FROM committed)
  FROM entries
 WHERE kind IN ('capture', 'refund');
