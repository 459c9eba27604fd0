-- What operators and app developers see of deliveries, and whom it is told.

-- Attempts: where it went, what came back, and whether it was a test. -----------------------------------------------

ALTER TABLE attempts
    ADD COLUMN remote_ip   inet,             -- that was dialled; NULL where none was that may be
    ADD COLUMN excerpt     text,             -- of the answer: printable, 2 kB at most
    ADD COLUMN retry_after real,             -- seconds that the receiver asked to wait
    ADD COLUMN test        boolean NOT NULL DEFAULT false;
CREATE INDEX attempts_by_time ON attempts (district_id, subscription_id, at);

-- A receiver's answer is its owner's to see, and nobody else's.
REVOKE SELECT ON attempts FROM hub_support;
GRANT SELECT (district_id, subscription_id, batch_id, attempt, at, milliseconds, status, error_class, remote_ip,
    retry_after, test) ON attempts TO hub_support;
