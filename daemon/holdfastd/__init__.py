"""Holdfast's daemon: one process that owns a store and serves it on a Unix socket."""

__version__ = "0.1.0"

# The versions of the API (package holdfast.v1) that this daemon speaks. MAX is the highest `since` in proto/.
MIN_API_VERSION = 1
MAX_API_VERSION = 4
