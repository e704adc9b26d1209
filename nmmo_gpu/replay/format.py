"""The bytes of a replay file: chunks and their payloads, as described in docs/replay-format.md."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.columns import Column

MAGIC = b"\x89NMMO\r\n\x1a"
VERSION = 2
PREAMBLE = struct.Struct("<8sII")
CHUNK = struct.Struct("<4sIIIQ")

HEAD, TILE, FRAM, HEAT = b"HEAD", b"TILE", b"FRAM", b"HEAT"

MIB = 1 << 20
MAX_STORED = 256 * MIB
MAX_RAW = {HEAD: 16 * MIB, FRAM: 256 * MIB}
MAX_TICKS = 4096
MAX_SIDE = 8192
MAX_ENTITIES = 1 << 24
MAX_COLUMNS = 256
MAX_WIDTH = 4096
LAST_TICK = 1 << 53
"""The last tick that JavaScript represents exactly."""
HEAT_LINE = 4096
MAX_TOGETHER = 1 << 30
"""Maximum of tiles times ticks for which ``Frames.used_up`` makes one array."""

GZIP = 31
"""zlib's window bits for a gzip member."""

Bytes = NDArray[np.uint8]


class ChunkHeader(NamedTuple):
    """The fields of a chunk header."""

    type: bytes
    stored: int
    """Bytes in the file."""
    raw: int
    """Bytes when decompressed."""
    ticks: int = 0
    first: int = 0
    """First tick."""


def pack(type: bytes, payload: bytes | memoryview, ticks: int = 0, first: int = 0, level: int = 1) -> bytes:
    """A complete chunk."""
    packer = zlib.compressobj(level, zlib.DEFLATED, GZIP)
    stored = packer.compress(payload) + packer.flush()
    return CHUNK.pack(type, len(stored), len(payload), ticks, first) + stored


def unpack(stored: bytes, raw: int, what: str) -> bytes:
    """The payload of a chunk; ReplayError if it is damaged or its length differs from ``raw``. Never
    decompresses more than that."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        payload = unpacker.decompress(stored, raw + 1)
    except zlib.error as error:
        raise ReplayError(f"{what} is damaged ({error}); copy the file from its source again.") from error
    if len(payload) != raw or not unpacker.eof or unpacker.unused_data:
        raise ReplayError(f"{what} does not hold the declared {raw} bytes; the file is damaged.")
    return payload


def planes(numbers: NDArray[np.generic]) -> bytes:
    """The bytes of an array, plane by plane: first the lowest byte of all numbers, then the next."""
    flat = np.ascontiguousarray(numbers).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, flat.itemsize).T.tobytes()


def from_planes(data: Bytes, type: str) -> NDArray[np.generic]:
    """The inverse of ``planes``, as a flat array."""
    dtype = np.dtype(type).newbyteorder("<")
    flat = np.ascontiguousarray(data.reshape(dtype.itemsize, -1).T).reshape(-1).view(dtype)
    return flat.astype(np.dtype(type), copy=False)


def least_raw(columns: tuple[Column, ...], entities: int, agents: int, tiles: int, ticks: int) -> int:
    """Length of a ``FRAM`` payload without tile changes."""
    numbers = sum(column.bytes * column.numbers(entities, agents) for column in columns)
    return ticks * numbers + math.ceil(tiles / 8) + 4 * ticks


def encode_frames(
    frames: Bytes, columns: tuple[Column, ...], entities: int, agents: int, tiles: int
) -> bytes:
    """The payload of a ``FRAM`` chunk.

    Args:
        frames: [ticks, bytes], in the layout of ``FrameLayout``."""
    parts, offset = [], 0
    for column in columns:
        length = column.bytes * column.numbers(entities, agents)
        unsigned = np.dtype(f"u{column.bytes}")
        values = np.ascontiguousarray(frames[:, offset : offset + length]).view(unsigned)
        if column.delta:
            values = np.concatenate((values[:1], values[1:] - values[:-1]))
        parts.append(planes(values))
        offset += length
    bits = frames[:, offset : offset + math.ceil(tiles / 8)]
    turned = bits[1:] ^ bits[:-1]
    tick, byte = turned.nonzero()  # by ascending tick, then byte
    which = np.unpackbits(turned[tick, byte][:, None], axis=1, bitorder="little")
    entry, bit = which.nonzero()
    tile, tick = byte[entry] * 8 + bit, tick[entry] + 1
    counts = np.bincount(tick, minlength=len(frames)).astype(np.uint32)
    before = np.concatenate((np.zeros(min(1, len(tile)), tile.dtype), tile[:-1]))
    first_of_tick = np.concatenate((np.ones(min(1, len(tick)), bool), tick[1:] != tick[:-1]))
    steps = np.where(first_of_tick, tile, tile - before).astype(np.uint32)
    return b"".join((*parts, bits[0].tobytes(), planes(counts), planes(steps)))


@dataclass(frozen=True)
class Frames:
    """Consecutive ticks, decoded."""

    first: int
    """First tick."""
    columns: dict[str, NDArray[np.generic]]
    """name -> [ticks, n, width], as stored, unscaled."""
    tiles: int
    """Number of tiles."""
    bits: Bytes
    """[ceil(tiles / 8)]: one bit per tile, set if it is depleted at the end of the first tick."""
    starts: NDArray[np.int64]
    """[ticks + 1]: index in ``changed`` where each tick's changes begin."""
    changed: NDArray[np.int64]
    """Indices of the tiles whose bit changes."""

    @cached_property
    def used_up(self) -> Bytes:
        """[ticks, tiles] of 0 and 1. Raises ReplayError if that would be very large; ``used_up_by_tick``
        yields the ticks one by one."""
        ticks = len(self.starts) - 1
        if ticks * self.tiles > MAX_TOGETHER:
            raise ReplayError(
                f"{ticks} ticks of {self.tiles} tiles do not fit in memory at once; use used_up_by_tick()."
            )
        together = np.empty((ticks, self.tiles), np.uint8)
        for t, used_up in enumerate(self.used_up_by_tick()):
            together[t] = used_up
        return together

    def used_up_by_tick(self) -> Iterator[Bytes]:
        """[tiles] of 0 and 1 for one tick after another; the next one overwrites it."""
        used_up = np.unpackbits(self.bits, count=self.tiles, bitorder="little")
        for begin, end in pairwise(self.starts):
            used_up[self.changed[begin:end]] ^= 1
            yield used_up


def decode_frames(
    payload: bytes, header: ChunkHeader, columns: tuple[Column, ...], entities: int, agents: int, tiles: int
) -> Frames:
    """The inverse of ``encode_frames``; ReplayError if tile changes are damaged."""
    data, ticks, offset = np.frombuffer(payload, np.uint8), header.ticks, 0
    decoded: dict[str, NDArray[np.generic]] = {}
    for column in columns:
        numbers = column.numbers(entities, agents)
        length = ticks * numbers * column.bytes
        values = from_planes(data[offset : offset + length], f"u{column.bytes}").reshape(ticks, -1)
        if column.delta:
            values = values.cumsum(0, dtype=values.dtype)
        kind = np.dtype(_numpy(column.type))
        decoded[column.name] = values.view(kind).reshape(ticks, -1, column.width)
        offset += length
    width = math.ceil(tiles / 8)
    bits = data[offset : offset + width]
    offset += width
    counts = from_planes(data[offset : offset + 4 * ticks], "u4").astype(np.int64)
    changed = from_planes(data[offset + 4 * ticks :], "u4").astype(np.int64)
    if counts[0] or counts.sum() != len(changed):
        raise ReplayError(f"the number of tile changes from tick {header.first} on is wrong.")
    starts = np.concatenate((np.zeros(1, np.int64), counts.cumsum()))
    for t in range(1, ticks):
        steps = changed[starts[t] : starts[t + 1]]
        stand_still = (steps[1:] == 0).any()
        steps.cumsum(out=steps)
        if len(steps) and (steps[-1] >= tiles or stand_still):
            raise ReplayError(f"tick {header.first + t} changes a tile outside the map; the file is damaged.")
    return Frames(header.first, decoded, tiles, bits, starts, changed)


def _numpy(type: str) -> str:
    return {"u8": "u1", "i16": "i2", "i32": "i4", "u32": "u4"}[type]
