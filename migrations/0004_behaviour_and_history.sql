-- Settings per app where the standard leaves room (hub/api/behaviour.py), and records as they were, typed.
--
-- history.was is the row before the change without its documents, so that a walk over pages that began earlier filters
-- and sorts by the values of its beginning. Rows from before this step have none; no walk is that old.

ALTER TABLE apps ADD COLUMN behaviour jsonb NOT NULL DEFAULT '{}';

ALTER TABLE history ADD COLUMN was jsonb;
CREATE INDEX history_position ON history (district_id, entity, position);
