-- How a subscription wants to be told and how fast, and what its receiver would not take.

ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_state_check;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_state_check
    CHECK (state IN ('unproven', 'active', 'paused', 'disabled', 'resync_required'));
ALTER TABLE subscriptions
    -- Receivers of one host share places, in whichever district they are.
    ADD COLUMN host                 text GENERATED ALWAYS AS
        (regexp_replace(lower(substring(url FROM '^https?://([^/?#]*)')), ':(80|443)$', '')) STORED,
    ADD COLUMN mode                 text NOT NULL DEFAULT 'refs' CHECK (mode IN ('signal', 'refs', 'records')),
    ADD COLUMN types                text[] NOT NULL DEFAULT '{}',         -- patterns; none stands for all
    ADD COLUMN max_bytes            integer,                              -- NULL: what is usual for the mode
    ADD COLUMN max_changes          integer NOT NULL DEFAULT 500,
    ADD COLUMN quiet_seconds        double precision NOT NULL DEFAULT 0,
    ADD COLUMN longest_wait_seconds double precision NOT NULL DEFAULT 30,
    ADD COLUMN rate_per_minute      integer,                              -- NULL: as fast as it answers
    ADD COLUMN attempted_at         timestamptz,
    ADD COLUMN taken_at             timestamptz,                          -- the receiver's last 2xx
    ADD COLUMN quick                smallint NOT NULL DEFAULT 0,          -- failures in a row that were tried again at once
    -- How far the receiver was told, where that is not the position: what nobody wanted was passed over since.
    ADD COLUMN told_to              bigint,
    ADD COLUMN batch_changes        integer,                              -- what it takes in time; NULL: max_changes
    ADD COLUMN refused              integer NOT NULL DEFAULT 0,           -- how often the frozen batch was, in a row
    ADD COLUMN isolating            integer,                              -- changes among which one is refused
    ADD COLUMN replaying_to         bigint,
    ADD COLUMN retry_parked         boolean NOT NULL DEFAULT false;
GRANT SELECT (host, mode, types, max_bytes, max_changes, quiet_seconds, longest_wait_seconds, rate_per_minute,
    attempted_at, taken_at, quick, told_to, batch_changes, refused, isolating, replaying_to, retry_parked) ON subscriptions TO hub_support;

ALTER TABLE batches
    ADD COLUMN kind      text NOT NULL DEFAULT 'feed' CHECK (kind IN ('feed', 'parked', 'resync')),
    ADD COLUMN sole      jsonb,              -- the one record that the batch tells of, where it is one
    ADD COLUMN parked_id uuid;               -- the parked change that the batch tells of again

CREATE TABLE parked (                        -- changes that a receiver refuses while it takes others
    district_id      uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    parked_id        uuid NOT NULL,
    entity           text COLLATE "C" NOT NULL,
    rid              integer NOT NULL,
    operation        text NOT NULL CHECK (operation IN ('created', 'updated', 'deleted')),
    version          bigint NOT NULL,
    since            timestamptz NOT NULL DEFAULT now(),
    attempts         integer NOT NULL,
    last_status      integer,
    last_error       text,
    retry            boolean NOT NULL DEFAULT false, -- somebody asked for another attempt
    superseded_by    text,                   -- the frozen batch that tells of a later version
    PRIMARY KEY (district_id, subscription_id, parked_id),
    UNIQUE (district_id, subscription_id, entity, rid),
    FOREIGN KEY (district_id, subscription_id) REFERENCES subscriptions (district_id, subscription_id)
);
ALTER TABLE parked ENABLE ROW LEVEL SECURITY;
ALTER TABLE parked FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON parked
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON parked TO hub_service, hub_worker;
GRANT SELECT (district_id, subscription_id, parked_id, entity, operation, version, since, attempts, last_status,
    last_error, retry) ON parked TO hub_support;
