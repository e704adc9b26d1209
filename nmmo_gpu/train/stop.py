"""Signals that end a run after its current iteration."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Ctrl-C; a job that is cancelled; a terminal that is closed; SLURM's warning before the time limit."""
MAY_BE_IGNORED = ("SIGHUP", "SIGUSR1")
"""Those that stay ignored if the process ignores them. A shell also lets background processes ignore SIGINT,
but there it can only come from ``kill``."""


class StopRequest:
    """A context that turns ``SIGNALS`` into a flag, so that the current iteration is finished and saved.

    A second signal of the same kind has its ordinary effect. SIGHUP stays ignored under nohup. Python handles
    signals only in its main thread: in another one, nothing changes."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # Windows lacks some
                ignored = number is not None and signal.getsignal(number) == signal.SIG_IGN
                if number is not None and not (ignored and name in MAY_BE_IGNORED):
                    # None: a handler that was not installed from Python and cannot be restored.
                    self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        signal.signal(number, self._before[number])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
