-- One person, one record: which records of users are the same person, by whose word, and where the others' ids lead.

-- The record to which what a source says led by itself, where it was brought to another one since; NULL: its own.
ALTER TABLE source_records ADD COLUMN home_rid integer;

CREATE TABLE matches (                       -- two records that are one person, are not, or may be
    district_id  uuid NOT NULL,
    left_rid     integer NOT NULL,           -- of users, as they came: before either was brought to another one
    right_rid    integer NOT NULL,
    state        text NOT NULL CHECK (state IN ('review', 'unsure', 'same', 'different')),
    tier         text NOT NULL DEFAULT '',
    score        real,                       -- in bits
    model        text NOT NULL DEFAULT '',
    evidence     jsonb NOT NULL DEFAULT '[]', -- fields and levels of likeness; never a value
    found_at     timestamptz NOT NULL DEFAULT now(),
    proposed_by  text,                       -- who said first that they are the same, where a second word is needed
    decided_at   timestamptz,
    decided_by   text,
    seconded_by  text,                       -- who agreed, where one person's word is not enough
    PRIMARY KEY (district_id, left_rid, right_rid),
    CHECK (left_rid < right_rid)
);
CREATE INDEX matches_right ON matches (district_id, right_rid);
CREATE INDEX matches_waiting ON matches (district_id, found_at) WHERE state IN ('review', 'unsure');

CREATE TABLE aliases (                       -- users of which another record speaks now
    district_id  uuid NOT NULL,
    rid          integer NOT NULL,
    into_rid     integer NOT NULL,
    since        bigint NOT NULL,            -- position
    PRIMARY KEY (district_id, rid)
);
CREATE INDEX aliases_into ON aliases (district_id, into_rid);

CREATE TABLE moved_references (              -- references that no source's word tells apart: of apps' results, say
    district_id  uuid NOT NULL,
    entity       entity_name NOT NULL,
    rid          integer NOT NULL,
    home_rid     integer NOT NULL,           -- the user to which it was made
    PRIMARY KEY (district_id, entity, rid)
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['matches', 'aliases', 'moved_references']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT ON %I TO hub_service', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_worker', name);
    END LOOP;
END
$$;
GRANT INSERT, UPDATE ON matches TO hub_service;
GRANT SELECT (district_id, left_rid, right_rid, state, tier, score, model, found_at, decided_at) ON matches TO hub_support;
