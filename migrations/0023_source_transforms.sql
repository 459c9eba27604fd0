-- What a district makes of a source's rows before they are looked at: every version that was ever saved, and which one acts.

CREATE TABLE source_transforms (
    district_id uuid NOT NULL,
    source_id   uuid NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    definition  jsonb NOT NULL,
    note        text NOT NULL DEFAULT '',
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, source_id, version),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id)
);

ALTER TABLE sources ADD COLUMN transform_version integer; -- NULL: rows are taken as they come
ALTER TABLE sources ADD FOREIGN KEY (district_id, source_id, transform_version)
    REFERENCES source_transforms (district_id, source_id, version);

ALTER TABLE source_transforms ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_transforms FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON source_transforms
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT ON source_transforms TO hub_service;
GRANT SELECT ON source_transforms TO hub_worker;
-- A definition may name people's values; support sees that there is one.
GRANT SELECT (district_id, source_id, version, created_at) ON source_transforms TO hub_support;
