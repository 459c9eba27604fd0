-- More ways for a client to prove itself: assertions that its private key signs (RFC 7523) instead of a secret, and
-- requests that are signed with OAuth 1.0a (RFC 5849), switched on for single clients.

ALTER TABLE clients
    ALTER COLUMN secret_hash DROP NOT NULL,
    ADD COLUMN jwks jsonb,                   -- public keys (RFC 7517); such a client has no secret
    ADD COLUMN oauth1_secret bytea,          -- AES-256-GCM, bound to table, column and row; NULL: OAuth 1 is off
    ADD CONSTRAINT clients_one_method CHECK ((secret_hash IS NULL) = (jwks IS NOT NULL));

-- Both are memories against replay. A row outlives the time in which what it remembers would be accepted, whatever the
-- settings say (hub/store/replays.py); the keys make the one who writes it first the only one.

CREATE TABLE oauth1_nonces (
    client_id  text COLLATE "C" NOT NULL,
    sent_at    timestamptz NOT NULL,         -- oauth_timestamp
    nonce      bytea NOT NULL,               -- SHA-256 of oauth_nonce
    PRIMARY KEY (client_id, sent_at, nonce)
);
CREATE INDEX oauth1_nonces_age ON oauth1_nonces (sent_at);

CREATE TABLE client_assertions (
    client_id   text COLLATE "C" NOT NULL,
    jti         bytea NOT NULL,              -- SHA-256 of the assertion's jti
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX client_assertions_age ON client_assertions (expires_at);

GRANT SELECT, INSERT, DELETE ON oauth1_nonces, client_assertions TO hub_service;
