-- What waits to be sent, after an edit of the grant and after a backup was restored.

ALTER TABLE batches ADD COLUMN granted_at timestamptz; -- of one that holds records: when the grant had last changed

-- Its receiver may know of steps that the database has not, or has otherwise: it is told to read everything again.
ALTER TABLE subscriptions ADD COLUMN set_back boolean NOT NULL DEFAULT false;
