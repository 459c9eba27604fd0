-- Logins at the hub's own SFTP server: one for a source, to put its packages down there.

CREATE TABLE drops (
    district_id   uuid NOT NULL,
    source_id     uuid NOT NULL,
    username      text NOT NULL,              -- random: nobody finds another district's by trying
    password_hash text,                       -- argon2id; NULL: keys alone
    public_keys   text[] NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(), -- a session that logged in before is over
    used_at       timestamptz,
    PRIMARY KEY (district_id, source_id),
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);
CREATE INDEX drops_by_username ON drops (username);

ALTER TABLE drops ENABLE ROW LEVEL SECURITY;
ALTER TABLE drops FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON drops
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
-- Who logs in names no district: the name that they give shows its own row and no other.
CREATE POLICY of_the_login ON drops FOR SELECT TO hub_service
    USING (username = NULLIF(current_setting('hub.drop', true), ''));
GRANT SELECT, INSERT, UPDATE, DELETE ON drops TO hub_service;
GRANT SELECT (district_id, source_id, created_at, changed_at, used_at) ON drops TO hub_support;

-- The server's own key is derived from one that outlives the master key, as vendors remember it.
ALTER TABLE data_keys DROP CONSTRAINT data_keys_purpose_check;
ALTER TABLE data_keys ADD CONSTRAINT data_keys_purpose_check
    CHECK (purpose IN ('columns', 'walks', 'erasures', 'drops'));
