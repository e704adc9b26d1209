"""The progress display during training."""

from __future__ import annotations

import io

import hypothesis
import hypothesis.strategies as st
import pytest
from rich.console import Console

from nmmo_gpu.train import progress
from nmmo_gpu.train.progress import LINE_SECONDS, Progress, duration, quantity


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0:00"), (5, "0:05"), (59.4, "0:59"), (59.6, "1:00"), (123, "2:03"), (3599, "59:59"),
    (3599.7, "1:00:00"), (3723, "1:02:03"), (360_000, "100:00:00"),
])  # fmt: skip
def test_duration_texts(seconds, text):
    """They have minutes and seconds, and hours if there are any."""
    assert duration(seconds) == text


@hypothesis.given(st.floats(0, 1e7))
def test_duration_texts_are_exact(seconds):
    """Hours, minutes and seconds add up to the rounded time, and minutes and seconds are at most 59."""
    hours, minutes, rest = ([0, *map(int, duration(seconds).split(":"))])[-3:]
    assert hours * 3600 + minutes * 60 + rest == round(seconds)
    assert minutes < 60 and rest < 60


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (7.4, "7"), (999, "999"), (1000, "1.0 k"), (12_345, "12.3 k"), (4_500_000, "4.5 M"),
    (6.7e9, "6.7 G"), (1.5e12, "1500.0 G"),
])  # fmt: skip
def test_quantity_texts(number, text):
    """They have one decimal and are in thousands, millions or thousand millions."""
    assert quantity(number) == text


def test_without_a_terminal_lines_are_printed_at_intervals(monkeypatch):
    """The first line, then one whenever enough time has passed, and the last in any case."""
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    out = io.StringIO()
    with Progress("a title", Console(file=out, soft_wrap=True, width=40)) as shown:
        assert shown.live is None
        for step in range(8):
            shown.show({"iteration": str(step), "long name": "x" * 60})
            now += LINE_SECONDS * 0.3
        shown.finish()
        shown.finish()
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["iteration 0", "iteration 4", "iteration 7"]
    assert lines[0] == "iteration 0  long name " + "x" * 60


def test_a_terminal_shows_a_live_table():
    """It has the title, the names and the newest values."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60)
    with Progress("a title", console) as shown:
        assert shown.live is not None
        shown.show({"lifetime": "12.5"})
        shown.show({"lifetime": "77.5"})
    text = out.getvalue()
    assert "a title" in text and "lifetime" in text
    assert text.rindex("77.5") > text.find("12.5")
