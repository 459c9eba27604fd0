-- An app that holds grants in many districts is answered from all of them at one address. Which districts these are is
-- looked up by the app: grants hold no roster data, and the setting is made by one helper, as that of the district is.

CREATE POLICY grants_of_the_app ON grants FOR SELECT TO hub_service
    USING (app_id = NULLIF(current_setting('hub.app', true), '')::uuid);
