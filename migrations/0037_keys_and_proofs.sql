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
