"""SQL: everything that is kept in the database. The only importer of sqlcipher3."""
