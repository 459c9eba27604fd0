-- The same as relay_steps (0060), for all districts in one statement: where it went from district to district, most of
-- its time was to begin and to end the statement for each of them. relay_steps stays for workers of the release before;
-- the one after next drops it.

-- What it may see and write is the districts that it names, and nothing else: the setting ends with its transaction.
-- Each statement reads it once.
DO $$
DECLARE
    its_districts text := '(district_id = ANY ((SELECT string_to_array('
        'NULLIF(current_setting(''hub.relayed'', true), ''''), '','')::uuid[])::uuid[]))';
BEGIN
    EXECUTE format('CREATE POLICY relayed ON grants FOR SELECT TO hub_worker USING %s', its_districts);
    EXECUTE format('CREATE POLICY relayed ON attempts FOR INSERT TO hub_worker WITH CHECK %s', its_districts);
    EXECUTE format('CREATE POLICY relayed_to ON batches FOR INSERT TO hub_worker WITH CHECK %s', its_districts);
    EXECUTE format('CREATE POLICY relayed ON batches FOR SELECT TO hub_worker USING %s', its_districts);
    EXECUTE format('CREATE POLICY relayed_from ON batches FOR UPDATE TO hub_worker USING %s', its_districts);
END
$$;

-- A frozen batch of a hundred ids is a little over 2 kB, lives for as long as its request takes, and is emptied: beside
-- the table it cost two rows with their index entries each time.
ALTER TABLE batches SET (toast_tuple_target = 8160);

CREATE FUNCTION relay_together(districts text, lease_seconds float8, steps json, bodies bytea)
RETURNS TABLE (subscription_id uuid, lease_token uuid, version bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('hub.relayed', districts, true);
    RETURN QUERY
    WITH given AS (
        SELECT * FROM json_to_recordset(steps)
            AS g(district_id uuid, subscription_id uuid, lease_token uuid, version bigint, granted_at timestamptz,
                taken text, attempt integer, inside jsonb, milliseconds integer, status integer, remote_ip text, excerpt text,
                batch_id text, window_to bigint, next_inside jsonb, changes integer, sole jsonb, body_at integer,
                body_size integer)),
    -- A row's xmin is the transaction that wrote it last: with the one that is known nobody has touched the row
    -- since, to edit, replay, pause or end it, or to give its lease to somebody else. A row that somebody is about
    -- to change is passed by: to wait for it would keep all the others.
    same AS (
        SELECT s.district_id, s.subscription_id, s.lease_token FROM subscriptions s
        JOIN given g ON s.district_id = g.district_id AND s.subscription_id = g.subscription_id
            AND s.lease_token = g.lease_token AND s.xmin::text::bigint = g.version AND s.batch_id = g.taken
        WHERE s.state = 'active'
        FOR NO KEY UPDATE OF s SKIP LOCKED),
    s AS (
        UPDATE subscriptions s SET inside = g.inside, batch_id = g.batch_id, refused = 0, attempt = 0, quick = 0,
            ready_at = least(s.ready_at, now()), attempted_at = now(), taken_at = now(), failing_since = NULL,
            last_error = NULL, last_status = g.status, lease_until = now() + make_interval(secs => lease_seconds)
        FROM same JOIN given g USING (district_id, subscription_id, lease_token), grants o, districts d
        WHERE s.district_id = same.district_id AND s.subscription_id = same.subscription_id
            AND s.lease_token = g.lease_token
            AND o.district_id = same.district_id AND o.grant_id = s.grant_id AND o.state = 'active'
            AND o.changed_at = g.granted_at AND o.feed_from <= s.position
            AND d.district_id = same.district_id AND d.state = 'active'
        RETURNING s.district_id, s.subscription_id, s.lease_token, s.xmin::text::bigint AS version),
    done AS (
        UPDATE batches b SET delivered_at = now(), body = ''
        FROM s JOIN given g USING (district_id, subscription_id, lease_token)
        WHERE b.district_id = s.district_id AND b.subscription_id = s.subscription_id AND b.batch_id = g.taken),
    logged AS (
        INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, remote_ip,
            excerpt)
        SELECT s.district_id, s.subscription_id, g.taken, g.attempt, g.milliseconds, g.status, g.remote_ip::inet, g.excerpt
        FROM s JOIN given g USING (district_id, subscription_id, lease_token)),
    frozen AS (
        INSERT INTO batches (district_id, subscription_id, batch_id, window_to, inside, changes, body, sole)
        SELECT s.district_id, s.subscription_id, g.batch_id, g.window_to, g.next_inside, g.changes,
            substring(bodies FROM g.body_at FOR g.body_size), g.sole
        FROM s JOIN given g USING (district_id, subscription_id, lease_token))
    SELECT s.subscription_id, s.lease_token, s.version FROM s;
    PERFORM set_config('hub.relayed', '', true);
END
$$;
REVOKE ALL ON FUNCTION relay_together FROM PUBLIC;
GRANT EXECUTE ON FUNCTION relay_together TO hub_worker;
