-- Grants whose apps know records by a source's own ids: which source, and which record is known by which of its ids.

ALTER TABLE grants ADD COLUMN source_ids uuid;          -- the source whose ids the app is shown; NULL: none's
ALTER TABLE grants ADD CONSTRAINT grants_one_kind_of_ids CHECK (id_key IS NULL OR source_ids IS NULL);

CREATE TABLE shown_ids (                     -- records that an app was shown by the id of its grant's source
    district_id  uuid NOT NULL,
    grant_id     uuid NOT NULL,
    sourced_id   uuid NOT NULL,
    entity       entity_name NOT NULL,       -- users for demographics too, which have the ids of these
    key          text COLLATE "C" NOT NULL,  -- what the source called it when it came into the view
    PRIMARY KEY (district_id, grant_id, sourced_id),
    UNIQUE (district_id, grant_id, entity, key) -- never two records under one id
);

ALTER TABLE shown_ids ENABLE ROW LEVEL SECURITY;
ALTER TABLE shown_ids FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON shown_ids
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON shown_ids TO hub_service, hub_worker;
