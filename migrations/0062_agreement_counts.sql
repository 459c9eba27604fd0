-- What counts against an agreement's limit is kept for its time, whatever either end does: findings are closed where
-- they were removed, a record that becomes another person's counts once more, and an end's people are not fewer in the
-- count because its tokens are being made anew.

ALTER TABLE agreement_sides ADD COLUMN people integer NOT NULL DEFAULT 0; -- with tokens, the most that there were
ALTER TABLE agreement_tokens ADD COLUMN who bigint; -- digest of what the person's tokens are made of, of this end alone
ALTER TABLE agreement_findings
    ADD COLUMN who bigint,                          -- of its tokens when it was found; 0: taken away
    ADD COLUMN times integer NOT NULL DEFAULT 1,    -- how many it counts as
    ADD COLUMN counted_at timestamptz NOT NULL DEFAULT now();

GRANT UPDATE (closed_at, who) ON agreement_findings TO hub_worker;
CREATE POLICY of_the_agreement_read ON agreement_sides FOR SELECT TO hub_owner
    USING (agreement_id = NULLIF(current_setting('hub.agreement', true), '')::uuid);

-- As in 0055, but for the number of an end's people.
CREATE OR REPLACE FUNCTION agreement_settle(which uuid, changed integer[], allowed integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp SET enable_nestloop = off AS $$
DECLARE
    mine uuid := NULLIF(current_setting('hub.district', true), '')::uuid;
    theirs uuid;
    share integer;
    side uuid;
    other uuid;
    tokens bytea[];
    people integer[];
    shared integer[];
    found bigint;
    too_many boolean := false;
BEGIN
    SELECT CASE g.district_id WHEN mine THEN g.partner_id ELSE g.district_id END, g.most_share INTO theirs, share
        FROM agreements g WHERE g.agreement_id = which AND mine IN (g.district_id, g.partner_id)
        AND g.state = 'active' AND coalesce(g.until > now(), true);
    IF theirs IS NULL THEN
        RETURN false;
    END IF;
    PERFORM set_config('hub.agreement', which::text, true);
    FOREACH side IN ARRAY ARRAY[mine, theirs]
    LOOP
        other := CASE side WHEN mine THEN theirs ELSE mine END;
        IF changed IS NULL THEN
            shared := ARRAY(SELECT DISTINCT t.rid FROM agreement_tokens t JOIN agreement_tokens o ON o.token = t.token
                WHERE t.district_id = side AND t.agreement_id = which
                    AND o.district_id = other AND o.agreement_id = which
                    AND t.left_at IS NULL AND (o.left_at IS NOT NULL OR o.since < t.since));
        ELSE -- those who changed, or share a token with one who did; and those who were found before
            people := changed;
            IF side = theirs THEN
                tokens := ARRAY(SELECT DISTINCT t.token FROM agreement_tokens t
                    WHERE t.district_id = mine AND t.agreement_id = which AND t.rid = ANY(changed));
                people := ARRAY(SELECT DISTINCT t.rid FROM agreement_tokens t
                    WHERE t.district_id = theirs AND t.agreement_id = which AND t.token = ANY(tokens));
            END IF;
            people := people || ARRAY(SELECT f.rid FROM agreement_findings f
                WHERE f.district_id = side AND f.agreement_id = which AND f.closed_at IS NULL);
            tokens := ARRAY(SELECT DISTINCT t.token FROM agreement_tokens t
                WHERE t.district_id = side AND t.agreement_id = which AND t.rid = ANY(people));
            shared := ARRAY(SELECT DISTINCT t.rid FROM agreement_tokens t JOIN agreement_tokens o ON o.token = t.token
                WHERE t.district_id = side AND t.agreement_id = which AND t.rid = ANY(people)
                    AND o.district_id = other AND o.agreement_id = which AND o.token = ANY(tokens)
                    AND t.left_at IS NULL AND (o.left_at IS NOT NULL OR o.since < t.since));
        END IF;
        UPDATE agreement_findings f SET closed_at = now() WHERE f.district_id = side AND f.agreement_id = which
            AND f.closed_at IS NULL AND f.rid <> ALL (shared);
        INSERT INTO agreement_findings AS f (district_id, agreement_id, rid, who)
            SELECT side, which, t.rid, min(t.who) FROM agreement_tokens t WHERE t.district_id = side
                AND t.agreement_id = which AND t.rid = ANY(shared) AND t.left_at IS NULL GROUP BY t.rid
            ON CONFLICT (district_id, agreement_id, rid) DO UPDATE SET closed_at = NULL, who = EXCLUDED.who,
                times = CASE WHEN coalesce(f.who, EXCLUDED.who) IS NOT DISTINCT FROM EXCLUDED.who THEN f.times
                    WHEN f.counted_at > now() - interval '30 days' THEN f.times + 1 ELSE 1 END,
                counted_at = CASE WHEN coalesce(f.who, EXCLUDED.who) IS NOT DISTINCT FROM EXCLUDED.who
                    THEN f.counted_at ELSE now() END
            WHERE f.closed_at IS NOT NULL OR f.who IS DISTINCT FROM EXCLUDED.who;
        DELETE FROM agreement_findings f WHERE f.district_id = side AND f.agreement_id = which
            AND f.closed_at < now() - interval '30 days' AND f.counted_at < now() - interval '30 days';
        SELECT coalesce(sum(f.times), 0) INTO found FROM agreement_findings f WHERE f.district_id = side
            AND f.agreement_id = which AND f.counted_at > now() - interval '30 days';
        IF found > allowed THEN
            too_many := too_many OR found * 100 > share * greatest(
                (SELECT s.people FROM agreement_sides s WHERE s.district_id = side AND s.agreement_id = which),
                (SELECT count(DISTINCT t.rid) FROM agreement_tokens t
                    WHERE t.district_id = side AND t.agreement_id = which AND t.left_at IS NULL));
        END IF;
    END LOOP;
    PERFORM set_config('hub.agreement', '', true);
    RETURN too_many;
END
$$;

-- Removes the tokens of both ends and closes their findings: what was found counts on, and is not found anew.
CREATE FUNCTION agreement_anew(which uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    mine uuid := NULLIF(current_setting('hub.district', true), '')::uuid;
    ends uuid[];
BEGIN
    SELECT ARRAY[g.district_id, g.partner_id] INTO ends FROM agreements g
        WHERE g.agreement_id = which AND mine IN (g.district_id, g.partner_id);
    PERFORM set_config('hub.agreement', which::text, true);
    DELETE FROM agreement_tokens t WHERE t.district_id = ANY(ends) AND t.agreement_id = which;
    UPDATE agreement_findings f SET closed_at = now()
        WHERE f.district_id = ANY(ends) AND f.agreement_id = which AND f.closed_at IS NULL;
    PERFORM set_config('hub.agreement', '', true);
END
$$;

-- As in 0055, with those who were told about within 30 days: an end that takes one of its people out, or exempts
-- somebody, sees by the count that it was one of them otherwise.
CREATE OR REPLACE FUNCTION agreement_told(which uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    mine uuid := NULLIF(current_setting('hub.district', true), '')::uuid;
    theirs uuid;
    told integer;
BEGIN
    SELECT CASE g.district_id WHEN mine THEN g.partner_id ELSE g.district_id END INTO theirs FROM agreements g
        WHERE g.agreement_id = which AND mine IN (g.district_id, g.partner_id);
    PERFORM set_config('hub.agreement', which::text, true);
    SELECT count(*) / 10 * 10 INTO told FROM agreement_findings f WHERE f.district_id = theirs
        AND f.agreement_id = which AND coalesce(f.closed_at > now() - interval '30 days', true);
    PERFORM set_config('hub.agreement', '', true);
    RETURN told;
END
$$;

REVOKE ALL ON FUNCTION agreement_anew(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION agreement_anew(uuid) TO hub_service;
