"""Methods that only some kinds have, and views that combine several kinds."""
