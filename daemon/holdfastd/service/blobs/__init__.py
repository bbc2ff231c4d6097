"""Blobs: what callers may do with them, and the steps of the sweep."""
