"""The inputs of the abuse tier: every method and every form occurs, and the seed and the number make the same input again."""

from __future__ import annotations

import pytest
from google.protobuf import message_factory

from tests.abuse import frames, inputs
from tests.abuse.readings import Answer, differences

SEED = "7/fuzz"


def test_an_input_can_be_made_again() -> None:
    def some(seed: str) -> list[inputs.Input]:
        return [inputs.made(seed, number) for number in range(50)]

    assert some(SEED) == some(SEED) != some("8/fuzz")


def test_every_method_and_every_form_occurs() -> None:
    drawn = [(each.method.full_name, each.form) for each in (inputs.made(SEED, number) for number in range(1_500))]
    assert {method for method, _ in drawn} == {each.full_name for each in inputs.METHODS}
    assert len({form for _, form in drawn}) == 8


def test_undamaged_inputs_are_valid_messages() -> None:
    for made in (inputs.made(SEED, number) for number in range(100)):
        if made.form == "valid or nearly so":
            request_class = message_factory.GetMessageClass(made.method.input_type)
            again = [request_class.FromString(data).SerializeToString(deterministic=True) for data in made.requests]
            assert again == made.requests


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
