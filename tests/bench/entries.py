"""The entry that all sides write: 200 bytes of content and a role."""

from __future__ import annotations

ROLE = "response"
CONTENT = ("The tests pass; the timeout came from the retry, which waited for a lock that nobody held any more. " * 2)[:200]
