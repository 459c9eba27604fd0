-- What an app may ask of the hub, where it differs from the operator's settings (hub/api/limits.py).

ALTER TABLE apps ADD COLUMN limits jsonb NOT NULL DEFAULT '{}';
