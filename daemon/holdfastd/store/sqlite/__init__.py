"""What only SQLite says: how it is opened, its dialect, its log and its space."""
