"""Output of the command line: cut to the width, safe for terminals, with readable units."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.contents import _harmless
from holdfast.cli.drawing import LEAST_COLUMNS, drawn_lines, drawn_table
from holdfast.cli.printing import PAGE_ROWS, write_table
from holdfast.cli.terminal import GAP, Column, Line, cells_of
from holdfast.cli.text import duration_text, harmless_json, one_line, size_text, time_text, visible
from holdfast.errors import FailedPrecondition


def fitted(text: str, columns: int) -> str:
    """The line as shown on a terminal of that width."""
    return drawn_lines([Line(text, cut=True)], columns).removesuffix("\n")


@given(st.text(), st.integers(1, 40))
def test_what_is_fitted_fits_and_is_only_cut_at_the_end(text: str, columns: int) -> None:
    line = one_line(text)
    shown = fitted(line, columns)
    assert cells_of(shown) <= columns
    assert shown == line or line.startswith(shown[:-1].rstrip())
    assert (shown == line) is (cells_of(line) <= columns) or shown == line


def test_wide_and_combining_characters_are_measured_as_terminals_do() -> None:
    assert [cells_of(each) for each in ("abc", "日本", "e\u0301", "👍")] == [3, 4, 1, 2]
    assert fitted("日本語", 5) == "日本…"
    assert fitted("abcdef", 6) == "abcdef"
    assert fitted("abcdefg", 6) == "abcde…"


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    for shown, allowed in ((visible(text), "\n\t"), (one_line(text), "")):
        assert not [each for each in shown if each not in allowed and (each < " " or "\x7f" <= each <= "\x9f")]


def test_escape_sequences_are_spelled_out() -> None:
    assert visible("\x1b[31mred\n\u202eevil") == "\\x1b[31mred\n\\u202eevil"
    assert one_line("two\nlines\tand\rmore") == "two lines and more"


HIDDEN = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\U000e0000\U000e0041\U000e007f"


def test_invisible_characters_are_spelled_out_and_refused_by_cat() -> None:
    for each in HIDDEN:
        spelled = f"\\u{ord(each):04x}" if each < "\U00010000" else f"\\U{ord(each):08x}"
        assert visible(f"a{each}b") == one_line(f"a{each}b") == f"a{spelled}b"
        assert json.loads(harmless_json(json.dumps(each, ensure_ascii=False))) == each
        assert harmless_json(each).isascii()
        assert passed(f"a{each}b".encode()) is None


def passed(*chunks: bytes, midway: bool = False) -> bytes | None:
    """What `cat` writes to a terminal; None when it refuses the content."""
    try:
        return b"".join(_harmless(iter(chunks), midway=midway))
    except FailedPrecondition as error:
        return None if error.reason == "BINARY" else b"another error"


@given(st.text(), st.data())
def test_cat_decides_the_same_however_the_content_is_cut(text: str, data: st.DataObject) -> None:
    content = text.encode()
    at = data.draw(st.integers(0, len(content)))
    assert passed(content[:at], content[at:]) == passed(content)
    assert passed(content) in (None, content)


def test_cat_refuses_what_straddles_two_chunks_and_a_carriage_return_alone() -> None:
    assert passed(b"a\xc2", b"\x9b5m") is None
    assert passed(b"a\xe2\x80", b"\xaeb") is None
    assert passed(b"a\r", b"b") is passed(b"a\r") is passed(b"a\r\r\n") is passed(b"a\rb\n") is None
    assert passed(b"a\r", b"\nb\t\f\n") == b"a\r\nb\t\f\n"


def test_cat_passes_a_piece_that_begins_or_ends_within_a_character() -> None:
    assert passed(b"\xbc\xc3\xbc", b"\xc3", midway=True) == b"\xbc\xc3\xbc\xc3"
    assert passed(b"\x9b5m") is passed(b"a", b"\x9b5m", midway=True) is None


@given(st.lists(st.integers(1, 120), min_size=1, max_size=8), st.integers(1, 200), st.integers(0, 7))
def test_a_table_fits_the_terminal_when_it_can_and_the_id_is_whole(widths: list[int], limit: int, id_at: int) -> None:
    columns = [Column("H", whole=index == id_at) for index in range(len(widths))]
    heading, row = drawn_table(columns, [["x" * width for width in widths]], limit).splitlines()
    whole = widths[id_at] if id_at < len(widths) else min(widths[0], LEAST_COLUMNS)
    assert max(len(heading), len(row)) <= max(limit, whole)
    cells = row.split(GAP)
    assert id_at >= len(widths) or "x" * whole in cells
    assert all(len(cell) >= min(LEAST_COLUMNS, *widths) for cell in cells)
    if sum(widths) + len(GAP) * (len(widths) - 1) <= limit:
        assert [len(cell) for cell in cells] == widths


def cells(widths: list[int], limit: int, id_at: int) -> list[int]:
    """The width at which the cells are shown in so many columns."""
    columns = [Column("H", whole=index == id_at) for index in range(len(widths))]
    return [len(each) for each in drawn_table(columns, [["x" * width for width in widths]], limit).splitlines()[1].split(GAP)]


def test_the_id_is_never_cut() -> None:
    assert cells([30, 60, 40], 30 + 2 + 20 + 2 + 20, 0) == [30, 20, 20]
    assert cells([30, 60, 40], 30 + 2 + 20, 0) == [30, 9, 9]
    assert cells([30, 60, 40], 30 + 2 + 10, 0) == [30, 10]
    assert cells([60, 40, 30], 30 + 2 + 10, 2) == [10, 30]
    assert cells([30, 60, 40], 24, 0) == [30]
    assert cells([300], 3, 1) == [6]


Rows = list[list[str]]


def printed(rows: Rows, capsys: pytest.CaptureFixture[str], columns: list[Column]) -> list[str]:
    write_table(columns, rows)
    return capsys.readouterr().out.splitlines()


def test_a_long_table_has_its_heading_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    columns = [Column("TITLE"), Column("ID", whole=True)]
    lines = printed([*([["x" * 50, "a"]] * PAGE_ROWS), ["short", "b" * 40]], capsys, columns)
    assert lines[1] == "x" * 15 + "…  a"
    assert lines[-2:] == [f"ID{' ' * 38}".rstrip(), "b" * 40]
    monkeypatch.delenv("COLUMNS")
    lines = printed([["x", "a"]] * (PAGE_ROWS * 2), capsys, columns)
    assert (lines[0], len(lines)) == ("TITLE\tID", PAGE_ROWS * 2 + 1)


def test_a_table_is_aligned_and_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("ID"), Column("SIZE", right=True), Column("TITLE")]
    rows = [["a", "5", "short"], ["日", "1000", "[red]" + "x" * 50]]
    monkeypatch.delenv("COLUMNS", raising=False)
    assert printed(rows, capsys, columns) == ["ID\tSIZE\tTITLE", "a\t5\tshort", f"日\t1000\t[red]{'x' * 50}"]
    monkeypatch.setenv("COLUMNS", "20")
    assert printed(rows, capsys, columns) == ["ID  SIZE  TITLE", "a      5  short", f"日  1000  [red]{'x' * 4}…"]


def test_a_table_for_a_program_is_as_long_as_its_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = printed([["a", "x" * 5000, ""], ["b", "", "end"]], capsys, [Column("ID"), Column("TITLE"), Column("TAGS")])
    assert lines == ["ID\tTITLE\tTAGS", f"a\t{'x' * 5000}\t", "b\t\tend"]


@pytest.mark.parametrize("columns", ["", "80"])
def test_a_table_without_rows_is_its_heading(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert printed([], capsys, [Column("ID"), Column("TITLE")]) == ["ID  TITLE" if columns else "ID\tTITLE"]


@given(st.text())
def test_json_on_a_terminal_says_the_same_without_control_characters(text: str) -> None:
    line = harmless_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert one_line(line) == line


def test_sizes_durations_and_times() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB", 1 << 60: "1048576.0 TiB"}
    assert {size: size_text(size) for size in sizes} == sizes
    durations = {-1: "0 s", 59: "59 s", 60: "1 min", 3660: "1 h 1 min", 90_000: "1 d 1 h"}
    assert {each: duration_text(each) for each in durations} == durations
    assert time_text("2026-01-02T03:04:05.123456789Z") == time_text("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z"
