-- Runs that do not come from a source's package (an undo, an override, a source that goes) share queue, lease, guard and
-- apply with those that do. ``task`` says what such a run is about.

ALTER TABLE runs ADD COLUMN kind text NOT NULL DEFAULT 'sync';
ALTER TABLE runs ADD COLUMN task jsonb NOT NULL DEFAULT '{}';
ALTER TABLE runs ALTER COLUMN source_id DROP NOT NULL;
ALTER TABLE runs ADD CONSTRAINT runs_sync_has_source CHECK (kind <> 'sync' OR source_id IS NOT NULL);
