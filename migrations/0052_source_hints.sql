-- Hints of systems that say when something of theirs changed: a source is pulled soon after one. Nothing of a hint is kept.

CREATE TABLE source_hints (                  -- a source without a row hears none
    district_id      uuid NOT NULL,
    source_id        uuid NOT NULL,
    secret_hash      bytea NOT NULL CHECK (octet_length(secret_hash) = 32), -- SHA-256 of 256 random bits in the address
    distance_seconds integer NOT NULL CHECK (distance_seconds BETWEEN 60 AND 86400), -- between two pulls for hints
    created_at       timestamptz NOT NULL DEFAULT now(),
    changed_at       timestamptz NOT NULL DEFAULT now(), -- when the secret was made
    subscribed_at    timestamptz,            -- when the hub told the system where to send them; NULL: somebody does
    heard_at         timestamptz,            -- the last one
    due_at           timestamptz,            -- when the source is pulled for it; NULL: nothing waits
    queued_at        timestamptz,            -- when a pull was queued for one, or one that waited was found
    PRIMARY KEY (district_id, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);
CREATE INDEX source_hints_due ON source_hints (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE source_hints ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_hints FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON source_hints
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
-- A worker looks through those of all districts.
CREATE POLICY queue_of_source_hints ON source_hints FOR SELECT TO hub_worker USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON source_hints TO hub_service;
GRANT SELECT (district_id, source_id, distance_seconds, heard_at, due_at, queued_at), UPDATE (due_at, queued_at)
    ON source_hints TO hub_worker;
GRANT SELECT (district_id, source_id, distance_seconds, created_at, changed_at, subscribed_at, heard_at, due_at, queued_at)
    ON source_hints TO hub_support;
