-- The guard: settings of a district and of a source, how long a held run waits, and what a run's difference is row by row.

ALTER TABLE districts ADD COLUMN guard jsonb NOT NULL DEFAULT '{}'; -- only what differs from the defaults
ALTER TABLE sources ADD COLUMN guard jsonb NOT NULL DEFAULT '{}';   -- only what differs from the district's

ALTER TABLE runs ADD COLUMN decide_by timestamptz; -- held: when it expires; previewed: when its values are forgotten
ALTER TABLE runs ADD COLUMN resume_at timestamptz; -- held by a blackout alone: when it goes on by itself
ALTER TABLE runs DROP CONSTRAINT IF EXISTS runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check CHECK (state IN
    ('queued', 'running', 'held', 'applied', 'unchanged', 'previewed', 'rejected', 'failed', 'expired', 'superseded'));
CREATE INDEX runs_waiting ON runs ((least(decide_by, resume_at))) WHERE state IN ('held', 'previewed');

CREATE TABLE run_changes (                   -- the difference of a run, up to a bound; its counts stand in the run
    district_id  uuid NOT NULL,
    run_id       uuid NOT NULL,
    seq          integer NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('rebound', 'deleted', 'moved', 'updated', 'created')),
    sourced_id   uuid NOT NULL,
    key          text NOT NULL,              -- the source's own sourcedId
    schools      uuid[] NOT NULL,            -- sourcedIds of the schools that the record belongs to, before and after
    fields       text[] NOT NULL,
    was          jsonb,                      -- values, as long as somebody has to decide
    becomes      jsonb,
    PRIMARY KEY (district_id, run_id, seq),
    FOREIGN KEY (district_id, run_id) REFERENCES runs (district_id, run_id)
);
ALTER TABLE run_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE run_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON run_changes
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON run_changes TO hub_service, hub_worker;
GRANT SELECT (district_id, run_id, seq, entity, kind, schools, fields) ON run_changes TO hub_support;
