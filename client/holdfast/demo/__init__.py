"""The demo: agent processes that share one store, one of them and the daemon killed in the middle, and a proof at the end.

`python -m holdfast.demo` runs it. Uses the public client only, and is an example of how an agent works with it.
"""
