-- A source that gives the id of one person to another one: the id is a new person's from then on.

ALTER TABLE source_records ADD COLUMN superseded boolean NOT NULL DEFAULT false; -- its key is another record's now
