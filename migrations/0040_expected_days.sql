-- Packages that come on school days alone are not late for the weekend: on other days than these, in the schedule's
-- zone, the hours of ``expected_every_hours`` do not count. Null: all days count.

ALTER TABLE source_schedules ADD COLUMN expected_days text[]
    CHECK (expected_days <@ ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] AND cardinality(expected_days) > 0);
