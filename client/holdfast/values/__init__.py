"""Conversion between Python values and messages: fields, JSON, entries, filters, mutations. Nothing here calls the daemon."""
