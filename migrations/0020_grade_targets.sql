-- Grade pass-back: where a district's system takes what apps write to the gradebook, and how far each object is there.
-- gradebook_writes stays the record of what was accepted; a row here for each object and target is the outbox.

CREATE TABLE grade_targets (
    district_id   uuid NOT NULL,
    target_id     uuid NOT NULL,
    source_id     uuid NOT NULL,             -- whose keys the system knows classes and students by
    version       text NOT NULL CHECK (version IN ('1.1', '1.2')),
    url           text NOT NULL,             -- of the gradebook service
    login         jsonb NOT NULL,            -- without its secret
    secret        bytea NOT NULL,            -- AES-256-GCM, bound to district, table, column and row
    entities      text[] NOT NULL,           -- what goes
    apps          uuid[],                    -- whose writes go; NULL: everybody's
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    position      bigint NOT NULL,           -- writes up to here, and to this place in them, were queued
    place         integer NOT NULL,
    looked_to     bigint NOT NULL DEFAULT 0, -- nothing is left to queue up to this position of the district
    due_at        timestamptz,               -- when the next object that waits is due; NULL: none waits
    attempt       integer NOT NULL DEFAULT 0,
    ready_at      timestamptz NOT NULL DEFAULT now(),
    failing_since timestamptz,
    last_error    text,
    last_status   integer,
    last_success  timestamptz,
    troubled      integer NOT NULL DEFAULT 0, -- objects that wait for a person, as of the last round
    lease_token   uuid,
    lease_until   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, target_id),
    UNIQUE (district_id, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id)
) WITH (fillfactor = 50);
CREATE INDEX grade_targets_ready ON grade_targets (ready_at) WHERE state = 'active';

CREATE TABLE grade_deliveries (              -- one object at one target, as its newest write wants it
    district_id    uuid NOT NULL,
    target_id      uuid NOT NULL,
    entity         text COLLATE "C" NOT NULL,
    rid            integer NOT NULL,
    sourced_id     uuid NOT NULL,
    app_id         uuid NOT NULL,
    operation      text NOT NULL CHECK (operation IN ('put', 'delete')),
    position       bigint NOT NULL,          -- of that write: what was sent of an older one settles nothing
    written_at     timestamptz NOT NULL,
    stage          smallint NOT NULL,        -- what is referred to is put first and deleted last
    state          text NOT NULL DEFAULT 'waiting' CHECK (state IN
                   ('waiting', 'blocked', 'refused', 'failed', 'skipped', 'delivered')),
    ready_at       timestamptz NOT NULL DEFAULT now(),
    attempt        integer NOT NULL DEFAULT 0,
    failing_since  timestamptz,
    code           text,                     -- why it is not there
    field          text,                     -- the member that the code is about
    status         integer,
    minor          text,
    description    text,                     -- the system's words without any that could be data
    blocked_entity text COLLATE "C",         -- the object that has to be there first
    blocked_rid    integer,
    delivered_at   timestamptz,              -- the object is there; NULL: it never came, or was deleted
    PRIMARY KEY (district_id, target_id, entity, rid),
    FOREIGN KEY (district_id, target_id) REFERENCES grade_targets (district_id, target_id)
);
CREATE INDEX grade_deliveries_waiting ON grade_deliveries (district_id, target_id, stage, position, rid)
    WHERE state = 'waiting';
CREATE INDEX grade_deliveries_troubled ON grade_deliveries (district_id, target_id, entity, rid)
    WHERE state IN ('blocked', 'refused', 'failed');
CREATE INDEX grade_deliveries_blocked ON grade_deliveries (district_id, target_id, blocked_entity, blocked_rid)
    WHERE state = 'blocked';

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['grade_targets', 'grade_deliveries']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_service', name);
    END LOOP;
END
$$;

-- As for subscriptions, a worker looks through the targets of all districts. They hold no roster data.
CREATE POLICY queue_of_grade_targets ON grade_targets FOR SELECT TO hub_worker USING (true);
CREATE POLICY claim_of_grade_targets ON grade_targets FOR UPDATE TO hub_worker USING (true);
GRANT SELECT, UPDATE ON grade_targets TO hub_worker;
GRANT SELECT, INSERT, UPDATE ON grade_deliveries TO hub_worker;

-- Support reads how pass-back is doing, never a secret or a word of the district's system.
GRANT SELECT (district_id, target_id, source_id, version, entities, apps, state, position, place, looked_to, due_at, attempt,
    ready_at, failing_since, last_error, last_status, last_success, troubled, lease_until, created_at)
    ON grade_targets TO hub_support;
GRANT SELECT (district_id, target_id, entity, rid, app_id, operation, position, written_at, stage, state, ready_at, attempt,
    failing_since, code, field, status, minor, blocked_entity, blocked_rid, delivered_at) ON grade_deliveries TO hub_support;
