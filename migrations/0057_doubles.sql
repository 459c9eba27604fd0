-- One source that has two records of one person: each goes on to speak for itself, and both words make one record.
--
-- The word about the person's oldest record of the source stands where the person stands; the others stay where they
-- are, and ``aliases`` says of whom they are. Nothing in the keys changes.

CREATE TABLE said_references (               -- whom a source means, where it has two records of one of them
    district_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,           -- of what the source says, as it came
    source_id    uuid NOT NULL,
    homes        integer[] NOT NULL,         -- the users, as they came, in the order of the source
    PRIMARY KEY (district_id, entity, rid, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id)
);

ALTER TABLE said_references ENABLE ROW LEVEL SECURITY;
ALTER TABLE said_references FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON said_references
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT ON said_references TO hub_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON said_references TO hub_worker;
