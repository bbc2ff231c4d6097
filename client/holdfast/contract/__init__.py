"""What client and daemon share besides the generated code: kinds, ids, digests, trimming.

The daemon imports nothing else from the client's package.
"""
