-- What an undo needs beside the past of the records: what a source said of merged records before a run changed it, and of
-- what a source spoke that departed.

ALTER TABLE provenance ADD COLUMN since bigint; -- the first position at which the record is merged; NULL: nobody noted it

CREATE TABLE statement_history (             -- what one source said of one record until a position
    district_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    source_id    uuid NOT NULL,
    position     bigint NOT NULL,
    step         integer NOT NULL,           -- 0: until the run of the position; others: until runs behind it that changed no record
    said_at      timestamptz,                -- NULL: it said nothing of the record
    doc          text,
    doc_private  text,
    PRIMARY KEY (district_id, entity, rid, source_id, position, step)
);
CREATE INDEX statement_history_position ON statement_history (district_id, position);

CREATE TABLE departures (                    -- sources that went
    district_id  uuid NOT NULL,
    position     bigint NOT NULL,
    source_id    uuid NOT NULL,
    state        text NOT NULL,              -- in which it was before
    heir         uuid,                       -- to which source its records went
    PRIMARY KEY (district_id, position)
);

CREATE TABLE departed_claims (               -- of what a source spoke that went, as bitmaps of rids
    district_id  uuid NOT NULL,
    position     bigint NOT NULL,
    entity       entity_name NOT NULL,
    withdrawn    bytea NOT NULL,             -- all of it
    handed       bytea NOT NULL,             -- what went to the heir
    PRIMARY KEY (district_id, position, entity)
);

CREATE TABLE former_claims (                 -- what the heir had said before of records that went to it
    district_id  uuid NOT NULL,
    position     bigint NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    key          text COLLATE "C" NOT NULL,
    hash         bigint NOT NULL,
    active       boolean NOT NULL,
    PRIMARY KEY (district_id, position, entity, rid)
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['statement_history', 'departures', 'departed_claims', 'former_claims']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT ON %I TO hub_service', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_worker', name);
    END LOOP;
END
$$;
