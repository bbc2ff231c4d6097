"""The engine of SQLite: connections, dialect, errors, migrations, checkpoints. Only this package imports sqlcipher3."""
