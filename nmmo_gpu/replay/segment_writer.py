"""The files of one realm's recording."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import Bytes
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.writer import ReplayWriter

FOLDER = "replays"
"""Folder of a run's recordings, within the run's folder."""


class SegmentWriter:
    """Writes frames of a realm into ``FOLDER/realm-<number>-<first tick>.replay``. When that file is full, it
    starts another one and deletes the oldest, so the length of a run is not limited."""

    def __init__(
        self, folder: Path, header: dict[str, Any], base: Bytes, limit: int, run_id: str = ""
    ) -> None:
        """Creates no file yet.

        Args:
            folder: where the files are.
            header: from ``nmmo_gpu.replay.header.header``.
            base: [H, W] uint8, materials.
            limit: maximum total size of the realm's files in bytes, including those that an earlier start of
                the same run has written.
            run_id: identifies the run in its files. Other files are never deleted or replaced."""
        self.folder, self.header, self.base, self.limit, self.run_id = folder, header, base, limit, run_id
        self._writer: ReplayWriter | None = None

    def frames(self, first: int, frames: Bytes) -> None:
        """Appends consecutive ticks; see ``ReplayWriter.frames``."""
        if self._writer is None or self._writer.bytes > self.limit // 2:
            self._begin(first)
        assert self._writer is not None
        self._writer.frames(first, frames)

    def _begin(self, first: int) -> None:
        self.close()
        name = f"realm-{self.header['realm']}-{first}.replay"
        path = self.folder / name
        own = self._own_files()
        if path.exists() and path not in own:
            raise ReplayError(f"{path} exists, and this run has not written it; move it to another folder.")
        kept = 0
        for place, old in enumerate(own):
            kept += old.stat().st_size
            if place > 0 and kept > self.limit // 2:
                old.unlink()
        self._writer = ReplayWriter(path, {**self.header, "run": self.run_id, "file": name}, self.base)

    def _own_files(self) -> list[Path]:
        """The realm's files that say that this run wrote them under their name, newest first."""
        pattern = re.compile(rf"realm-{self.header['realm']}-(\d+)\.replay")
        found: list[tuple[int, Path]] = []
        for path in self.folder.iterdir() if self.run_id and self.folder.is_dir() else ():
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            with contextlib.suppress(ReplayError, OSError), Replay(path, chunks=False) as replay:
                if (replay.header.get("run"), replay.header.get("file")) == (self.run_id, path.name):
                    found.append((int(match[1]), path))
        return [path for _, path in sorted(found, reverse=True)]

    def close(self) -> None:
        """Closes the current file.

        Raises ReplayError if its last bytes cannot be written."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
