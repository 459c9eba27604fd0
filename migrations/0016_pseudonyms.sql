-- A grant may show ids of its own in the places of the hub's. They follow from a key that is made with the grant and never
-- changes; it is sealed, and NULL where the app is shown the hub's own ids.

ALTER TABLE grants ADD COLUMN id_key bytea;

-- Support looks at grants, but has no use for a key, even for a sealed one.
REVOKE SELECT ON grants FROM hub_support;
GRANT SELECT (district_id, grant_id, app_id, definition, state, position, created_at, changed_at) ON grants TO hub_support;
