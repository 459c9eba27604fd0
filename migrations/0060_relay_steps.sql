-- The same as relay_batches (0059), with the steps as one JSON text and the bodies one behind the other: for each element
-- of seventeen arrays the driver looked several times what it is, which took as long as the rest of the call.
-- relay_batches stays for workers of the release before; the one after next drops it.

CREATE FUNCTION relay_steps(lease_seconds float8, steps json, bodies bytea)
RETURNS TABLE (subscription_id uuid, lease_token uuid, version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    its uuid;
    its_steps json;
BEGIN
    FOR its, its_steps IN SELECT key, value FROM json_each(steps) LOOP
        EXECUTE format('SET LOCAL hub.district = %L', its);
        RETURN QUERY
        WITH given AS (
            SELECT * FROM json_to_recordset(its_steps)
                AS g(subscription_id uuid, lease_token uuid, version bigint, granted_at timestamptz, taken text,
                    inside jsonb, milliseconds integer, status integer, remote_ip text, excerpt text, batch_id text,
                    window_to bigint, next_inside jsonb, changes integer, sole jsonb, body_at integer, body_size integer)),
        -- A row's xmin is the transaction that wrote it last: with the one that is known nobody has touched the row
        -- since, to edit, replay, pause or end it, or to give its lease to somebody else. A row that somebody is about
        -- to change is passed by: to wait for it would keep all the others.
        same AS (
            SELECT s.subscription_id, s.lease_token FROM subscriptions s
            JOIN given g ON s.subscription_id = g.subscription_id AND s.lease_token = g.lease_token
                AND s.xmin::text::bigint = g.version AND s.batch_id = g.taken
            WHERE s.district_id = its AND s.state = 'active'
            FOR NO KEY UPDATE OF s SKIP LOCKED),
        s AS (
            UPDATE subscriptions s SET inside = g.inside, batch_id = g.batch_id, refused = 0, attempt = 0, quick = 0,
                ready_at = least(s.ready_at, now()), attempted_at = now(), taken_at = now(), failing_since = NULL,
                last_error = NULL, last_status = g.status, lease_until = now() + make_interval(secs => lease_seconds)
            FROM same JOIN given g USING (subscription_id, lease_token), grants o, districts d
            WHERE s.district_id = its AND s.subscription_id = same.subscription_id AND s.lease_token = g.lease_token
                AND o.district_id = its AND o.grant_id = s.grant_id AND o.state = 'active'
                AND o.changed_at = g.granted_at AND o.feed_from <= s.position
                AND d.district_id = its AND d.state = 'active'
            RETURNING s.subscription_id, s.lease_token, s.xmin::text::bigint AS version),
        done AS (
            UPDATE batches b SET delivered_at = now(), body = ''
            FROM s JOIN given g USING (subscription_id, lease_token)
            WHERE b.district_id = its AND b.subscription_id = s.subscription_id AND b.batch_id = g.taken),
        logged AS (
            INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, remote_ip,
                excerpt)
            SELECT its, s.subscription_id, g.taken, 1, g.milliseconds, g.status, g.remote_ip::inet, g.excerpt
            FROM s JOIN given g USING (subscription_id, lease_token)),
        frozen AS (
            INSERT INTO batches (district_id, subscription_id, batch_id, window_to, inside, changes, body, sole)
            SELECT its, s.subscription_id, g.batch_id, g.window_to, g.next_inside, g.changes,
                substring(bodies FROM g.body_at FOR g.body_size), g.sole
            FROM s JOIN given g USING (subscription_id, lease_token))
        SELECT s.subscription_id, s.lease_token, s.version FROM s;
    END LOOP;
    SET LOCAL hub.district = '';
END
$$;
REVOKE ALL ON FUNCTION relay_steps FROM PUBLIC;
GRANT EXECUTE ON FUNCTION relay_steps TO hub_worker;
