"""Blobs: contents named by digest, their sources, and the upload of contexts as differences from the previous one."""
