-- Districts that do not exist: one for each app that asks, to try OneRoster and webhooks with.

CREATE TABLE sandboxes (
    app_id            uuid PRIMARY KEY REFERENCES apps (app_id),
    sandbox_district  uuid NOT NULL,
    plan              jsonb NOT NULL,        -- what it is made from: the same plan gives the same bytes
    created_at        timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON sandboxes TO hub_service;
