-- What a record's columns said is kept as JSON text from here on: to write it takes a third of what jsonb takes, which is
-- a tenth of a sync in which many records change, and it is seldom read. Rows of before have ``was``; nothing is
-- rewritten. A process of the code before knows of no column ``image``: of what a worker of this code changes meanwhile
-- it takes the past for unknown.

ALTER TABLE history ADD COLUMN image json;
