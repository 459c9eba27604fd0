"""PostgreSQL: the only room that speaks SQL. It queries and writes; it never decides."""
