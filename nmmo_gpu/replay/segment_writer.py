"""The files of one realm's recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmmo_gpu.replay.format import Bytes
from nmmo_gpu.replay.writer import ReplayWriter

FOLDER = "replays"
"""Folder of a run's recordings, within the run's folder."""


class SegmentWriter:
    """Writes frames of a realm into ``FOLDER/realm-<number>-<first tick>.replay``. When that file is full, it
    starts another one and deletes the oldest, so the length of a run is not limited."""

    def __init__(self, folder: Path, header: dict[str, Any], base: Bytes, limit: int) -> None:
        """``limit``: maximum total size of the realm's files in bytes, including those of earlier runs."""
        self.folder, self.header, self.base, self.limit = folder, header, base, limit
        self._writer: ReplayWriter | None = None

    def frames(self, first: int, frames: Bytes) -> None:
        """Appends consecutive ticks; see ``ReplayWriter.frames``."""
        if self._writer is None or self._writer.bytes > self.limit // 2:
            self._begin(first)
        assert self._writer is not None
        self._writer.frames(first, frames)

    def _begin(self, first: int) -> None:
        self.close()
        stem = f"realm-{self.header['realm']}"
        path = self.folder / f"{stem}-{first}.replay"
        # Readers that have a file of this name open keep the old content.
        path.unlink(missing_ok=True)
        others = [(int(p.stem.rpartition("-")[2]), p) for p in self.folder.glob(f"{stem}-*.replay")]
        kept = 0
        for place, (_, old) in enumerate(sorted(others, reverse=True)):
            kept += old.stat().st_size
            if place > 0 and kept > self.limit // 2:
                old.unlink()
        self._writer = ReplayWriter(path, self.header, self.base)

    def close(self) -> None:
        """Closes the current file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
