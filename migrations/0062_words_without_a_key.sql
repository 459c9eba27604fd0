-- A statement is written for each record and source, as source_records is, which has no foreign key either: to look its
-- source up again for each of them was more than half of what writing it took. Nothing ever deletes
-- a source.

ALTER TABLE statements DROP CONSTRAINT statements_district_id_source_id_fkey;
