-- People who were erased. What is left of one is the record's random sourcedId and, of each key by which a source called the
-- person, a digest under a key that is not in the database: an old file does not bring anybody back.

CREATE TABLE erasures (
    district_id   uuid NOT NULL,
    erasure_id    uuid NOT NULL,
    sourced_id    uuid NOT NULL,             -- of the bare record
    requested_by  text NOT NULL,
    at            timestamptz NOT NULL,
    position      bigint NOT NULL,           -- of the district: nothing of the person is known from before it any more
    released_at   timestamptz,               -- since then sources may bring the person again
    PRIMARY KEY (district_id, erasure_id)
);

CREATE TABLE erased_keys (
    district_id  uuid NOT NULL,
    erasure_id   uuid NOT NULL,
    source_id    uuid NOT NULL,
    digest       bytea NOT NULL,             -- of district, source and key, see hub/crypto.py
    PRIMARY KEY (district_id, source_id, digest),
    FOREIGN KEY (district_id, erasure_id) REFERENCES erasures (district_id, erasure_id)
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['erasures', 'erased_keys']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, UPDATE, DELETE ON %I TO hub_service', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_worker', name);
    END LOOP;
END
$$;

-- What apps called an erased person's results goes too.
GRANT UPDATE ON gradebook_objects TO hub_worker;
GRANT SELECT, DELETE ON gradebook_posts TO hub_worker;
GRANT DELETE ON grade_deliveries TO hub_worker;
-- So do what sources say of the person one by one, and what people set by hand.
GRANT DELETE ON overrides TO hub_worker;
