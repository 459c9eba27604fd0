-- OneRoster 1.1 beside 1.2: a user has one role there, so that a person with several is several users.
--
-- extra_roles holds, for each grant and role, the people whom the app was ever shown with it beside the role that they
-- were known by: what those users of 1.1 are and were, so that they can be told to be gone. The indexes find what 1.1
-- cannot say: results without a number, and roles of enrollments and users that it has no word for.

CREATE TABLE extra_roles (
    district_id  uuid NOT NULL,
    grant_id     uuid NOT NULL,
    role         text COLLATE "C" NOT NULL,
    people       bytea NOT NULL,
    PRIMARY KEY (district_id, grant_id, role),
    FOREIGN KEY (district_id, grant_id) REFERENCES grants (district_id, grant_id)
);
ALTER TABLE extra_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE extra_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_district ON extra_roles
    USING (district_id = NULLIF(current_setting('hub.district', true), '')::uuid)
    WITH CHECK (district_id = NULLIF(current_setting('hub.district', true), '')::uuid);
GRANT SELECT ON extra_roles TO hub_service, hub_worker;
GRANT INSERT, UPDATE, DELETE ON extra_roles TO hub_service, hub_worker;

CREATE INDEX results_unscored ON results (district_id, rid) WHERE score IS NULL;
CREATE INDEX enrollments_extended ON enrollments (district_id, rid)
    WHERE "role" <> ALL ('{administrator,proctor,student,teacher}'::text[]);
CREATE INDEX users_unsure_role ON users (district_id, rid)
    WHERE NOT (roles_role <@ '{aide,districtAdministrator,guardian,parent,principal,proctor,relative,siteAdministrator,student,systemAdministrator,teacher}'::text[]);
