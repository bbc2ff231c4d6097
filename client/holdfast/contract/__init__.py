"""Code that client and daemon share besides the generated code: kinds, ids, API versions, digests, common prefixes.

The daemon imports nothing else from the client's package.
"""
