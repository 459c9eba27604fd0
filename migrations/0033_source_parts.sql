-- The rows of component files (roles.csv and the like) that a source sent last, by the object in which they nest: a file of
-- changes names rows, and an object is what all its rows say.

ALTER TABLE sources ADD COLUMN parts text[] NOT NULL DEFAULT '{}'; -- entities of which all such rows are kept

CREATE TABLE source_parts (
    district_id  uuid NOT NULL,
    source_id    uuid NOT NULL,
    entity       entity_name NOT NULL,       -- of the object
    rid          integer NOT NULL,
    file         text COLLATE "C" NOT NULL,
    rows         text NOT NULL,              -- JSON, see transforms/kept_rows.py
    PRIMARY KEY (district_id, source_id, entity, rid, file)
);

CREATE UNLOGGED TABLE staging_parts (
    run_id uuid NOT NULL, district_id uuid NOT NULL, entity entity_name NOT NULL, rid integer NOT NULL, file text NOT NULL,
    rows text NOT NULL
);
CREATE INDEX staging_parts_run ON staging_parts (run_id, rid);

ALTER TABLE source_parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_parts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON source_parts
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON source_parts TO hub_worker;
GRANT SELECT, INSERT, DELETE, TRUNCATE ON staging_parts TO hub_worker;
