"""Long error texts: gRPC limits the size of trailing metadata, and drops code and details above the limit."""

from __future__ import annotations

import pytest

import holdfast


@pytest.mark.parametrize("text", ["漢" * 2_000, "x" * 100_000, '"\\' * 4_000], ids=["three bytes each", "long", "escaped"])
def test_an_error_about_a_long_value_keeps_its_code_and_reason(store: holdfast.Store, text: str) -> None:
    store.tasks.create(title="t")
    for _ in range(5):  # above its soft limit gRPC refuses at random
        with pytest.raises(holdfast.InvalidArgument) as caught:
            store.tasks.create(title="t", status=text)
        assert caught.value.reason == "VALUE_INVALID"
        assert caught.value.metadata["field"] == "status"
    for id in (text[:200], "x" * 5_000):
        with pytest.raises(holdfast.HoldfastError) as missing:
            store.tasks.get(id)
        assert missing.value.reason in ("RECORD_NOT_FOUND", "VALUE_INVALID", "TOO_LARGE")
