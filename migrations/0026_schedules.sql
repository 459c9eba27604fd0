-- When sources are pulled, how they are doing, and runs that somebody ends. What a run's queue needs to be fair stands in
-- the run's own row: how many records are expected of it.

ALTER TABLE runs ADD COLUMN cancelled_by text;
ALTER TABLE runs ADD COLUMN expected_rows bigint NOT NULL DEFAULT 0;   -- an estimate, made when it is queued
ALTER TABLE runs DROP CONSTRAINT runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check CHECK (state IN
    ('queued', 'running', 'held', 'applied', 'unchanged', 'previewed', 'rejected', 'failed', 'expired',
     'superseded', 'cancelled'));
CREATE INDEX runs_of_source ON runs (district_id, source_id, requested_at DESC);

CREATE TABLE source_schedules (              -- a source without a row is pulled when somebody says so
    district_id   uuid NOT NULL,
    source_id     uuid NOT NULL,
    cron          text NOT NULL,             -- five fields, read in ``zone``
    zone          text NOT NULL,
    grace_minutes integer NOT NULL DEFAULT 60 CHECK (grace_minutes BETWEEN 1 AND 10080),
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    next_at       timestamptz,               -- with the district's share of the spread; NULL while paused
    due_at        timestamptz,               -- the last time that came
    late_from     timestamptz,               -- without a success until then the source is late; NULL: nothing is awaited
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);
CREATE INDEX source_schedules_next ON source_schedules (next_at) WHERE state = 'active';
CREATE INDEX source_schedules_late ON source_schedules (late_from) WHERE state = 'active';

CREATE TABLE source_health (                 -- what the last good run of a source was like
    district_id     uuid NOT NULL,
    source_id       uuid NOT NULL,
    succeeded_at    timestamptz NOT NULL,
    succeeded_run   uuid NOT NULL,
    rows            bigint NOT NULL DEFAULT 0,  -- that its package had; of a package that was read to its end
    prepare_seconds real,                       -- from the claim to the apply
    apply_seconds   real,
    PRIMARY KEY (district_id, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);

CREATE TABLE source_troubles (               -- what is wrong with a source now; gone once it is well again
    district_id  uuid NOT NULL,
    source_id    uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('held', 'failed', 'late')),
    code         text NOT NULL,              -- of the last error, or of the first reason that holds it
    since        timestamptz NOT NULL,
    times        integer NOT NULL DEFAULT 1,
    run_id       uuid,                       -- the last one
    told_at      timestamptz NOT NULL,       -- when a notice of it was last queued
    PRIMARY KEY (district_id, source_id, kind),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['source_schedules', 'source_health', 'source_troubles']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_service, hub_worker', name);
        EXECUTE format('GRANT SELECT ON %I TO hub_support', name);
    END LOOP;
END
$$;

-- A worker looks through the schedules of all districts. They hold no roster data.
CREATE POLICY queue_of_source_schedules ON source_schedules FOR SELECT TO hub_worker USING (true);
