"""Blobs: content by digest, where it comes from, and contexts sent as the difference from the one before."""
