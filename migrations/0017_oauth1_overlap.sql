-- While a client goes over to another OAuth 1 secret, the one before counts on until a time.

ALTER TABLE clients
    ADD COLUMN oauth1_old_secret bytea,      -- sealed as oauth1_secret is
    ADD COLUMN oauth1_old_until timestamptz,
    ADD CONSTRAINT clients_old_secret CHECK ((oauth1_old_secret IS NULL) = (oauth1_old_until IS NULL));
