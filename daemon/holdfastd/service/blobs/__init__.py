"""Blobs: Put, Get, Stat, verify and the sweep."""
