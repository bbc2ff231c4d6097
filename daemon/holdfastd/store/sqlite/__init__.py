"""The engine of SQLite, and the only importer of sqlcipher3: connections, dialect, errors, migrations, checkpoints, space."""
