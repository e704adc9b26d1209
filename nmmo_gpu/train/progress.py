"""Terminal output during training: a live panel on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINE_SECONDS = 10.0
"""Seconds between two lines if the output is not a terminal."""


class Output:
    """A text stream that ignores failures to write: the terminal may be closed, or the reader of a pipe gone,
    while the run goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        """Wraps a stream; None, as ``sys.stdout`` is without a console, discards all text."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text if possible; characters that the stream cannot encode become escape sequences."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
                try:
                    self._stream.write(text)
                except UnicodeEncodeError as error:
                    self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream if possible."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress:
    """A context manager for the output; call ``show`` after every iteration."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title = title
        self.console = console or Console(file=Output(sys.stdout), soft_wrap=True)  # type: ignore[arg-type]
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
            table = Table(title=Text(self.title), show_header=False)
            for name, value in values.items():
                table.add_row(Text(name), Text(value))
            self.live.update(table)
            return
        self._unseen = "  ".join(f"{name} {value}" for name, value in values.items())
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self.finish()

    def say(self, text: str) -> None:
        """Prints a line as it is; brackets are not interpreted as markup."""
        self.console.print(text, markup=False, emoji=False)

    def finish(self) -> None:
        """Prints the newest values if they have not been printed yet."""
        if self._unseen is not None:
            self.say(self._unseen)
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
