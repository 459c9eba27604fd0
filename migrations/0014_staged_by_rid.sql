-- A first load takes its rows from staging piece by piece, and runs of several districts share the tables: each finds its
-- own rows by an index, to whose end they are appended. Unlogged tables have unlogged indexes.

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname LIKE 'staging\_%'
    LOOP
        EXECUTE format('CREATE INDEX %I ON %I (run_id, rid)', name || '_rows', name);
    END LOOP;
END
$$;
