"""All SQL of the store, for every engine. What is specific to one engine is in its package (`store/sqlite`)."""
