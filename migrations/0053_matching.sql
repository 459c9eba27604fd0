-- Which records of users may be one person, looked for after each change: by keys, so that few are compared.

ALTER TABLE districts ADD COLUMN matching jsonb NOT NULL DEFAULT '{}'; -- how much the hub decides by itself
ALTER TABLE districts ADD COLUMN matched_to bigint;           -- position up to which people were compared; NULL: none yet
ALTER TABLE districts ADD COLUMN matching_until timestamptz;  -- a worker compares; from then on another may

CREATE TABLE match_keys (                    -- hashes of what two records of one person are likely to share
    district_id  uuid NOT NULL,
    hash         bigint NOT NULL,
    kind         smallint NOT NULL,          -- of the key, or (from 100 on) of a value whose frequency counts
    rid          integer NOT NULL,           -- of users
    PRIMARY KEY (district_id, hash, kind, rid)
);
CREATE INDEX match_keys_rid ON match_keys (district_id, rid);

CREATE TABLE match_exempt (                  -- users who are compared with nobody
    district_id  uuid NOT NULL,
    rid          integer NOT NULL,
    by           text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, rid)
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['match_keys', 'match_exempt']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO hub_worker', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE ON match_exempt TO hub_service;
