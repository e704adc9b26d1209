"""Writing a replay file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.columns import Column
from nmmo_gpu.replay.format import (
    FRAM,
    HEAD,
    HEAT,
    MAGIC,
    MOST_RAW,
    MOST_TICKS,
    PREAMBLE,
    TILE,
    VERSION,
    Bytes,
    encode_frames,
    least_raw,
    pack,
)  # fmt: skip


class ReplayWriter:
    """A replay file that grows by whole chunks: whoever reads meanwhile finds nothing half-written but, for a
    moment, the last one. A context manager."""

    def __init__(self, path: Path, header: dict[str, Any], base: Bytes) -> None:
        """Begins the file.

        Args:
            path: written over if it is there; its folder is made.
            header: as ``nmmo_gpu.replay.header.header`` gives it. base: [H, W] uint8, materials.

        Raises ReplayError if it cannot be written."""
        self.path = path
        self.columns = tuple(Column(**column) for column in header["columns"])
        self.entities, self.agents, self.tiles = header["entities"], header["agents"], base.size
        per_tick = least_raw(self.columns, self.entities, self.agents, self.tiles, 1)
        # Half of what a chunk may hold, since changes of tiles come on top.
        self.most_ticks = max(1, min(MOST_TICKS, MOST_RAW[FRAM] // 2 // per_tick))
        """Ticks that a chunk can hold."""
        self.bytes = 0
        """Written so far."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = open(path, "wb")  # noqa: SIM115
        except OSError as error:
            raise self._failure(error) from error
        self._append(PREAMBLE.pack(MAGIC, VERSION, 0))
        self._append(pack(HEAD, json.dumps(header).encode()))
        self._append(pack(TILE, base.tobytes()))

    def frames(self, first: int, frames: Bytes) -> None:
        """Appends ticks in a row.

        Args:
            first: number of the first. frames: [ticks, bytes] uint8, as ``FrameLayout`` lays them out."""
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
        """Ends the file."""
        self._file.close()

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

    def _failure(self, error: OSError) -> ReplayError:
        return ReplayError(
            f"{self.path} cannot be written ({error.strerror}); make room, or choose another place."
        )


def heat_payload(name: str, values: NDArray[np.float32], population: int, stride: int, about: str) -> bytes:
    """The payload of a ``HEAT`` chunk."""
    rows, cols = values.shape
    line = {
        "name": name, "population": population, "rows": rows, "cols": cols, "stride": stride, "about": about,
    }  # fmt: skip
    return json.dumps(line).encode() + b"\n" + values.astype("<f4").tobytes()


def append_heat(path: Path, payload: bytes, tick: int) -> None:
    """Appends a ``HEAT`` chunk, of a tick, to a file that nobody else writes.

    Raises ReplayError if it cannot be written."""
    try:
        with open(path, "ab") as file:
            file.write(pack(HEAT, payload, 0, tick))
    except OSError as error:
        raise ReplayError(f"{path} cannot be written ({error.strerror}); make room.") from error
