-- Each look at who changed asks whether people have told any apart. Without an index of these it went through all pairs
-- of the district that wait for a decision, of which there are thousands.

CREATE INDEX matches_told_apart ON matches (district_id) WHERE state IN ('different', 'unsure');
