"""The connection to the daemon: where it is, how it is reached and started, calls, streams and their retries."""
