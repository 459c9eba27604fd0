-- How many people a district has, as it was last counted: among a million a count takes longer than comparing one person.

ALTER TABLE districts ADD COLUMN people_counted integer;       -- active users when they were counted; NULL: not yet
ALTER TABLE districts ADD COLUMN people_counted_at timestamptz;
