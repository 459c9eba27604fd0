-- CSV packages for apps: the queue of what is to be made, the bytes for as long as they are fetched, and schedules that
-- take packages to a folder or an SFTP server.

CREATE TABLE export_schedules (
    district_id     uuid NOT NULL,
    schedule_id     uuid NOT NULL,
    grant_id        uuid NOT NULL,
    version         text NOT NULL CHECK (version IN ('1.1', '1.2')),
    mode            text NOT NULL CHECK (mode IN ('bulk', 'delta')),
    full_days       integer NOT NULL,        -- a delta is replaced by a bulk package when the last one is older
    daily_at        time,                    -- in the zone; NULL: after each sync that changed the view
    zone            text NOT NULL DEFAULT 'UTC',
    debounce        integer NOT NULL,        -- seconds of quiet after a change
    target          jsonb NOT NULL,          -- where to, without secrets
    secret          bytea,                   -- AES-256-GCM, bound to district, table, column and row
    state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    next_at         timestamptz,             -- when it is due by the clock, or was asked for; NULL: when the view changes
    looked_to       bigint NOT NULL DEFAULT 0, -- the position of the grant at which it was last due by a change
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, schedule_id),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id)
);

CREATE TABLE exports (
    district_id       uuid NOT NULL,
    export_id         uuid NOT NULL,
    grant_id          uuid NOT NULL,
    schedule_id       uuid,                  -- NULL: an app asked for it
    version           text NOT NULL CHECK (version IN ('1.1', '1.2')),
    mode              text NOT NULL CHECK (mode IN ('bulk', 'delta')),
    entities          text[] NOT NULL,       -- whose files may be in it
    state             text NOT NULL DEFAULT 'queued' CHECK (state IN
                      ('queued', 'running', 'ready', 'delivering', 'done', 'failed', 'expired', 'withdrawn')),
    kind              text CHECK (kind IN ('bulk', 'delta')), -- what it became
    policy            bytea,                 -- a digest of all that decides what stands in it, beside the records
    position          bigint,                -- of the grant's feed
    district_position bigint,
    progress          jsonb NOT NULL DEFAULT '{}',
    rows              jsonb NOT NULL DEFAULT '{}', -- file -> rows
    omitted           jsonb NOT NULL DEFAULT '{}', -- file -> rows without a value that CSV requires
    bytes             bigint,
    sha256            text,
    attempt           integer NOT NULL DEFAULT 0,
    made_by           integer,               -- the attempt whose parts these are
    lease_token       uuid,
    lease_until       timestamptz,
    error_code        text,
    error_message     text,
    requested_by      text NOT NULL,
    requested_at      timestamptz NOT NULL DEFAULT now(),
    made_at           timestamptz,
    expires_at        timestamptz,
    acknowledged_at   timestamptz,           -- the app has it: later deltas begin here
    finished_at       timestamptz,
    PRIMARY KEY (district_id, export_id),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id),
    FOREIGN KEY (district_id, schedule_id) REFERENCES export_schedules (district_id, schedule_id)
);
CREATE INDEX exports_due ON exports (requested_at) WHERE state IN ('queued', 'running', 'delivering');
CREATE INDEX exports_of_grant ON exports (district_id, grant_id, requested_at DESC);
CREATE INDEX exports_expiring ON exports (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE export_parts (
    district_id  uuid NOT NULL,
    export_id    uuid NOT NULL,
    attempt      integer NOT NULL,
    part         integer NOT NULL,
    data         bytea NOT NULL,             -- AES-256-GCM, bound to district, table, column and row
    PRIMARY KEY (district_id, export_id, attempt, part),
    FOREIGN KEY (district_id, export_id) REFERENCES exports (district_id, export_id)
);
ALTER TABLE export_parts ALTER COLUMN data SET STORAGE EXTERNAL; -- what is encrypted does not shrink

-- A package has a column for each name in its records' metadata; most records have none.
DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['orgs', 'academic_sessions', 'courses', 'classes', 'users', 'enrollments', 'demographics',
        'resources', 'categories', 'score_scales', 'line_items', 'results']
    LOOP
        EXECUTE format('CREATE INDEX %I ON %I (district_id, rid) WHERE metadata IS NOT NULL', name || '_metadata', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['export_schedules', 'exports', 'export_parts']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_service, hub_worker', name);
    END LOOP;
END
$$;

-- As for runs and subscriptions, a worker looks through the queue of all districts. It holds no roster data.
CREATE POLICY queue_of_exports ON exports FOR SELECT TO hub_worker USING (true);
CREATE POLICY claim_of_exports ON exports FOR UPDATE TO hub_worker USING (true);
CREATE POLICY list_of_schedules ON export_schedules FOR SELECT TO hub_worker USING (true);

-- Support reads how exports are doing, never a package, a place or a secret.
GRANT SELECT (district_id, export_id, grant_id, schedule_id, version, mode, state, kind, position, progress, rows, omitted,
    bytes, attempt, lease_until, error_code, requested_by, requested_at, made_at, expires_at, acknowledged_at, finished_at)
    ON exports TO hub_support;
GRANT SELECT (district_id, schedule_id, grant_id, version, mode, full_days, daily_at, zone, debounce, state, next_at,
    looked_to, created_at) ON export_schedules TO hub_support;
