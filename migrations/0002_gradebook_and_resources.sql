-- Gradebook and resources: tables like those of rostering, and the resources of courses, classes and users.

ALTER TABLE courses ADD COLUMN resources_rids integer[];
ALTER TABLE classes ADD COLUMN resources_rids integer[];
ALTER TABLE users ADD COLUMN resources_rids integer[];
ALTER TABLE staging_courses ADD COLUMN resources_rids integer[];
ALTER TABLE staging_classes ADD COLUMN resources_rids integer[];
ALTER TABLE staging_users ADD COLUMN resources_rids integer[];

CREATE TABLE resources (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    vendor_resource_id   text,
    title                text,
    roles                text[],
    importance           text,
    vendor_id            text,
    application_id       text,
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE categories (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    title                text,
    weight               double precision,
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE score_scales (
    district_id            uuid NOT NULL,
    rid                    integer NOT NULL,
    sourced_id             uuid NOT NULL,
    active                 boolean NOT NULL,
    date_last_modified     timestamptz NOT NULL,
    title                  text,
    "type"                 text,
    course_rid             integer,
    class_rid              integer,
    score_scale_value_lhs  text[],
    score_scale_value_rhs  text[],
    metadata               jsonb,
    doc                    text NOT NULL,
    doc_private            text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE line_items (
    district_id           uuid NOT NULL,
    rid                   integer NOT NULL,
    sourced_id            uuid NOT NULL,
    active                boolean NOT NULL,
    date_last_modified    timestamptz NOT NULL,
    title                 text,
    description           text,
    assign_date           timestamptz,
    due_date              timestamptz,
    class_rid             integer,
    category_rid          integer,
    grading_period_rid    integer,
    academic_session_rid  integer,
    result_value_min      double precision,
    result_value_max      double precision,
    school_rid            integer,
    score_scale_rid       integer,
    metadata              jsonb,
    doc                   text NOT NULL,
    doc_private           text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE results (
    district_id          uuid NOT NULL,
    rid                  integer NOT NULL,
    sourced_id           uuid NOT NULL,
    active               boolean NOT NULL,
    date_last_modified   timestamptz NOT NULL,
    line_item_rid        integer,
    student_rid          integer,
    score_status         text,
    score                double precision,
    score_date           date,
    "comment"            text,
    text_score           text,
    class_rid            integer,
    in_progress          boolean,
    incomplete           boolean,
    late                 boolean,
    missing              boolean,
    score_scale_rid      integer,
    metadata             jsonb,
    doc                  text NOT NULL,
    doc_private          text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE assessment_line_items (
    district_id                      uuid NOT NULL,
    rid                              integer NOT NULL,
    sourced_id                       uuid NOT NULL,
    active                           boolean NOT NULL,
    date_last_modified               timestamptz NOT NULL,
    title                            text,
    description                      text,
    class_rid                        integer,
    parent_assessment_line_item_rid  integer,
    score_scale_rid                  integer,
    result_value_min                 double precision,
    result_value_max                 double precision,
    metadata                         jsonb,
    doc                              text NOT NULL,
    doc_private                      text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE TABLE assessment_results (
    district_id               uuid NOT NULL,
    rid                       integer NOT NULL,
    sourced_id                uuid NOT NULL,
    active                    boolean NOT NULL,
    date_last_modified        timestamptz NOT NULL,
    assessment_line_item_rid  integer,
    student_rid               integer,
    score                     double precision,
    text_score                text,
    score_date                date,
    score_scale_rid           integer,
    score_percentile          double precision,
    score_status              text,
    "comment"                 text,
    in_progress               boolean,
    incomplete                boolean,
    late                      boolean,
    missing                   boolean,
    metadata                  jsonb,
    doc                       text NOT NULL,
    doc_private               text NOT NULL,
    PRIMARY KEY (district_id, rid),
    UNIQUE (district_id, sourced_id)
);

CREATE INDEX line_items_class ON line_items (district_id, class_rid);
CREATE INDEX results_line_item ON results (district_id, line_item_rid);
CREATE INDEX results_student ON results (district_id, student_rid);
CREATE INDEX score_scales_class ON score_scales (district_id, class_rid);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['resources', 'categories', 'score_scales', 'line_items', 'results',
        'assessment_line_items', 'assessment_results']
    LOOP
        EXECUTE format('CREATE UNLOGGED TABLE %I (run_id uuid NOT NULL, task "char" NOT NULL, '
            'source_key text COLLATE "C" NOT NULL, source_hash bigint NOT NULL, LIKE %I)', 'staging_' || name, name);
        EXECUTE format('ALTER TABLE %I ALTER date_last_modified DROP NOT NULL, ALTER doc DROP NOT NULL, '
            'ALTER doc_private DROP NOT NULL', 'staging_' || name);
        EXECUTE format('GRANT SELECT, INSERT, DELETE, TRUNCATE ON %I TO hub_worker', 'staging_' || name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT ON %I TO hub_service, hub_worker', name);
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO hub_worker', name);
    END LOOP;
END
$$;
