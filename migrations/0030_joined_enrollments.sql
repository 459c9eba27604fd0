-- Enrollments that stand for several rows of a source's last whole package (one user, class and role). A file of changes
-- that names one of them says nothing of the others, so it is not acted on.

ALTER TABLE sources ADD COLUMN joined integer[] NOT NULL DEFAULT '{}';  -- rids of enrollments
