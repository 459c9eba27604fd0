-- What a district has set for rules about its data: thresholds, rules that are off, when findings hold a run.

ALTER TABLE districts ADD COLUMN rules jsonb NOT NULL DEFAULT '{}'; -- only what differs from what the rules declare
