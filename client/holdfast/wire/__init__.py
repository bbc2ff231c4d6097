"""The connection to the daemon: its address, starting it, the API version, calls, streams and their retries."""
