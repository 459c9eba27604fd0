-- A source that nobody pulls can be late as well: a row of its schedule then says how often a package is expected.
-- ``late_from`` is that long after the last success, and moves on when it has passed.

ALTER TABLE source_schedules ALTER COLUMN cron DROP NOT NULL;
ALTER TABLE source_schedules ADD COLUMN expected_every_hours integer
    CHECK (expected_every_hours BETWEEN 1 AND 8784);
ALTER TABLE source_schedules ADD CONSTRAINT source_schedules_one_way CHECK (num_nonnulls(cron, expected_every_hours) = 1);
