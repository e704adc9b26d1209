"""Writes replay files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.files import reason, replacing
from nmmo_gpu.replay.columns import Column
from nmmo_gpu.replay.format import (
    FRAM,
    HEAD,
    HEAT,
    MAGIC,
    MAX_RAW,
    MAX_TICKS,
    PREAMBLE,
    TILE,
    VERSION,
    Bytes,
    encode_frames,
    least_raw,
    pack,
)  # fmt: skip


class ReplayWriter:
    """A replay file that appears with its header and grows by whole chunks: concurrent readers see at most
    the last chunk incomplete, for a moment. A context manager."""

    def __init__(self, path: Path, header: dict[str, Any], base: Bytes) -> None:
        """Creates the file.

        Args:
            path: replaced if it exists, while readers of the old file keep its content; its folder is
                created.
            header: from ``nmmo_gpu.replay.header.header``. base: [H, W] uint8, materials.

        Raises ReplayError if it cannot be written."""
        self.path = path
        self.columns = tuple(Column(**column) for column in header["columns"])
        self.entities, self.agents, self.tiles = header["entities"], header["agents"], base.size
        per_tick = least_raw(self.columns, self.entities, self.agents, self.tiles, 1)
        # Half of the maximum chunk size, because tile changes are added.
        self.most_ticks = max(1, min(MAX_TICKS, MAX_RAW[FRAM] // 2 // per_tick))
        """Maximum ticks per chunk."""
        start = PREAMBLE.pack(MAGIC, VERSION, 0) + pack(HEAD, json.dumps(header).encode())
        start += pack(TILE, base.tobytes())
        self.bytes = len(start)
        """Bytes written so far."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(start)
            self._file: BinaryIO = open(path, "ab")  # noqa: SIM115
        except (OSError, ValueError) as error:
            raise self._failure(error) from error

    def frames(self, first: int, frames: Bytes) -> None:
        """Appends consecutive ticks.

        Args:
            first: number of the first tick. frames: [ticks, bytes] uint8, in the layout of
                ``FrameLayout``."""
        for begin in range(0, len(frames), self.most_ticks):
            part = frames[begin : begin + self.most_ticks]
            payload = encode_frames(part, self.columns, self.entities, self.agents, self.tiles)
            self._append(pack(FRAM, payload, len(part), first + begin))

    def heat(
        self, name: str, values: NDArray[np.float32], tick: int, population: int, stride: int, about: str
    ) -> None:
        """Appends a map of numbers, [rows, cols] float32; see docs/replay-format.md."""
        self._append(pack(HEAT, heat_payload(name, values, population, stride, about), 0, tick))

    def close(self) -> None:
        """Closes the file.

        Raises ReplayError if its last bytes cannot be written."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> ReplayWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error
        self.bytes += len(data)

    def _failure(self, error: Exception) -> ReplayError:
        return ReplayError(
            f"{self.path} cannot be written ({reason(error)}); free disk space, or choose another path."
        )


def heat_payload(name: str, values: NDArray[np.float32], population: int, stride: int, about: str) -> bytes:
    """The payload of a ``HEAT`` chunk."""
    rows, cols = values.shape
    line = {
        "name": name, "population": population, "rows": rows, "cols": cols, "stride": stride, "about": about,
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n" + values.astype("<f4").tobytes()


def append_heat(path: Path, payload: bytes, tick: int) -> None:
    """Appends a ``HEAT`` chunk, for a tick, to a file that has no other writer.

    Raises ReplayError if it cannot be written."""
    try:
        with open(path, "ab") as file:
            file.write(pack(HEAT, payload, 0, tick))
    except OSError as error:
        raise ReplayError(f"{path} cannot be written ({error.strerror}); free disk space.") from error
