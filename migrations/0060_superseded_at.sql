-- An id that a source gave to somebody else goes back with an undo of the run in which it did.

ALTER TABLE source_records ADD COLUMN superseded_at bigint; -- the position at which its key became another record's
CREATE INDEX source_records_superseded ON source_records (district_id, superseded_at) WHERE superseded_at IS NOT NULL;
