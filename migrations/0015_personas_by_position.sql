-- Walks over pages of 1.1 stay at a step: who had several roles is known by the position at which it was first shown.
-- What was known before this step counts as having been known always.

ALTER TABLE extra_roles ADD COLUMN position bigint NOT NULL DEFAULT 0;
ALTER TABLE extra_roles DROP CONSTRAINT extra_roles_pkey, ADD PRIMARY KEY (district_id, grant_id, role, position);
