-- What operators and app developers see of deliveries, and whom it is told.

-- Attempts: where it went, what came back, and whether it was a test. -----------------------------------------------

ALTER TABLE attempts
    ADD COLUMN remote_ip   inet,             -- that was dialled; NULL where none was that may be
    ADD COLUMN excerpt     text,             -- of the answer: printable, 2 kB at most
    ADD COLUMN retry_after real,             -- seconds that the receiver asked to wait
    ADD COLUMN test        boolean NOT NULL DEFAULT false;
CREATE INDEX attempts_by_time ON attempts (district_id, subscription_id, at);

-- A receiver's answer is its owner's to see, and nobody else's.
REVOKE SELECT ON attempts FROM hub_support;
GRANT SELECT (district_id, subscription_id, batch_id, attempt, at, milliseconds, status, error_class, remote_ip,
    retry_after, test) ON attempts TO hub_support;

-- Notices: of subscriptions beside sources, and to apps beside districts. --------------------------------------------

ALTER TABLE subscriptions ADD COLUMN failing_told timestamptz; -- that its receiver fails was told; until it is well again

-- An app's own recipients stand under the nil UUID and hear of its subscriptions in all districts.
ALTER TABLE recipients
    ADD COLUMN app_id uuid,
    DROP CONSTRAINT recipients_district_id_channel_address_key,
    ADD CONSTRAINT recipients_of_whom
        CHECK ((app_id IS NOT NULL) = (district_id = '00000000-0000-0000-0000-000000000000'));
CREATE UNIQUE INDEX recipients_once ON recipients
    (district_id, channel, address, coalesce(app_id, '00000000-0000-0000-0000-000000000000'));

ALTER TABLE notices
    ADD COLUMN happened_in     uuid,         -- another district than that of the recipient: of an app's recipient
    ADD COLUMN subscription_id uuid,
    ADD COLUMN app_id          uuid,         -- whose subscription it is
    ALTER COLUMN source_id DROP NOT NULL,
    ADD CONSTRAINT notices_of_one CHECK (num_nonnulls(source_id, subscription_id) = 1);
CREATE INDEX notices_waiting ON notices (district_id, recipient_id, at) WHERE sent_at IS NULL;

-- In a district's transaction those apps' recipients are to be found that hold a grant there, and are told what happened.
CREATE POLICY of_its_apps ON recipients FOR SELECT TO hub_service
    USING (app_id IN (SELECT g.app_id FROM grants g
                      WHERE g.district_id = NULLIF(current_setting('hub.district', true), '')::uuid));
CREATE POLICY to_its_apps ON notices FOR INSERT TO hub_service, hub_worker
    WITH CHECK (happened_in = NULLIF(current_setting('hub.district', true), '')::uuid
                AND district_id = '00000000-0000-0000-0000-000000000000');
CREATE POLICY queue_of_notices ON notices FOR SELECT TO hub_worker
    USING (district_id = '00000000-0000-0000-0000-000000000000');

-- Metrics: a worker that says so sees how far feeds are, over all districts. ------------------------------------------

CREATE POLICY watched ON grants FOR SELECT TO hub_worker USING (current_setting('hub.watching', true) = 'on');
CREATE POLICY watched ON feed FOR SELECT TO hub_worker USING (current_setting('hub.watching', true) = 'on');
CREATE POLICY watched ON parked FOR SELECT TO hub_worker USING (current_setting('hub.watching', true) = 'on');
