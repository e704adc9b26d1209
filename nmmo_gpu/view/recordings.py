"""The recordings of a run."""

from __future__ import annotations

import os
import re
import shlex
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nmmo_gpu.errors import ReplayError, UsageError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.segment_writer import FOLDER
from nmmo_gpu.train import checkpoint as checkpoints

SUFFIX = ".replay"
GROWING = 10.0
"""Seconds after the last write during which a recording counts as growing."""

_NAME = re.compile(r"realm-(\d+)-(\d+)\.replay")


class Recordings:
    """The ``.replay`` files of a run, of a folder, or a single one. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Finds the folder.

        Args:
            path: folder of a run (with a folder ``replays``) or of recordings, or one recording.

        Raises UsageError if there are no recordings, ReplayError for a file that is not a recording."""
        path = path.resolve()
        self._only: str | None = None
        if path.is_file():
            Replay(path, heats=False).close()
            self._only, path = path.name, path.parent
        elif not path.is_dir():
            raise UsageError(f"{path} does not exist; give the folder of a run, or a {SUFFIX} file.")
        elif (path / FOLDER).is_dir():
            path = path / FOLDER
        elif path.name != FOLDER and not any(path.glob(f"*{SUFFIX}")):
            quoted = shlex.quote(str(path))
            raise UsageError(
                f"{path} has no recordings; make some with `nmmo-gpu train --resume {quoted} --record 0`, or "
                f"`nmmo-gpu export {quoted}`."
            )
        self.folder = path
        """Folder of the recordings."""
        self.checkpoint = (path.parent if path.name == FOLDER else path) / checkpoints.FILE
        """The run's checkpoint, which may not exist."""
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def find(self, name: str) -> Path | None:
        """The recording of that name; None if there is none, or if the path is outside the folder."""
        if Path(name).name != name or not name.endswith(SUFFIX) or self._only not in (None, name):
            return None
        if any("\ud800" <= character <= "\udfff" for character in name):  # not UTF-8: no JSON can hold it
            return None
        try:
            path = (self.folder / name).resolve()
            return path if path.parent == self.folder and path.is_file() else None
        except (OSError, RuntimeError, ValueError):  # too long, circular links, a zero byte
            return None

    def names(self) -> list[str]:
        """All names, in no particular order."""
        if self._only is not None:
            return [self._only]
        return [path.name for path in self.folder.glob(f"*{SUFFIX}") if self.find(path.name)]

    def siblings(self, name: str) -> dict[str, int]:
        """name -> first tick, of all files that are recordings of the same realm according to their names."""
        own = _NAME.fullmatch(name)
        if own is None or self._only is not None:
            return {}
        named = (_NAME.fullmatch(path.name) for path in self.folder.glob(f"realm-{own[1]}-*{SUFFIX}"))
        return {other[0]: int(other[2]) for other in named if other}

    def listed(self) -> list[dict[str, Any]]:
        """The content of ``/api/recordings``, newest first: ``name``, ``title``, ``realm``, ``bytes``,
        ``first`` and ``last`` tick (0 and -1 if there is none yet) and whether it is ``growing``. Files that
        are damaged, or have no header yet, are left out."""
        with self._lock:
            listed = sorted(
                self._look(), key=lambda known: (known.modified, known.summary["name"]), reverse=True
            )
            return [known.summary for known in listed]

    def _look(self) -> Iterator[_Known]:
        now, names = time.time(), self.names()
        for gone in self._known.keys() - set(names):
            self._known.pop(gone).close()
        for name in names:
            known = self._known.setdefault(name, _Known(self.folder / name))
            try:
                known.look(now)
            except (ReplayError, OSError):
                known.close()
            if known.summary:
                yield known


class _Known:
    """Cached data of a recording. The file stays open only while it grows, so that thousands can be
    listed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modified = 0.0
        """Seconds since 1970."""
        self.summary: dict[str, Any] = {}
        """Empty if it cannot be read."""
        self._stamp: tuple[int, int, int] | None = None
        self._replay: Replay | None = None

    def look(self, now: float) -> None:
        """Updates ``summary``; raises ReplayError or OSError if the file cannot be read."""
        status = os.stat(self.path)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if stamp != self._stamp:
            before, self._stamp, self.summary = self._stamp, stamp, {}
            if before is not None and (before[0] != stamp[0] or before[1] > stamp[1]):
                self.close()  # it has been rewritten
            if self._replay is None:
                self._replay = Replay(self.path, heats=False)
            else:
                self._replay.refresh()
            header, ticks = self._replay.header, self._replay.ticks
            self.summary = {
                "name": self.path.name, "title": header["title"], "realm": header["realm"],
                "bytes": status.st_size, "first": ticks.start, "last": ticks.stop - 1,
            }  # fmt: skip
            self.modified = status.st_mtime
        if self.summary:
            self.summary["growing"] = now - status.st_mtime < GROWING
            if not self.summary["growing"]:
                self.close()

    def close(self) -> None:
        """Closes the file; it is reopened when it grows."""
        if self._replay is not None:
            self._replay.close()
            self._replay = None
