-- Tables that came after step 12 compared a written row's district with the setting as it is read for each row; as a
-- subquery it is read once for each statement.

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT tablename FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'of_the_district'
    LOOP
        EXECUTE format(
            'ALTER POLICY of_the_district ON %I WITH CHECK '
            '(district_id = (SELECT NULLIF(current_setting(''hub.district'', true), '''')::uuid))', name);
    END LOOP;
END
$$;
