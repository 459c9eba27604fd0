-- What a source's system must not be reached without, and how often a source that tells what changed is pulled whole.

ALTER TABLE sources ADD COLUMN secrets jsonb NOT NULL DEFAULT '{}';       -- name -> ciphertext in base64, bound to its place
ALTER TABLE sources ADD COLUMN full_hours integer NOT NULL DEFAULT 168 CHECK (full_hours BETWEEN 0 AND 8760);
