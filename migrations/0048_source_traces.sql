-- Traces of pulls and tries for support: shapes of requests and answers, without any value of a body (connectors.tracing).

CREATE TABLE source_traces (
    district_id  uuid NOT NULL,
    trace_id     uuid NOT NULL,
    source_id    uuid NOT NULL,
    what         text NOT NULL CHECK (what IN ('pull', 'test')),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    run_id       uuid,                       -- the run whose pull it is of
    finished_at  timestamptz,                -- NULL: the next pull or try is recorded
    outcome      text,                       -- "whole", or the code of the error that it ended with
    exchanges    integer,                    -- how many requests there were; not all may be in the data
    data         bytea,                      -- lines of JSON
    PRIMARY KEY (district_id, trace_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE,
    CHECK ((finished_at IS NULL) = (data IS NULL))
);
CREATE UNIQUE INDEX source_traces_waiting ON source_traces (district_id, source_id, what) WHERE finished_at IS NULL;
CREATE INDEX source_traces_of_source ON source_traces (district_id, source_id, requested_at DESC);

ALTER TABLE source_traces ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_traces FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON source_traces
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON source_traces TO hub_service;
GRANT SELECT, UPDATE, DELETE ON source_traces TO hub_worker;
GRANT SELECT ON source_traces TO hub_support;
