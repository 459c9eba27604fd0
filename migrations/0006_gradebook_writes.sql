-- Apps write the gradebook: whose an object is and what its app calls it, what was accepted in which order, which POST
-- was answered how. Records themselves stand in the tables of their entities, beside those that came from the SIS.

CREATE TABLE gradebook_objects (             -- the records that apps wrote; a record that is not here is the SIS's
    district_id  uuid NOT NULL,
    entity       text COLLATE "C" NOT NULL,
    rid          integer NOT NULL,
    app_id       uuid NOT NULL,
    sourced_id   uuid NOT NULL,              -- the record's own, as other apps see it
    key          text COLLATE "C",           -- the id that the app chose; NULL where the hub allocated it
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (district_id, entity, rid),
    UNIQUE (district_id, app_id, entity, key),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE gradebook_writes (              -- what was accepted, in order: what a system that takes grades is told
    district_id  uuid NOT NULL,
    position     bigint NOT NULL,            -- of the district's feed; one for each request
    place        integer NOT NULL,           -- within the position: what is referred to is put first and deleted last
    entity       text COLLATE "C" NOT NULL,
    rid          integer NOT NULL,
    operation    text NOT NULL CHECK (operation IN ('put', 'delete')),
    app_id       uuid NOT NULL,
    at           timestamptz NOT NULL,
    notes        text[] NOT NULL DEFAULT '{}', -- what is allowed and yet unusual: 'above_max', 'second_result'
    PRIMARY KEY (district_id, position, place)
);
CREATE INDEX gradebook_writes_record ON gradebook_writes (district_id, entity, rid, position);

CREATE TABLE gradebook_posts (               -- a repeated POST is given the ids of the first
    district_id  uuid NOT NULL,
    app_id       uuid NOT NULL,
    target       text COLLATE "C" NOT NULL,  -- the operation, and the rids that its path names
    supplied     text COLLATE "C" NOT NULL,  -- the id that the app gave for the time being
    sourced_id   uuid NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (district_id, app_id, target, supplied)
);
CREATE INDEX gradebook_posts_age ON gradebook_posts (district_id, at);

-- The position at which the sets of an entity were stored: whoever keeps them in memory knows whether they still hold.
ALTER TABLE views ADD COLUMN position bigint NOT NULL DEFAULT 0;

-- Whether an object is in use is asked at each deletion.
CREATE INDEX line_items_category ON line_items (district_id, category_rid);
CREATE INDEX line_items_score_scale ON line_items (district_id, score_scale_rid) WHERE score_scale_rid IS NOT NULL;
CREATE INDEX results_score_scale ON results (district_id, score_scale_rid) WHERE score_scale_rid IS NOT NULL;
CREATE INDEX assessment_line_items_parent ON assessment_line_items (district_id, parent_assessment_line_item_rid)
    WHERE parent_assessment_line_item_rid IS NOT NULL;
CREATE INDEX assessment_line_items_score_scale ON assessment_line_items (district_id, score_scale_rid)
    WHERE score_scale_rid IS NOT NULL;
CREATE INDEX assessment_results_line_item ON assessment_results (district_id, assessment_line_item_rid);
CREATE INDEX assessment_results_score_scale ON assessment_results (district_id, score_scale_rid)
    WHERE score_scale_rid IS NOT NULL;

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['gradebook_objects', 'gradebook_writes', 'gradebook_posts']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
    END LOOP;
END
$$;

-- Of the records the service may write those of the gradebook alone; what was written is never removed.
GRANT INSERT, UPDATE ON categories, score_scales, line_items, results, assessment_line_items, assessment_results
    TO hub_service;
GRANT INSERT ON history, changes TO hub_service;
GRANT SELECT, INSERT ON gradebook_objects, gradebook_writes TO hub_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON gradebook_posts TO hub_service;
GRANT SELECT ON gradebook_objects, gradebook_writes TO hub_worker;
GRANT SELECT ON gradebook_writes TO hub_support;
