"""Whatever its bytes are, a file opens up to its last complete chunk or raises ReplayError, in little
memory."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay.replays import base, noise, replay_header, write

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import (
    CHUNK,
    FRAM,
    HEAD,
    HEAT,
    MAGIC,
    MIB,
    PREAMBLE,
    TILE,
    VERSION,
    pack,
)
from nmmo_gpu.replay.reader import MAX_HEAT_BYTES, Replay


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    """Returns a file with three chunks of frames."""
    return write(tmp_path / "sound.replay", {1: noise(1, 1), 2: noise(2, 2), 9: noise(1, 3)})


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], int]:
    """Returns a function that reads a file with these bytes completely and returns its number of chunks of
    frames."""
    path = tmp_path / "b.replay"

    def read(data: bytes) -> int:
        path.write_bytes(data)
        with Replay(path) as replay:
            return len([frames.used_up for frames in replay])

    return read


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Returns (type, offset, end) of each chunk of a valid file."""
    found, offset = [], PREAMBLE.size
    while offset < len(data):
        type, stored, *_ = CHUNK.unpack_from(data, offset)
        found.append((type, offset, offset + CHUNK.size + stored))
        offset = found[-1][2]
    return found


def _frames(data: bytes) -> list[tuple[int, int]]:
    return [(offset, end) for type, offset, end in _chunks(data) if type == FRAM]


@contextmanager
def _little_memory(limit: int = 64 * MIB) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_truncated_files_end_with_their_last_complete_chunk(
    sound: bytes, read: Callable[[bytes], int]
) -> None:
    """Without a header and a map it is not a replay."""
    beginning = _chunks(sound)[1][2]
    for length in range(len(sound)):
        if length < beginning:
            with pytest.raises(ReplayError):
                read(sound[:length])
        else:
            assert read(sound[:length]) == sum(end <= length for _, end in _frames(sound))


def test_damaged_bytes_raise_replay_errors_only(sound: bytes, read: Callable[[bytes], int]) -> None:
    """Each byte is changed in turn, and many at random. Where a byte matters, its change is an error."""
    rng, errors = np.random.default_rng(0), 0
    for at in range(len(sound)):
        data = bytearray(sound)
        data[at] ^= 1 << int(rng.integers(8))
        errors += _fails(read, bytes(data))
    # Except in bytes that are not read, such as the time in a gzip member's header.
    assert errors > 0.9 * len(sound)
    for _ in range(500):
        data = bytearray(sound)
        for at in rng.integers(len(sound), size=8):
            data[at] = int(rng.integers(256))
        _fails(read, bytes(data))


def _fails(read: Callable[[bytes], int], data: bytes) -> bool:
    try:
        read(data)
    except ReplayError:
        return True
    return False


def test_payloads_of_the_right_length_may_hold_anything(sound: bytes, read: Callable[[bytes], int]) -> None:
    """The numbers may be invalid, and changes of tiles may not fit."""
    rng, errors = np.random.default_rng(1), 0
    for i in range(300):
        offset, end = _frames(sound)[1]
        payload = bytearray(gzip.decompress(sound[offset + CHUNK.size : end]))
        tail = len(payload) // 2 if i % 2 else 0
        for at in rng.integers(tail, len(payload), size=1 + i % 20):
            payload[at] = int(rng.integers(256))
        errors += _fails(read, sound[:offset] + pack(FRAM, bytes(payload), 2, 2) + sound[end:])
    assert errors > 20


def _file(header: Any, tiles: bytes | None = None, *chunks: bytes) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    tile = base().tobytes() if tiles is None else tiles
    return PREAMBLE.pack(MAGIC, VERSION, 0) + pack(HEAD, head) + pack(TILE, tile) + b"".join(chunks)


NEEDED = ("format", "version", "height", "width", "entities", "agents", "materials", "columns")
NONSENSE = (None, -1, 0, 0.5, 1 << 40, 10**400, "x", [], {}, [[]], [{}], "missing")


def test_a_file_of_header_and_tiles_is_read(read: Callable[[bytes], int]) -> None:
    """So that the tests below do not fail for another reason."""
    assert read(_file(replay_header())) == 0


@pytest.mark.parametrize("field", NEEDED)
@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_impossible_headers_are_errors(read: Callable[[bytes], int], field: str, value: Any) -> None:
    """All that the reader relies on must be present and in range."""
    header = {**replay_header(), field: value}
    if value == "missing":
        del header[field]
    if field == "columns" and value == []:
        assert read(_file(header)) == 0
        return
    with pytest.raises(ReplayError):
        read(_file(header))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"[" * 1_000_000,
        b"1" * 10_000,
        b'{"format": NaN}',
    ],
    ids=range(10),
)
def test_malformed_headers_are_errors(read: Callable[[bytes], int], header: bytes) -> None:
    """They are not JSON or not a header."""
    with pytest.raises(ReplayError):
        read(_file(header))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ["row"]), ("name", "col"), ("type", "f64"), ("type", []), ("of", "tiles"), ("of", {}),
        ("width", 0), ("width", 4097), ("width", True), ("width", "1"), ("color", "red"),
    ],
)  # fmt: skip
def test_unreadable_columns_are_errors(read: Callable[[bytes], int], key: str, value: Any) -> None:
    """Each field of a column is wrong in turn."""
    header = replay_header()
    header["columns"][3] = {**header["columns"][3], key: value}
    with pytest.raises(ReplayError):
        read(_file(header))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "\ud800"), ("title", "x" * 5000), ("realm", 1.0), ("populations", 257),
        ("populations", "2"),
        ("materials", [{"name": "a", "color": [1, 2], "walkable": True}] * 7), ("materials", [7] * 7),
        ("materials", [{"name": 1, "color": [1, 2, 3], "walkable": True}] * 7), ("styles", [1]), ("gear", []),
        ("causes", {"a": 1}), ("npcs", [{"name": "a"}]), ("heads", {"move": 0}), ("maxima", {"health": None}),
        ("moves", [[1.5, 0]]), ("prices", [True]), ("items", [{"name": "a", "gear": None}]), ("used_up", [9]),
    ],
)  # fmt: skip
def test_wrong_tables_are_errors_that_name_the_field(
    read: Callable[[bytes], int], field: str, value: Any
) -> None:
    """Whatever a viewer relies on must be of the documented type."""
    with pytest.raises(ReplayError, match=f"its header is damaged \\({field}"):
        read(_file({**replay_header(), field: value}))
    with pytest.raises(ReplayError, match=f"its header is damaged \\({field} is missing"):
        read(_file({name: kept for name, kept in replay_header().items() if name != field}))


FIELD = {"name": "light", "about": "percent", "low": 0, "high": 100, "light": True, "shape": [2, 1]}
SYSTEM = {"name": "day", "class": "nowhere:Day", "settings": {"period": 9}, "edits": False,
          "fields": [FIELD]}  # fmt: skip
COLUMN = {"name": "day.light", "type": "i16", "of": "agents", "width": 2, "delta": True, "scale": 1.0}


def _with_system(system: Any = SYSTEM, **column: Any) -> dict[str, Any]:
    """Returns a header with a system, and its column with changes."""
    header = replay_header()
    return {**header, "systems": [system], "columns": [*header["columns"], {**COLUMN, **column}]}


def test_systems_are_read_without_their_classes(read: Callable[[bytes], int]) -> None:
    """Headers of earlier versions have none."""
    assert read(_file(_with_system())) == 0
    assert read(_file({name: kept for name, kept in replay_header().items() if name != "systems"})) == 0


@pytest.mark.parametrize(
    "header",
    [
        {**replay_header(), "systems": None}, {**replay_header(), "systems": [7]},
        {**replay_header(), "systems": [SYSTEM]},
        *(_with_system({**SYSTEM, name: value}) for name in SYSTEM for value in (None, 7, "x", [{}])
          if (name, value) not in (("name", "x"), ("class", "x"))),
        *(_with_system({**SYSTEM, "fields": [{**FIELD, name: value}]}) for name in FIELD
          for value in (None, 1 << 40, "x", [0], [1.0]) if (name, value) != ("about", "x")),
        *(_with_system({name: kept for name, kept in SYSTEM.items() if name != left}) for left in SYSTEM),
        _with_system({**SYSTEM, "fields": [{**FIELD, "high": 0}]}),
        _with_system(of="entities"), _with_system(width=3), _with_system(name="day.dark"),
    ],
)  # fmt: skip
def test_wrong_systems_are_errors(read: Callable[[bytes], int], header: dict[str, Any]) -> None:
    """Each part of a system is wrong in turn, or its field has no column of the right shape."""
    with pytest.raises(ReplayError, match=r"its header is damaged \(systems"):
        read(_file(header))


@pytest.mark.parametrize("chunk", range(5))
@pytest.mark.parametrize(
    ("at", "number"),
    [(8, 0), (8, 1), (8, 0x0FFFFFFF), (8, 0xFFFFFFFF), (4, 0xFFFFFFFF), (0, 0x54414548)],
)
def test_wrong_sizes_are_errors(
    sound: bytes, read: Callable[[bytes], int], chunk: int, at: int, number: int
) -> None:
    """A chunk claims to be longer, shorter or of another type than it is."""
    data = bytearray(sound)
    struct.pack_into("<I", data, _chunks(sound)[chunk][1] + at, number)
    with _little_memory(), pytest.raises(ReplayError):
        read(bytes(data))


@pytest.mark.parametrize("ticks", [0, 1, 3, 4097, 0xFFFFFFFF])
def test_wrong_numbers_of_ticks_are_errors(sound: bytes, read: Callable[[bytes], int], ticks: int) -> None:
    """A chunk claims more or fewer frames than it holds."""
    data = bytearray(sound)
    struct.pack_into("<I", data, _frames(sound)[1][0] + 12, ticks)
    with _little_memory(), pytest.raises(ReplayError):
        read(bytes(data))


@pytest.mark.parametrize("first", [0, 1, 8, (1 << 53) - 1, (1 << 64) - 1])
def test_ticks_out_of_order_are_errors(sound: bytes, read: Callable[[bytes], int], first: int) -> None:
    """A chunk starts before the previous one ends, ends after the next one starts, or never ends."""
    data = bytearray(sound)
    struct.pack_into("<Q", data, _frames(sound)[1][0] + 16, first)
    if first == 8:  # the chunk has two ticks, and the next one starts at 9
        with pytest.raises(ReplayError, match="out of order"):
            read(bytes(data))
    else:
        with pytest.raises(ReplayError):
            read(bytes(data))


def test_a_chunk_beyond_the_end_is_still_being_written(sound: bytes, read: Callable[[bytes], int]) -> None:
    """Whatever length it claims."""
    data = bytearray(sound)
    struct.pack_into("<I", data, _frames(sound)[2][0] + 4, 0x0FFFFFFF)
    with _little_memory():
        assert read(bytes(data)) == 2


@pytest.mark.parametrize("chunk", range(5))
def test_decompression_bombs_use_little_memory(
    sound: bytes, read: Callable[[bytes], int], chunk: int
) -> None:
    """64 MiB of zeros are compressed to 64 KiB in a chunk that claims a much smaller size."""
    packed = gzip.compress(bytes(64 * MIB), 9)
    type, offset, end = _chunks(sound)[chunk]
    _, _, raw, ticks, first = CHUNK.unpack_from(sound, offset)
    armed = CHUNK.pack(type, len(packed), raw, ticks, first) + packed
    with _little_memory(32 * MIB), pytest.raises(ReplayError):
        read(sound[:offset] + armed + sound[end:])


def test_a_large_map_in_few_bytes_is_read_tick_by_tick(tmp_path: Path) -> None:
    """4096 ticks of 8192 x 8192 tiles would take 256 GiB if they were expanded at once."""
    header = {**replay_header(), "height": 8192, "width": 8192, "agents": 1, "entities": 1, "columns": []}
    payload = bytes(8192 * 1024 + 4 * 4096)
    path = tmp_path / "large.replay"
    path.write_bytes(_file(header, bytes(1 << 26), pack(FRAM, payload, 4096, 0)))
    with Replay(path) as replay, _little_memory(256 * MIB):
        frames = replay.read(replay.chunks[0])
        with pytest.raises(ReplayError, match="used_up_by_tick"):
            _ = frames.used_up
        assert not next(frames.used_up_by_tick()).any()


LINE = {"name": "value", "population": 0, "rows": 33, "cols": 47, "stride": 1, "about": "it"}
WRONG_LINES = (
    *(b"", b"{}", b"[]", b"7", b"{" * 4000),
    *(
        json.dumps({**LINE, "rows": rows}).encode()
        for rows in (32, -1, 0, 1 << 70, float("inf"), float("nan"), None, "x")
    ),
    json.dumps({**LINE, "stride": 0}).encode(),
)


@pytest.mark.parametrize("line", WRONG_LINES, ids=range(len(WRONG_LINES)))
def test_damaged_maps_are_errors(read: Callable[[bytes], int], line: bytes) -> None:
    """The line is invalid or does not match the numbers after it."""
    heat = pack(HEAT, line + b"\n" + bytes(4 * 33 * 47))
    with pytest.raises(ReplayError):
        read(_file(replay_header(), None, heat))


def test_maps_are_cached_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest maps are kept, and the last one always."""
    monkeypatch.setattr("nmmo_gpu.replay.reader.MAX_HEAT_BYTES", 2 * 4 * 33 * 47)
    line = json.dumps(LINE).encode() + b"\n"
    path = tmp_path / "a.replay"
    path.write_bytes(
        _file(replay_header(), None, *(pack(HEAT, line + bytes(4 * 33 * 47), first=t) for t in range(5)))
    )
    with Replay(path) as replay:
        assert [heat.tick for heat in replay.heats] == [3, 4]
    assert MAX_HEAT_BYTES >= 4 * 8192 * 8192


@pytest.mark.parametrize("data", [b"", b"\x89NMMO", b"PK\x03\x04" * 10, b"\x89NMMO\r\n\x1a" + bytes(8)])
def test_foreign_files_are_errors(read: Callable[[bytes], int], data: bytes) -> None:
    """They are not replays or have another version."""
    with pytest.raises(ReplayError, match="not a replay|version 0"):
        read(data)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error says what to give instead."""
    with pytest.raises(ReplayError, match="cannot be read"):
        Replay(tmp_path / "none.replay")


def test_unknown_chunks_are_skipped(sound: bytes, read: Callable[[bytes], int]) -> None:
    """A later version may add them."""
    offset = _frames(sound)[1][0]
    assert read(sound[:offset] + pack(b"WHAT", b"?" * 99) + sound[offset:]) == 3
