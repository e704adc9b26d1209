"""What is packed into a chunk is what comes out, whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from replay.replays import CONFIG, LAYOUT, TILES, noise

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import (
    CHUNK,
    FRAM,
    Bytes,
    ChunkHeader,
    Frames,
    decode_frames,
    encode_frames,
    from_planes,
    least_raw,
    pack,
    planes,
    unpack,
)  # fmt: skip

SLOTS = CONFIG.world.slots
PLACE = LAYOUT.columns, SLOTS, SLOTS, TILES


def _through(frames: Bytes) -> Frames:
    payload = encode_frames(frames, *PLACE)
    return decode_frames(payload, ChunkHeader(FRAM, 0, len(payload), len(frames), 3), *PLACE)


def _numbers(frames: Bytes, name: str) -> NDArray[np.generic]:
    column = next(column for column in LAYOUT.columns if column.name == name)
    start = LAYOUT.offsets[name]
    length = column.bytes * column.numbers(SLOTS, SLOTS)
    dtype = {"u8": "u1", "i16": "<i2", "i32": "<i4", "u32": "<u4"}[column.type]
    return np.ascontiguousarray(frames[:, start : start + length]).view(dtype)


@pytest.mark.parametrize("ticks", [1, 2, 17])
def test_random_bits_come_back(ticks: int) -> None:
    """Every column and every tile of frames of noise: differences wrap around in both directions."""
    frames = noise(ticks, seed=ticks)
    decoded = _through(frames)
    assert decoded.first == 3
    for column in LAYOUT.columns:
        found = decoded.columns[column.name].reshape(ticks, -1)
        assert np.array_equal(found, _numbers(frames, column.name)), column.name
    bits = frames[:, LAYOUT.tiles : LAYOUT.tiles + -(-TILES // 8)]
    expected = np.unpackbits(bits, axis=1, count=TILES, bitorder="little")
    assert np.array_equal(decoded.used_up, expected)
    assert all(np.array_equal(*pair) for pair in zip(decoded.used_up_by_tick(), expected, strict=True))


def test_extremes_and_all_tiles_at_once() -> None:
    """From the least number of each type to the largest and back, while every tile changes each tick."""
    frames = np.zeros((4, LAYOUT.bytes), np.uint8)
    for column in LAYOUT.columns:
        numbers = _numbers(frames, column.name).copy()
        info = np.iinfo(numbers.dtype)
        numbers[:] = np.array([info.min, info.max, info.min, 0])[:, None]
        start = LAYOUT.offsets[column.name]
        frames[:, start : start + numbers.nbytes // 4] = numbers.view(np.uint8)
    frames[1::2, LAYOUT.tiles : LAYOUT.tiles + TILES // 8] = 255
    frames[1::2, LAYOUT.tiles + TILES // 8] = (1 << TILES % 8) - 1
    decoded = _through(frames)
    for column in LAYOUT.columns:
        found = decoded.columns[column.name].reshape(4, -1)
        assert np.array_equal(found, _numbers(frames, column.name)), column.name
    assert decoded.used_up.mean(1).tolist() == [0, 1, 0, 1]


def test_planes_are_the_lowest_bytes_first() -> None:
    """The layout in the file, byte by byte, as the document has it."""
    assert planes(np.array([0x0201, 0x0403], np.uint16)) == bytes([1, 3, 2, 4])
    assert from_planes(np.array([1, 3, 2, 4], np.uint8), "u2").tolist() == [0x0201, 0x0403]


def test_a_chunk_is_a_header_and_a_gzip_member() -> None:
    """What packing makes, unpacking undoes; the header tells both lengths."""
    chunk = pack(FRAM, b"x" * 1000, 5, 1 << 40)
    header = ChunkHeader(*CHUNK.unpack(chunk[:24]))
    assert header == (b"FRAM", len(chunk) - 24, 1000, 5, 1 << 40)
    assert unpack(chunk[24:], 1000, "it") == b"x" * 1000


@pytest.mark.parametrize("raw", [0, 999, 1001, 1 << 40])
def test_a_length_that_lies_is_an_error(raw: int) -> None:
    """Longer or shorter than said: neither is given out."""
    with pytest.raises(ReplayError, match="does not hold"):
        unpack(pack(FRAM, b"x" * 1000)[24:], raw, "it")


def test_what_follows_the_member_is_an_error() -> None:
    """One gzip member, and nothing behind it."""
    with pytest.raises(ReplayError, match="does not hold"):
        unpack(pack(FRAM, b"x" * 1000)[24:] + b"more", 1000, "it")


def _changes(counts: list[int], steps: list[int]) -> Frames:
    head = bytes(least_raw(*PLACE, ticks=len(counts)) - 4 * len(counts))
    payload = head + planes(np.array(counts, np.uint32)) + planes(np.array(steps, np.uint32))
    return decode_frames(payload, ChunkHeader(FRAM, 0, len(payload), len(counts), 0), *PLACE)


def test_changes_turn_tiles_over() -> None:
    """Indices rise within a tick, and count on from its first."""
    frames = _changes([0, 2, 0, 2], [0, TILES - 1, 5, TILES - 6])
    assert [used_up.nonzero()[0].tolist() for used_up in frames.used_up] == [
        [], [0, TILES - 1], [0, TILES - 1], [0, 5],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        ([1, 0], [3]),  # in the first tick, which has no tick before
        ([0, 2], [3]),
        ([0, 0], [3]),
        ([0, 0xFFFFFFFF], [3]),
        ([0, 1], [TILES]),
        ([0, 1], [0xFFFFFFFF]),
        ([0, 2], [TILES - 1, 1]),
        ([0, 2], [3, 0]),  # the same tile twice
    ],
)
def test_changes_that_cannot_be_are_errors(counts: list[int], steps: list[int]) -> None:
    """Counts that do not fit, tiles beside the map."""
    with pytest.raises(ReplayError, match="changes"):
        _changes(counts, steps)


def test_a_large_map_is_not_made_at_once() -> None:
    """Many ticks of many tiles: an error that names the way to go."""
    none = np.zeros(0, np.int64)
    frames = Frames(0, {}, 1 << 26, np.zeros(1 << 23, np.uint8), np.zeros(4097, np.int64), none)
    with pytest.raises(ReplayError, match="used_up_by_tick"):
        _ = frames.used_up
    assert next(frames.used_up_by_tick()).shape == (1 << 26,)
