"""SQL: everything that is kept in the database. What only one engine says is in the package of that engine."""
