-- The store's first shape.
--
-- Every table that belongs to a district begins its keys with district_id and forces row-level security, so that a
-- query outside the one transaction helper sees nothing. Tables without district_id are listed in hub/store/schema.py
-- with the reason. No foreign key runs between record tables: a check per reference would triple a first load, and the
-- same is proven by the pipeline (references resolve) and by tests (closure); see docs/decisions/0003.

-- Shared tables -------------------------------------------------------------------------------------------------

CREATE TABLE schema_steps (
    step        integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE apps (
    app_id      uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clients (
    client_id    text COLLATE "C" PRIMARY KEY,
    app_id       uuid NOT NULL REFERENCES apps (app_id),
    secret_hash  text NOT NULL,              -- argon2id
    scopes       text[] NOT NULL,
    state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    rotated_at   timestamptz
);
CREATE INDEX clients_app ON clients (app_id);

CREATE TABLE access_tokens (
    token_hash  bytea PRIMARY KEY,           -- SHA-256 of 256 random bits
    client_id   text COLLATE "C" NOT NULL REFERENCES clients (client_id),
    app_id      uuid NOT NULL,
    scopes      text[] NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_at);
CREATE INDEX access_tokens_client ON access_tokens (client_id);

CREATE TABLE admin_tokens (
    token_hash      bytea PRIMARY KEY,
    token_id        uuid NOT NULL UNIQUE,
    name            text NOT NULL,
    role            text NOT NULL CHECK (role IN ('operator', 'district', 'app')),
    scope_district  uuid,                    -- the one district of a district token
    scope_app       uuid REFERENCES apps (app_id),
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    CHECK ((role = 'district') = (scope_district IS NOT NULL)),
    CHECK ((role = 'app') = (scope_app IS NOT NULL))
);

-- Districts and their sources -----------------------------------------------------------------------------------

CREATE TABLE districts (
    district_id  uuid PRIMARY KEY,
    name         text NOT NULL,
    state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    position     bigint NOT NULL DEFAULT 0,  -- head of the district's feed; drawn under this row's lock
    fence        bigint NOT NULL DEFAULT 0,  -- grows with each run that takes the district's lock
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE heads (                         -- the next free rid; rids are never used again
    district_id  uuid NOT NULL REFERENCES districts (district_id),
    entity       text COLLATE "C" NOT NULL,
    next_rid     integer NOT NULL,
    PRIMARY KEY (district_id, entity)
);

CREATE TABLE sources (
    district_id  uuid NOT NULL REFERENCES districts (district_id),
    source_id    uuid NOT NULL,
    name         text NOT NULL,
    kind         text NOT NULL,
    config       jsonb NOT NULL DEFAULT '{}',
    priority     integer NOT NULL DEFAULT 100,
    state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    cursor       jsonb,
    digest       text,                       -- of the package that was applied last; NULL: compare row by row
    archive      text,                       -- SHA-256 of the uploaded bytes of that package
    files        text[] NOT NULL DEFAULT '{}', -- the files of the package that was applied last
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, source_id)
);

CREATE TABLE uploads (
    district_id  uuid NOT NULL,
    upload_id    uuid NOT NULL,
    source_id    uuid NOT NULL,
    filename     text NOT NULL,
    bytes        bigint NOT NULL DEFAULT 0,
    sha256       text,
    state        text NOT NULL DEFAULT 'receiving' CHECK (state IN ('receiving', 'complete', 'deleted')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, upload_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id)
);

CREATE TABLE upload_parts (
    district_id  uuid NOT NULL,
    upload_id    uuid NOT NULL,
    part         integer NOT NULL,
    data         bytea NOT NULL,
    PRIMARY KEY (district_id, upload_id, part),
    FOREIGN KEY (district_id, upload_id) REFERENCES uploads (district_id, upload_id)
);
ALTER TABLE upload_parts ALTER COLUMN data SET STORAGE EXTERNAL; -- zip archives do not shrink again

CREATE TABLE runs (
    district_id   uuid NOT NULL,
    run_id        uuid NOT NULL,
    source_id     uuid NOT NULL,
    upload_id     uuid,
    dry_run       boolean NOT NULL DEFAULT false,
    state         text NOT NULL DEFAULT 'queued' CHECK (state IN
                  ('queued', 'running', 'held', 'applied', 'unchanged', 'previewed', 'rejected', 'failed')),
    stage         text NOT NULL DEFAULT '',
    progress      jsonb NOT NULL DEFAULT '{}',
    counts        jsonb NOT NULL DEFAULT '{}', -- entity -> created, updated, deleted, unchanged, quarantined
    guard         jsonb NOT NULL DEFAULT '[]', -- why it is held
    approved      jsonb,                       -- who approved it, when, and the counts that were approved
    report        jsonb NOT NULL DEFAULT '{}', -- the quality report
    timings       jsonb NOT NULL DEFAULT '{}', -- stage -> seconds
    position      bigint,                      -- where its changes stand in the feed
    attempt       integer NOT NULL DEFAULT 0,
    fence         bigint,
    lease_token   uuid,
    lease_until   timestamptz,
    error_code    text,
    error_message text,
    requested_by  text NOT NULL DEFAULT '',
    requested_at  timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    PRIMARY KEY (district_id, run_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id),
    FOREIGN KEY (district_id, upload_id) REFERENCES uploads (district_id, upload_id)
);
CREATE INDEX runs_due ON runs (requested_at) WHERE state IN ('queued', 'running');
CREATE INDEX runs_recent ON runs (district_id, requested_at DESC);

CREATE TABLE run_issues (
    district_id  uuid NOT NULL,
    run_id       uuid NOT NULL,
    seq          integer NOT NULL,
    code         text NOT NULL,
    entity       text NOT NULL,
    file         text NOT NULL,
    line         bigint,
    field        text NOT NULL,
    key          text NOT NULL,
    cause        text NOT NULL,
    PRIMARY KEY (district_id, run_id, seq),
    FOREIGN KEY (district_id, run_id) REFERENCES runs (district_id, run_id)
);

-- Records -------------------------------------------------------------------------------------------------------
--
-- rid: dense integer within (district, entity). doc and doc_private: the rendered JSON members, see transforms/render.py.
-- Ids ascend within a load, so that both unique indexes are appended to.

CREATE TABLE orgs (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    "name"               text,
    "type"               text,
    identifier           text,
    parent_rid           integer,
    children_rids        integer[],
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE academic_sessions (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    title                text,
    "type"               text,
    start_date           date,
    end_date             date,
    parent_rid           integer,
    children_rids        integer[],
    school_year          text,
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE courses (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    school_year_rid      integer,
    title                text,
    course_code          text,
    grades               text[],
    org_rid              integer,
    subjects             text[],
    subject_codes        text[],
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE classes (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    title                text,
    grades               text[],
    course_rid           integer,
    class_code           text,
    class_type           text,
    location             text,
    school_rid           integer,
    terms_rids           integer[],
    subjects             text[],
    subject_codes        text[],
    periods              text[],
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE users (
    district_id              uuid NOT NULL,
    rid                      integer NOT NULL,
    sourced_id               uuid NOT NULL,
    active                   boolean NOT NULL,
    date_last_modified       timestamptz NOT NULL,
    enabled_user             boolean,
    roles_role_type          text[],
    roles_role               text[],
    roles_begin_date         date[],
    roles_end_date           date[],
    roles_org_rids           integer[],
    username                 text,
    user_ids_type            text[],
    user_ids_identifier      text[],
    given_name               text,
    family_name              text,
    middle_name              text,
    identifier               text,
    email                    text,
    sms                      text,
    phone                    text,
    agents_rids              integer[],
    grades                   text[],
    user_master_identifier   text,
    preferred_first_name     text,
    preferred_middle_name    text,
    preferred_last_name      text,
    primary_org_rid          integer,
    pronouns                 text,
    metadata                 jsonb,
    doc                      text NOT NULL,
    doc_private              text NOT NULL,
    -- Under row-level security an index on lower(…) is never used: lower() is not leakproof, the comparison is.
    username_lower           text COLLATE "C" GENERATED ALWAYS AS (lower(username)) STORED,
    email_lower              text COLLATE "C" GENERATED ALWAYS AS (lower(email)) STORED,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE enrollments (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    class_rid            integer,
    school_rid           integer,
    user_rid             integer,
    "role"               text,
    "primary"            boolean,
    begin_date           date,
    end_date             date,
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE demographics (
    district_id                                 uuid NOT NULL,
    rid                                         integer NOT NULL,
    sourced_id                                  uuid NOT NULL,
    active                                      boolean NOT NULL,
    date_last_modified                          timestamptz NOT NULL,
    birth_date                                  date,
    sex                                         text,
    american_indian_or_alaska_native            boolean,
    asian                                       boolean,
    black_or_african_american                   boolean,
    native_hawaiian_or_other_pacific_islander   boolean,
    white                                       boolean,
    demographic_race_two_or_more_races          boolean,
    hispanic_or_latino_ethnicity                boolean,
    country_of_birth_code                       text,
    state_of_birth_abbreviation                 text,
    city_of_birth                               text,
    public_school_residence_status              text,
    metadata                                    jsonb,
    doc                                         text NOT NULL,
    doc_private                                 text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE INDEX users_username ON users (district_id, username_lower) WHERE username_lower IS NOT NULL;
CREATE INDEX users_email ON users (district_id, email_lower) WHERE email_lower IS NOT NULL;
CREATE INDEX users_identifier ON users (district_id, identifier COLLATE "C") WHERE identifier IS NOT NULL;
CREATE INDEX classes_school ON classes (district_id, school_rid);
CREATE INDEX classes_course ON classes (district_id, course_rid);
CREATE INDEX enrollments_class ON enrollments (district_id, class_rid);
CREATE INDEX enrollments_user ON enrollments (district_id, user_rid);

CREATE TABLE source_records (                -- what one source says of one object, and the record that it led to
    district_id  uuid NOT NULL,
    source_id    uuid NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,  -- the source's own sourcedId: an alias of the record for ever
    rid          integer NOT NULL,
    hash         bigint NOT NULL,            -- of the canonical values; a hint, see transforms/diff.py
    active       boolean NOT NULL,
    PRIMARY KEY (district_id, source_id, entity, rid) -- by rid: appended to, and a third smaller than by key
);

-- History -------------------------------------------------------------------------------------------------------

CREATE TABLE changes (                       -- which records one position changed, as bitmaps of rids
    district_id  uuid NOT NULL,
    position     bigint NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    run_id       uuid,
    at           timestamptz NOT NULL,
    created      bytea NOT NULL,
    updated      bytea NOT NULL,
    deleted      bytea NOT NULL,
    PRIMARY KEY (district_id, position, entity)
);

CREATE TABLE history (                       -- a record as it was before ``position`` changed it
    district_id         uuid NOT NULL,
    entity              text COLLATE "C" NOT NULL,
    rid                 integer NOT NULL,
    position            bigint NOT NULL,
    active              boolean NOT NULL,
    date_last_modified  timestamptz NOT NULL,
    doc                 text NOT NULL,
    doc_private         text NOT NULL,
    PRIMARY KEY (district_id, entity, rid, position)
);

-- Grants, views, feeds ------------------------------------------------------------------------------------------

CREATE TABLE grants (
    district_id  uuid NOT NULL REFERENCES districts (district_id),
    grant_id     uuid NOT NULL,
    app_id       uuid NOT NULL,
    definition   jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'revoked')),
    position     bigint NOT NULL DEFAULT 0,  -- head of this grant's feed
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, grant_id)
);
CREATE UNIQUE INDEX grants_app ON grants (district_id, app_id) WHERE state <> 'revoked';

CREATE TABLE views (                         -- the sets of a grant at its position
    district_id  uuid NOT NULL,
    grant_id     uuid NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    present      bytea NOT NULL,
    gone         bytea NOT NULL,
    trimmed      bytea NOT NULL,
    PRIMARY KEY (district_id, grant_id, entity),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id)
);

CREATE TABLE feed (
    district_id  uuid NOT NULL,
    grant_id     uuid NOT NULL,
    position     bigint NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    at           timestamptz NOT NULL,
    run_id       uuid,
    entered      bytea NOT NULL,
    updated      bytea NOT NULL,
    departed     bytea NOT NULL,             -- "left" is a keyword
    PRIMARY KEY (district_id, grant_id, position, entity),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id)
);

-- Webhooks ------------------------------------------------------------------------------------------------------

CREATE TABLE subscriptions (
    district_id      uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    grant_id         uuid NOT NULL,
    url              text NOT NULL,
    state            text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    secret           bytea NOT NULL,         -- AES-256-GCM, bound to district, table, column and row
    position         bigint NOT NULL,        -- everything up to here was acknowledged
    looked_to        bigint NOT NULL,        -- the feed has nothing more to send up to this position of the district
    window_to        bigint,                 -- the range that is being delivered: (position, window_to]
    inside           jsonb,                  -- the last acknowledged place inside that range
    batch_id         text,                   -- the frozen batch that waits for its acknowledgement
    attempt          integer NOT NULL DEFAULT 0,
    ready_at         timestamptz NOT NULL DEFAULT now(),
    failing_since    timestamptz,
    last_error       text,
    last_status      integer,
    lease_token      uuid,
    lease_until      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, subscription_id),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id)
) WITH (fillfactor = 50);
CREATE INDEX subscriptions_ready ON subscriptions (ready_at) WHERE state = 'active';

CREATE TABLE batches (                       -- a batch is frozen at its first attempt: same id, same bytes on each retry
    district_id      uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    batch_id         text NOT NULL,
    window_to        bigint NOT NULL,
    inside           jsonb,                  -- where the subscription stands once this batch is acknowledged
    changes          integer NOT NULL,
    body             bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    delivered_at     timestamptz,
    PRIMARY KEY (district_id, subscription_id, batch_id),
    FOREIGN KEY (district_id, subscription_id) REFERENCES subscriptions (district_id, subscription_id)
);

CREATE TABLE attempts (
    district_id      uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    batch_id         text NOT NULL,
    attempt          integer NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    milliseconds     integer NOT NULL,
    status           integer,
    error_class      text,
    PRIMARY KEY (district_id, subscription_id, batch_id, attempt),
    FOREIGN KEY (district_id, subscription_id) REFERENCES subscriptions (district_id, subscription_id)
);

-- Audit ---------------------------------------------------------------------------------------------------------

CREATE TABLE audit (                         -- acts on the hub itself stand under the nil UUID
    district_id  uuid NOT NULL,
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    action       text NOT NULL,
    object       text NOT NULL,
    details      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (district_id, seq)
);

-- Staging -------------------------------------------------------------------------------------------------------
--
-- COPY is refused under row-level security, so rows land here first: unlogged, without a policy, reachable by the
-- worker role alone, keyed by (district_id, run_id) and emptied after the run. task: "i" inserts the record, "u" updates
-- it, "h" only refreshes the hash of its source record.

CREATE UNLOGGED TABLE staging_orgs (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE orgs
);
CREATE UNLOGGED TABLE staging_academic_sessions (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE academic_sessions
);
CREATE UNLOGGED TABLE staging_courses (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE courses
);
CREATE UNLOGGED TABLE staging_classes (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE classes
);
CREATE UNLOGGED TABLE staging_users (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE users
);
CREATE UNLOGGED TABLE staging_enrollments (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE enrollments
);
CREATE UNLOGGED TABLE staging_demographics (
    run_id uuid NOT NULL, task "char" NOT NULL, source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE demographics
);

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname LIKE 'staging\_%'
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER date_last_modified DROP NOT NULL, ALTER doc DROP NOT NULL, '
            'ALTER doc_private DROP NOT NULL', name);
    END LOOP;
END
$$;

-- Isolation -----------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'district_id' AND NOT a.attisdropped
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE 'staging\_%'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        -- After SET LOCAL the setting reads back as '' and not as NULL: NULLIF keeps ''::uuid from raising.
        EXECUTE format(
            'CREATE POLICY of_the_district ON %I '
            'USING (district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid) '
            'WITH CHECK (district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)', name);
    END LOOP;
END
$$;

-- What crosses districts: the list of districts (their names are no secret of children), and the two queues that a
-- worker looks through to find work. None of them holds roster data.
CREATE POLICY list_of_districts ON districts FOR SELECT TO hub_service, hub_worker USING (true);
CREATE POLICY queue_of_runs ON runs FOR SELECT TO hub_worker USING (true);
CREATE POLICY claim_of_runs ON runs FOR UPDATE TO hub_worker USING (true);
CREATE POLICY queue_of_subscriptions ON subscriptions FOR SELECT TO hub_worker USING (true);
CREATE POLICY claim_of_subscriptions ON subscriptions FOR UPDATE TO hub_worker USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON
    apps, clients, access_tokens, admin_tokens, districts, heads, sources, uploads, upload_parts, runs, run_issues,
    grants, views, feed, subscriptions, batches, attempts
    TO hub_service, hub_worker;
GRANT SELECT ON
    schema_steps, orgs, academic_sessions, courses, classes, users, enrollments, demographics, source_records, changes, history
    TO hub_service, hub_worker;
GRANT INSERT, UPDATE, DELETE ON
    orgs, academic_sessions, courses, classes, users, enrollments, demographics, source_records, changes, history
    TO hub_worker;
GRANT SELECT, INSERT ON audit TO hub_service, hub_worker;
GRANT SELECT, INSERT, DELETE, TRUNCATE ON
    staging_orgs, staging_academic_sessions, staging_courses, staging_classes, staging_users, staging_enrollments,
    staging_demographics
    TO hub_worker;

-- Support reads how the hub is doing, never a roster, a secret or an upload.
GRANT SELECT ON schema_steps, districts, runs, run_issues, changes, grants, attempts TO hub_support;
GRANT SELECT (district_id, source_id, name, kind, priority, state, digest, files, created_at) ON sources TO hub_support;
GRANT SELECT (district_id, subscription_id, grant_id, url, state, position, looked_to, window_to, attempt, ready_at,
    failing_since, last_error, last_status, lease_until, created_at) ON subscriptions TO hub_support;
