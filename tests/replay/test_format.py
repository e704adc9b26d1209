"""Unpacking a chunk returns the packed numbers, whatever they are."""

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
def test_random_frames_round_trip(ticks: int) -> None:
    """Every column and every tile of random frames comes back; differences wrap around in both directions."""
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


def test_extreme_values_round_trip_while_all_tiles_change() -> None:
    """Each column alternates between the minimum and the maximum of its type, and every tile changes each
    tick."""
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


def test_byte_planes_start_with_the_lowest_byte() -> None:
    """The layout in the file matches the documentation byte by byte."""
    assert planes(np.array([0x0201, 0x0403], np.uint16)) == bytes([1, 3, 2, 4])
    assert from_planes(np.array([1, 3, 2, 4], np.uint8), "u2").tolist() == [0x0201, 0x0403]


def test_a_chunk_is_a_header_and_a_gzip_member() -> None:
    """Unpacking inverts packing, and the header has both lengths."""
    chunk = pack(FRAM, b"x" * 1000, 5, 1 << 40)
    header = ChunkHeader(*CHUNK.unpack(chunk[:24]))
    assert header == (b"FRAM", len(chunk) - 24, 1000, 5, 1 << 40)
    assert unpack(chunk[24:], 1000, "it") == b"x" * 1000


@pytest.mark.parametrize("raw", [0, 999, 1001, 1 << 40])
def test_a_wrong_length_is_an_error(raw: int) -> None:
    """Data that is longer or shorter than its header says is not returned."""
    with pytest.raises(ReplayError, match="does not hold"):
        unpack(pack(FRAM, b"x" * 1000)[24:], raw, "it")


def test_data_after_the_gzip_member_is_an_error() -> None:
    """A chunk holds one gzip member and nothing after it."""
    with pytest.raises(ReplayError, match="does not hold"):
        unpack(pack(FRAM, b"x" * 1000)[24:] + b"more", 1000, "it")


def _changes(counts: list[int], steps: list[int]) -> Frames:
    head = bytes(least_raw(*PLACE, ticks=len(counts)) - 4 * len(counts))
    payload = head + planes(np.array(counts, np.uint32)) + planes(np.array(steps, np.uint32))
    return decode_frames(payload, ChunkHeader(FRAM, 0, len(payload), len(counts), 0), *PLACE)


def test_changes_toggle_tiles() -> None:
    """Indices increase within a tick and start from the first tile in each tick."""
    frames = _changes([0, 2, 0, 2], [0, TILES - 1, 5, TILES - 6])
    assert [used_up.nonzero()[0].tolist() for used_up in frames.used_up] == [
        [], [0, TILES - 1], [0, TILES - 1], [0, 5],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        ([1, 0], [3]),  # changes in the first tick, which has no previous tick
        ([0, 2], [3]),
        ([0, 0], [3]),
        ([0, 0xFFFFFFFF], [3]),
        ([0, 1], [TILES]),
        ([0, 1], [0xFFFFFFFF]),
        ([0, 2], [TILES - 1, 1]),
        ([0, 2], [3, 0]),  # the same tile twice
    ],
)
def test_invalid_changes_are_errors(counts: list[int], steps: list[int]) -> None:
    """Counts do not add up, or tiles are outside the map."""
    with pytest.raises(ReplayError, match="changes"):
        _changes(counts, steps)


def test_a_large_map_is_not_expanded_at_once() -> None:
    """Expanding many ticks of many tiles is an error that names the alternative."""
    none = np.zeros(0, np.int64)
    frames = Frames(0, {}, 1 << 26, np.zeros(1 << 23, np.uint8), np.zeros(4097, np.int64), none)
    with pytest.raises(ReplayError, match="used_up_by_tick"):
        _ = frames.used_up
    assert next(frames.used_up_by_tick()).shape == (1 << 26,)
