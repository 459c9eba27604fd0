-- Who hears of a district's syncs, and what waits to be told. A recipient gets what waits in one message.

CREATE TABLE recipients (
    district_id   uuid NOT NULL,
    recipient_id  uuid NOT NULL,
    channel       text NOT NULL CHECK (channel IN ('email', 'webhook')),
    address       text NOT NULL,
    kinds         text[] NOT NULL,           -- held, failed, late, recovered
    secret        bytea,                     -- of a webhook: AES-256-GCM, bound to district, table, column and row
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    waiting       boolean NOT NULL DEFAULT false, -- notices wait
    batch_id      text,                      -- the message that was begun: its notices carry the same id
    attempt       integer NOT NULL DEFAULT 0,
    ready_at      timestamptz NOT NULL DEFAULT now(),
    failing_since timestamptz,
    last_failed   timestamptz,
    last_error    text,
    last_sent     timestamptz,
    lease_token   uuid,
    lease_until   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, recipient_id),
    UNIQUE (district_id, channel, address)
);
CREATE INDEX recipients_ready ON recipients (ready_at) WHERE state = 'active' AND waiting;

CREATE TABLE notices (                       -- one event for one recipient; no value of any record
    district_id   uuid NOT NULL,
    notice_id     uuid NOT NULL,
    recipient_id  uuid NOT NULL,
    source_id     uuid NOT NULL,
    kind          text NOT NULL,
    code          text NOT NULL,
    times         integer NOT NULL,
    since         timestamptz NOT NULL,
    run_id        uuid,
    at            timestamptz NOT NULL DEFAULT now(),
    batch_id      text,
    sent_at       timestamptz,
    PRIMARY KEY (district_id, notice_id),
    FOREIGN KEY (district_id, recipient_id) REFERENCES recipients (district_id, recipient_id) ON DELETE CASCADE,
    FOREIGN KEY (district_id, source_id) REFERENCES sources (district_id, source_id) ON DELETE CASCADE
);
CREATE INDEX notices_of_recipient ON notices (district_id, recipient_id, at);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['recipients', 'notices']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_service, hub_worker', name);
    END LOOP;
END
$$;

CREATE POLICY queue_of_recipients ON recipients FOR SELECT TO hub_worker USING (true);
CREATE POLICY claim_of_recipients ON recipients FOR UPDATE TO hub_worker USING (true);

-- Support sees how notices are doing, and neither an address nor a secret.
GRANT SELECT (district_id, recipient_id, channel, kinds, state, waiting, attempt, ready_at, failing_since, last_failed,
    last_error, last_sent, lease_until, created_at) ON recipients TO hub_support;
GRANT SELECT ON notices TO hub_support;
