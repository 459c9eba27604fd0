-- A source that gives the id of one person to another one: the id is a new person's from then on. With an undo of the run
-- in which it did, the id goes back.

ALTER TABLE source_records ADD COLUMN superseded_at bigint; -- the position at which its key became another record's
CREATE INDEX source_records_superseded ON source_records (district_id, superseded_at) WHERE superseded_at IS NOT NULL;
