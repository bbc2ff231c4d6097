"""The demo: agent processes share one store; one agent and the daemon are killed; a proof compares the store with the notes.

`python -m holdfast.demo` runs it. It uses only the public client, so it is also an example of an agent's code.
"""
