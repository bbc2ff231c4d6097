"""The inputs of the abuse tier: every method and every form occurs, and the seed and the number make the same input again."""

from __future__ import annotations

from collections import Counter

import pytest
from google.protobuf import message_factory

from tests.abuse import frames, inputs
from tests.abuse.readings import Answer, differences

SEED = "7/fuzz"
INPUTS = [inputs.made(SEED, number) for number in range(1_500)]


def test_an_input_can_be_made_again() -> None:
    assert INPUTS[:50] == [inputs.made(SEED, number) for number in range(50)]
    assert INPUTS[:50] != [inputs.made("8/fuzz", number) for number in range(50)]


def test_every_method_and_every_form_occurs() -> None:
    assert {each.method.full_name for each in INPUTS} == {each.full_name for each in inputs.METHODS}
    assert len(Counter(each.form for each in INPUTS)) == 8


def test_undamaged_inputs_are_valid_messages() -> None:
    for each in INPUTS:
        if each.form == "valid or nearly so":
            request_class = message_factory.GetMessageClass(each.method.input_type)
            assert [request_class.FromString(data).SerializeToString() for data in each.requests] == each.requests


@pytest.mark.parametrize(("size", "length"), [(0, b"\0"), (126, b"\x7e"), (127, b"\x7f\0"), (300, b"\x7f\xad\x01")])
def test_the_length_of_a_header_is_encoded_as_rfc_7541_says(size: int, length: bytes) -> None:
    assert frames.header(b"n", b"v" * size) == b"\0\x01n" + length + b"v" * size


def test_frames_are_found_by_their_type() -> None:
    data = frames.frame(frames.PING, 0, 0, bytes(8)) + frames.frame(frames.RST_STREAM, 0, 1, bytes(4))
    assert frames.has_frame(data, frames.RST_STREAM)
    assert not frames.has_frame(data, frames.GOAWAY)


GOOD = {"list": Answer({"a": "1", "b": "2"})}


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (Answer({"a": "1", "b": "2"}), None),
        (Answer({"a": "1"}, unreadable=1), None),
        (Answer({"a": "1"}, error="DATA_LOSS"), None),
        (Answer({"a": "1", "b": "3"}), "served wrong data"),
        (Answer({"a": "1", "b": "2", "c": "3"}), "served wrong data"),
        (Answer({"a": "1"}), "lacks 1 items"),
        (Answer({}, error="INTERNAL"), "ended with INTERNAL"),
    ],
)
def test_what_counts_as_damage_that_is_served(got: Answer, problem: str | None) -> None:
    found = differences(GOOD, {"list": got})
    assert [problem in each for each in found] == [True] if problem else found == []
