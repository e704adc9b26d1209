"""Terminal output during training: a live panel on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

LINE_SECONDS = 10.0
"""Seconds between two lines if the output is not a terminal."""


class Progress:
    """A context manager for the output; call ``show`` after every iteration."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title = title
        self.console = console or Console(soft_wrap=True)
        self.live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None
        self._next_line = 0.0
        self._unseen: str | None = None

    def __enter__(self) -> Progress:
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.__exit__(kind, error, trace)

    def show(self, values: dict[str, str]) -> None:
        """Shows named values; if the output is not a terminal, only every few seconds."""
        if self.live:
            table = Table(title=self.title, show_header=False)
            for name, value in values.items():
                table.add_row(name, value)
            self.live.update(table)
            return
        self._unseen = "  ".join(f"{name} {value}" for name, value in values.items())
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self.finish()

    def finish(self) -> None:
        """Prints the newest values if they have not been printed yet."""
        if self._unseen is not None:
            self.console.print(self._unseen)
        self._unseen = None


def duration(seconds: float) -> str:
    """Formats a duration as 1:02:03 or 2:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def quantity(number: float) -> str:
    """Formats a number as 12.3 k, 4.5 M or 6.7 G."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f}"
