-- Webhooks are signed with v1, with v1a, or with both. The public keys are shown at any time; the private ones stand
-- sealed in "secret", beside the symmetric ones.
ALTER TABLE subscriptions
    ADD COLUMN signatures   text[] NOT NULL DEFAULT '{v1}'
        CHECK (signatures <@ '{v1,v1a}' AND cardinality(signatures) > 0),
    ADD COLUMN public_keys  jsonb NOT NULL DEFAULT '[]';  -- {"key": "whpk_…", "until": null or the overlap's end}

-- Mutual TLS: what a receiver is shown. The chain and its key are sealed as one text; the other two may be seen.
ALTER TABLE subscriptions
    ADD COLUMN certificate             bytea,
    ADD COLUMN certificate_subject     text,
    ADD COLUMN certificate_expires_at  timestamptz;

-- A subscription is unproven until its receiver has repeated a word that it was sent; until then it is sent nothing.
ALTER TABLE subscriptions
    DROP CONSTRAINT subscriptions_state_check,
    ADD CONSTRAINT subscriptions_state_check CHECK (state IN ('unproven', 'active', 'paused', 'disabled'));

-- What columns are encrypted with. A key stands here as master keys wrap it: under each of them, while one replaces
-- another, so that workers with either go on. The hub's own keys stand under the nil UUID.
CREATE TABLE data_keys (
    district_id  uuid NOT NULL,
    key_id       uuid NOT NULL,
    purpose      text NOT NULL CHECK (purpose IN ('columns', 'walks', 'erasures')),
    encryptions  bigint NOT NULL DEFAULT 0,   -- counted ahead, in blocks: never less than there were
    wrapped      jsonb NOT NULL CHECK (jsonb_typeof(wrapped) = 'object' AND wrapped <> '{}'),  -- name of a master key -> base64
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, key_id)
);
CREATE UNIQUE INDEX data_keys_fixed ON data_keys (district_id, purpose) WHERE purpose <> 'columns';

ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE data_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON data_keys
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
-- Consumers of OAuth 1 are looked up before the district is known, and their secrets are the hub's.
CREATE POLICY of_the_hub ON data_keys FOR SELECT TO hub_service, hub_worker
    USING (district_id = '00000000-0000-0000-0000-000000000000');
GRANT SELECT, INSERT, UPDATE ON data_keys TO hub_service, hub_worker;
