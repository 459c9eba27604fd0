-- Several sources per district: what each may speak for, and what each says of the records of which several speak.

ALTER TABLE sources ADD COLUMN speaks_for jsonb;          -- entity -> its fields (null: all of them); NULL: everything
ALTER TABLE sources ADD COLUMN key_space text;            -- sources of one space call an object by one key; NULL: its own
ALTER TABLE sources ADD COLUMN links jsonb NOT NULL DEFAULT '{}'; -- entity -> fields that others' records are known by
ALTER TABLE sources DROP CONSTRAINT sources_state_check;
ALTER TABLE sources ADD CONSTRAINT sources_state_check CHECK (state IN ('active', 'paused', 'departed'));
ALTER TABLE districts ADD COLUMN survivorship jsonb NOT NULL DEFAULT '{}'; -- entity -> field -> which value survives
ALTER TABLE districts ADD COLUMN overrides_until timestamptz; -- when the next override ends; workers see all districts

CREATE TABLE statements (                    -- what one source says of one record, where there are several to say it
    district_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    source_id    uuid NOT NULL,
    said_at      timestamptz NOT NULL,       -- when it said this first
    doc          text NOT NULL,
    doc_private  text NOT NULL,
    PRIMARY KEY (district_id, entity, rid, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id)
);

CREATE TABLE provenance (                    -- where each value of a merged record comes from: field -> source or override
    district_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    fields       jsonb NOT NULL,
    PRIMARY KEY (district_id, entity, rid)
);

CREATE TABLE overrides (                     -- values that a person set in place of what sources say
    district_id  uuid NOT NULL,
    override_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    field        text NOT NULL,
    value        jsonb,                      -- the JSON 1.2 member; NULL empties the field
    owner        text NOT NULL,
    reason       text NOT NULL,
    until        timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    ended_by     text,
    PRIMARY KEY (district_id, override_id)
);
CREATE UNIQUE INDEX overrides_living ON overrides (district_id, entity, rid, field) WHERE ended_at IS NULL;

CREATE UNLOGGED TABLE staging_statements (
    run_id uuid NOT NULL, district_id uuid NOT NULL, entity entity_name NOT NULL, rid integer NOT NULL,
    source_id uuid NOT NULL, said_at timestamptz NOT NULL, doc text NOT NULL, doc_private text NOT NULL
);
CREATE INDEX staging_statements_run ON staging_statements (run_id);
CREATE UNLOGGED TABLE staging_provenance (
    run_id uuid NOT NULL, district_id uuid NOT NULL, entity entity_name NOT NULL, rid integer NOT NULL, fields jsonb NOT NULL
);
CREATE INDEX staging_provenance_run ON staging_provenance (run_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['statements', 'provenance', 'overrides']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY of_the_district ON %I '
            'USING (district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid) '
            'WITH CHECK (district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)', name);
    END LOOP;
END
$$;

GRANT SELECT ON statements, provenance TO hub_service, hub_worker;
GRANT INSERT, UPDATE, DELETE ON statements, provenance TO hub_worker;
GRANT SELECT, INSERT, UPDATE ON overrides TO hub_service, hub_worker;
GRANT SELECT, INSERT, DELETE, TRUNCATE ON staging_statements, staging_provenance TO hub_worker;
