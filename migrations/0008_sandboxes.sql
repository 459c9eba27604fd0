-- Districts that do not exist: one for each app that asks, to try OneRoster and webhooks with.

ALTER TABLE districts ADD COLUMN sandbox_of uuid;              -- the app; no foreign key: keys of a district lead with it
ALTER TABLE districts ADD COLUMN sandbox_plan jsonb;       -- what it is made from: the same plan gives the same bytes
ALTER TABLE districts ADD CHECK ((sandbox_of IS NULL) = (sandbox_plan IS NULL));
CREATE UNIQUE INDEX districts_sandbox ON districts (sandbox_of) WHERE sandbox_of IS NOT NULL;
