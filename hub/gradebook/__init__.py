"""Writing the gradebook: what apps put, post and delete becomes records, views and feeds in one transaction."""
