-- What sources say is kept in a key that ends with (entity, rid). As text in the order of the alphabet, most of a first
-- load's rows went into the middle of that index; in the order in which entities are loaded they are appended to its end,
-- and a fixed width takes a sixth off it.

CREATE TYPE entity_name AS ENUM (
    'orgs', 'academicSessions', 'resources', 'courses', 'classes', 'users', 'enrollments', 'demographics',
    'categories', 'scoreScales', 'lineItems', 'results', 'assessmentLineItems', 'assessmentResults'
);

ALTER TABLE source_records ALTER COLUMN entity TYPE entity_name USING entity::entity_name;
