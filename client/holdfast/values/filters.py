"""Builds filter expressions (AIP-160)."""

from __future__ import annotations

import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.values.fields import timestamp

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(text: str) -> str:
    """Returns a string as a filter's literal: `filter=f"title = {quoted(title)}"`."""
    return f'"{text.translate(_ESCAPES)}"'


def quoted_time(time: datetime.datetime | Timestamp) -> str:
    """Returns an aware `datetime` as a filter's literal: `filter=f"create_time > {quoted_time(yesterday)}"`."""
    return f'"{timestamp(time).ToJsonString()}"'


def both(one: str, other: str) -> str:
    """Returns the conjunction of two filters. An empty filter matches everything."""
    return f"({one}) AND ({other})" if one and other else one or other


def equal(**values: str | int) -> str:
    """Returns a filter for records whose fields have these values. Empty values are ignored."""
    return " AND ".join(
        f"{name} = {quoted(value) if isinstance(value, str) else value}" for name, value in values.items() if value
    )
