"""Output of the command line: cut to the width, safe for terminals, with readable units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.table import GAP, LEAST_COLUMNS, SAMPLE_ROWS, Column, fit, write_table
from holdfast.cli.text import columns_of, duration_text, fitted, one_line, size_text, time_text, visible


@given(st.text(), st.integers(1, 40))
def test_fitted_text_has_the_width_and_is_cut_at_its_end(text: str, columns: int) -> None:
    shown = fitted(text, columns)
    assert columns_of(shown) <= columns
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))
    assert (shown == text) is (columns_of(text) <= columns) or shown == text


def test_wide_and_combining_characters_are_measured_as_terminals_do() -> None:
    assert [columns_of(each) for each in ("abc", "日本", "e\u0301", "👍")] == [3, 4, 1, 2]
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


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(1, 400), st.integers(0, 7))
def test_widths_fit_the_terminal_when_they_can(widths: list[int], limit: int, id_at: int) -> None:
    fitting = fit(widths, limit, {id_at})
    shown = [width for width in fitting if width]
    whole = widths[id_at] if id_at < len(widths) else min(widths[0], LEAST_COLUMNS)
    assert sum(shown) + len(GAP) * (len(shown) - 1) <= max(limit, whole)
    assert all(now <= before for now, before in zip(fitting, widths, strict=True))
    assert all(now >= min(before, LEAST_COLUMNS) for now, before in zip(fitting, widths, strict=True) if now)
    assert fitting[id_at : id_at + 1] == widths[id_at : id_at + 1]
    if sum(widths) + len(GAP) * (len(widths) - 1) <= limit:
        assert fitting == widths


def test_the_id_is_never_cut() -> None:
    assert fit([30, 60, 40], 30 + 2 + 20 + 2 + 20, {0}) == [30, 20, 20]
    assert fit([30, 60, 40], 30 + 2 + 20, {0}) == [30, 9, 9]
    assert fit([30, 60, 40], 30 + 2 + 10, {0}) == [30, 10, 0]
    assert fit([60, 40, 30], 30 + 2 + 10, {2}) == [10, 0, 30]
    assert fit([30, 60, 40], 24, {0}) == [30, 0, 0]
    assert fit([300], 3) == [6]


def test_an_id_longer_than_those_before_it_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column("TITLE"), Column("ID", whole=True)]
    write_table(columns, [*([["x" * 50, "a"]] * SAMPLE_ROWS), ["short", "b" * 40]], 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "x" * 15 + "…  a"
    assert lines[-1] == f"short             {'b' * 40}"


def test_a_table_is_aligned_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column("ID"), Column("SIZE", right=True), Column("TITLE")]
    rows = [["a", "5", "short"], ["b", "1000", "x" * 50]]
    write_table(columns, rows, None)
    assert capsys.readouterr().out == f"ID  SIZE  TITLE\na      5  short\nb   1000  {'x' * 50}\n"
    write_table(columns, rows, 20)
    assert capsys.readouterr().out == f"ID  SIZE  TITLE\na      5  short\nb   1000  {'x' * 9}…\n"


def test_a_table_without_rows_is_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    write_table([Column("ID"), Column("TITLE")], [], 80)
    assert capsys.readouterr().out == "ID  TITLE\n"


def test_sizes_durations_and_times() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB", 1 << 60: "1048576.0 TiB"}
    assert {size: size_text(size) for size in sizes} == sizes
    durations = {-1: "0 s", 59: "59 s", 60: "1 min", 3660: "1 h 1 min", 90_000: "1 d 1 h"}
    assert {each: duration_text(each) for each in durations} == durations
    assert time_text("2026-01-02T03:04:05.123456789Z") == time_text("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z"
