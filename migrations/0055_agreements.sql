-- Agreements of two districts: that the hub may tell of a pupil whether the other one has, or had, a record of the same
-- person. Off by default: without an agreement that both have accepted there is no key and no token.

CREATE TABLE agreements (                    -- terms, which both ends read; nothing about people
    district_id    uuid NOT NULL,            -- who proposed it
    agreement_id   uuid NOT NULL,
    partner_id     uuid NOT NULL,            -- who was asked
    state          text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'active', 'ended')),
    roles          text[] NOT NULL,          -- kinds of people
    identifiers    text[] NOT NULL,          -- types of ids that mean the same in both districts
    remember_days  integer NOT NULL,         -- how long tokens of people who left stay
    most_share     integer NOT NULL,         -- per cent of an end's people that may be found within a month
    until          timestamptz,
    revision       integer NOT NULL DEFAULT 1, -- grows with each new key
    proposed_at    timestamptz NOT NULL DEFAULT now(),
    accepted_at    timestamptz,
    ended_at       timestamptz,
    ended_by       uuid,                     -- the district; the nil UUID: the hub
    ended_because  text,
    PRIMARY KEY (district_id, agreement_id),
    CHECK (district_id <> partner_id)
);
CREATE INDEX agreements_partner ON agreements (partner_id);

CREATE TABLE agreement_keys (                -- of the agreement and of neither end; gone with its end
    agreement_id  uuid PRIMARY KEY,
    key           bytea NOT NULL             -- sealed with the hub's data key
);

CREATE TABLE agreement_sides (               -- what one end says for itself, and how far its tokens are
    district_id    uuid NOT NULL,
    agreement_id   uuid NOT NULL,
    schools        uuid[],                   -- sourcedIds; NULL: all
    revision       integer NOT NULL DEFAULT 0, -- grows whenever tokens that are being made would be out of date
    tokens_to      bigint,                   -- position; NULL: all anew
    tokens_key     integer,                  -- revision of the agreement's key
    tokens_scheme  integer,                  -- version of what tokens are made of
    looked_at      timestamptz,
    leased_until   timestamptz,
    people         integer NOT NULL DEFAULT 0, -- with tokens, the most that there were
    PRIMARY KEY (district_id, agreement_id)
);

CREATE TABLE agreement_tokens (
    district_id   uuid NOT NULL,
    agreement_id  uuid NOT NULL,
    token         bytea NOT NULL,            -- HMAC-SHA-256 under the agreement's key, the first 16 bytes
    rid           integer NOT NULL,          -- of users
    since         timestamptz NOT NULL,      -- when the record came
    left_at       timestamptz,               -- NULL: it is there
    who           bigint,                    -- digest of what the person's tokens are made of, of this end alone
    PRIMARY KEY (district_id, agreement_id, token, rid)
);
CREATE INDEX agreement_tokens_rid ON agreement_tokens (district_id, agreement_id, rid);

CREATE TABLE agreement_findings (            -- people of one's own of whom the other end has a record
    district_id   uuid NOT NULL,
    agreement_id  uuid NOT NULL,
    rid           integer NOT NULL,          -- of users
    found_at      timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,               -- it is not so any more
    asked_at      timestamptz,               -- somebody has asked the other end
    asked_by      text,
    who           bigint,                    -- of its tokens when it was found; 0: taken away
    times         integer NOT NULL DEFAULT 1, -- how many it counts as
    counted_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (district_id, agreement_id, rid)
);

DO $$
DECLARE
    name text;
    its_district text := '(district_id = NULLIF(current_setting(''hub.district'', true), '''')::uuid)';
BEGIN
    FOREACH name IN ARRAY ARRAY['agreements', 'agreement_sides', 'agreement_tokens', 'agreement_findings']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_the_district ON %I USING %s WITH CHECK %s', name, its_district, its_district);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['agreement_tokens', 'agreement_findings']
    LOOP -- for the functions below, which run as the owner; nobody logs in as that
        EXECUTE format('CREATE POLICY of_the_agreement_read ON %I FOR SELECT TO hub_owner USING '
            '(agreement_id = NULLIF(current_setting(''hub.agreement'', true), '''')::uuid)', name);
        EXECUTE format('CREATE POLICY of_the_agreement_clear ON %I FOR DELETE TO hub_owner USING '
            '(agreement_id = NULLIF(current_setting(''hub.agreement'', true), '''')::uuid)', name);
    END LOOP;
END
$$;
CREATE POLICY of_the_partner ON agreements FOR SELECT TO hub_service, hub_owner
    USING (partner_id = NULLIF(current_setting('hub.district', true), '')::uuid);
CREATE POLICY of_the_partner_edit ON agreements FOR UPDATE TO hub_service, hub_worker
    USING (partner_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (partner_id = NULLIF(current_setting('hub.district', true), '')::uuid);
CREATE POLICY queue ON agreements FOR SELECT TO hub_worker USING (true);
CREATE POLICY queue ON agreement_sides FOR SELECT TO hub_worker USING (true);
CREATE POLICY of_the_agreement_read ON agreement_sides FOR SELECT TO hub_owner
    USING (agreement_id = NULLIF(current_setting('hub.agreement', true), '')::uuid);
CREATE POLICY of_the_agreement_open ON agreement_findings FOR INSERT TO hub_owner
    WITH CHECK (agreement_id = NULLIF(current_setting('hub.agreement', true), '')::uuid);
CREATE POLICY of_the_agreement_close ON agreement_findings FOR UPDATE TO hub_owner
    USING (agreement_id = NULLIF(current_setting('hub.agreement', true), '')::uuid)
    WITH CHECK (agreement_id = NULLIF(current_setting('hub.agreement', true), '')::uuid);
CREATE POLICY of_the_agreement ON audit FOR INSERT TO hub_owner
    WITH CHECK (object = 'agreement/' || NULLIF(current_setting('hub.agreement', true), ''));

GRANT SELECT, INSERT ON agreements TO hub_service;
GRANT SELECT ON agreements TO hub_worker;
GRANT UPDATE (state, revision, accepted_at, ended_at, ended_by, ended_because) ON agreements TO hub_service;
GRANT UPDATE (state, ended_at, ended_by, ended_because) ON agreements TO hub_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON agreement_keys TO hub_service;
GRANT SELECT, UPDATE, DELETE ON agreement_keys TO hub_worker;
GRANT SELECT, INSERT, UPDATE ON agreement_sides TO hub_service;
GRANT SELECT, UPDATE ON agreement_sides TO hub_worker;
GRANT SELECT, DELETE ON agreement_tokens TO hub_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON agreement_tokens TO hub_worker;
GRANT SELECT, UPDATE, DELETE ON agreement_findings TO hub_service;
GRANT SELECT, DELETE ON agreement_findings TO hub_worker;
GRANT UPDATE (closed_at, who) ON agreement_findings TO hub_worker;

-- hub.agreement says to the owner's policies which agreement a function works on; it is taken back at each end (an error
-- rolls it back). Nobody but the owner has a policy that asks for it.

-- The one place where rows of two districts meet. Whoever calls has to be an end of the agreement, and is told nothing
-- but whether more was found than the terms allow. A record that is there is told of one that left, or that came before.
-- What counts against that limit is kept for its time, whatever either end does: findings are closed and not removed, a
-- record that becomes another person's counts once more, and an end's people are not fewer while its tokens are made anew.
-- Of tokens that were written just now the planner knows nothing, and would look at each of one end for each of the
-- other; so it has no nested loops, and few people are asked for by arrays of their tokens.
CREATE FUNCTION agreement_settle(which uuid, changed integer[], allowed integer) RETURNS boolean
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

-- Removes the tokens and findings of both ends.
CREATE FUNCTION agreement_clear(which uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    mine uuid := NULLIF(current_setting('hub.district', true), '')::uuid;
    ends uuid[];
BEGIN
    SELECT ARRAY[g.district_id, g.partner_id] INTO ends FROM agreements g
        WHERE g.agreement_id = which AND mine IN (g.district_id, g.partner_id);
    PERFORM set_config('hub.agreement', which::text, true);
    DELETE FROM agreement_tokens t WHERE t.district_id = ANY(ends) AND t.agreement_id = which;
    DELETE FROM agreement_findings f WHERE f.district_id = ANY(ends) AND f.agreement_id = which;
    PERFORM set_config('hub.agreement', '', true);
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

-- Notes in the other end's audit log what this one has done.
CREATE FUNCTION agreement_tell(which uuid, what text, because text, by_hub boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    mine uuid := NULLIF(current_setting('hub.district', true), '')::uuid;
    theirs uuid;
BEGIN
    SELECT CASE g.district_id WHEN mine THEN g.partner_id ELSE g.district_id END INTO theirs FROM agreements g
        WHERE g.agreement_id = which AND mine IN (g.district_id, g.partner_id);
    IF theirs IS NULL OR what NOT LIKE 'agreement.%' THEN
        RETURN;
    END IF;
    PERFORM set_config('hub.agreement', which::text, true);
    INSERT INTO audit (district_id, actor, action, object, details) VALUES (
        theirs, CASE WHEN by_hub THEN 'hub' ELSE 'district:' || mine END, what, 'agreement/' || which,
        CASE WHEN because IS NULL THEN '{}' ELSE jsonb_build_object('because', because) END);
    PERFORM set_config('hub.agreement', '', true);
END
$$;

-- How many people of an end were told about, for the end that was asked: none below ten, and then in tens; with those of
-- the last 30 days, or an end that takes one of its people out, or exempts somebody, would see by it that it was one.
CREATE FUNCTION agreement_told(which uuid) RETURNS integer
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

REVOKE ALL ON FUNCTION agreement_settle(uuid, integer[], integer), agreement_clear(uuid),
    agreement_anew(uuid), agreement_tell(uuid, text, text, boolean), agreement_told(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION agreement_settle(uuid, integer[], integer), agreement_clear(uuid),
    agreement_tell(uuid, text, text, boolean) TO hub_service, hub_worker;
GRANT EXECUTE ON FUNCTION agreement_told(uuid), agreement_anew(uuid) TO hub_service;
