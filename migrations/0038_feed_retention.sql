-- Old entries of feeds are compacted: what a later one covers goes, and no step of theirs is told of any more. Older ones
-- still only date records and tombstones: nobody reads on from a step before ``feed_from``.

ALTER TABLE grants ADD COLUMN IF NOT EXISTS feed_from bigint NOT NULL DEFAULT 0;
ALTER TABLE feed DROP CONSTRAINT feed_cause_check;
ALTER TABLE feed ADD CONSTRAINT feed_cause_check CHECK (cause IN ('sync', 'grant', 'gradebook', 'compacted'));

-- The district's position at which a grant was last edited: what records said before is not told through it, for the app
-- may not have been allowed to see it then. Of edits before this step nothing is known.
ALTER TABLE grants ADD COLUMN defined_at bigint NOT NULL DEFAULT 0;
ALTER TABLE grants NO FORCE ROW LEVEL SECURITY;  -- it would hide them from the owner, who sets no district
UPDATE grants SET defined_at = position;
ALTER TABLE grants FORCE ROW LEVEL SECURITY;

-- The clock of a feed does not go back: so an entry may go without another one telling an earlier time than it did.
ALTER TABLE feed NO FORCE ROW LEVEL SECURITY;
UPDATE feed f SET at = n.newest
FROM (SELECT district_id, grant_id, step, entity,
             max(at) OVER (PARTITION BY district_id, grant_id ORDER BY step) AS newest FROM feed) n
WHERE f.district_id = n.district_id AND f.grant_id = n.grant_id AND f.step = n.step AND f.entity = n.entity
  AND f.at < n.newest;
ALTER TABLE feed FORCE ROW LEVEL SECURITY;
