"""The writing halves of the store's collections, for steps of a transaction."""
