-- Uploads that come in parts and go on after a cut.

ALTER TABLE uploads ADD COLUMN length bigint CHECK (length > 0);    -- of one that comes in parts: the bytes that it will have
ALTER TABLE uploads ADD COLUMN parts integer NOT NULL DEFAULT 0;    -- those that count; later ones are of a request that was cut
ALTER TABLE uploads ADD COLUMN writer uuid;                         -- the request that may add to it
ALTER TABLE uploads ADD COLUMN expires_at timestamptz;              -- what is not whole by then is removed
ALTER TABLE uploads ADD COLUMN dry_run boolean NOT NULL DEFAULT false; -- of the run that its last byte starts
ALTER TABLE uploads ADD COLUMN starts boolean NOT NULL DEFAULT true;   -- whether it starts one
