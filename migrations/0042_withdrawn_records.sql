-- A batch that waits to be sent again does not show records that an edit of the grant has withdrawn since.

ALTER TABLE batches ADD COLUMN granted_at timestamptz; -- of one that holds records: when the grant had last changed
