-- How long a district keeps what, and from which position on its past is whole: what records said at earlier positions was
-- purged. The moment of a change is looked up by time.

ALTER TABLE districts ADD COLUMN retention jsonb NOT NULL DEFAULT '{}';  -- days by kind of data, where others than the hub's
ALTER TABLE districts ADD COLUMN history_from bigint NOT NULL DEFAULT 0;
ALTER TABLE districts ADD COLUMN purged_at timestamptz;
CREATE INDEX changes_at ON changes (district_id, at);
