"""A damaged file gives the right error or is read, whatever the damage, in little memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numba
import pytest
from support.damaged_files import (
    damaged_cache_files,
    damaged_configs,
    damaged_maps,
    damaged_recordings,
    sound_config,
    sound_map,
    sound_recording,
)

from nmmo_gpu.config.serialize import from_plain, parse_json
from nmmo_gpu.cpu import compilation_cache
from nmmo_gpu.cpu.compilation_cache import CompilationCache
from nmmo_gpu.errors import ConfigError, MapError, ReplayError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.view.recordings import Recordings
from nmmo_gpu.world.tiled import load_tmx

COUNT = 100
"""Damaged copies of each file."""


def read_recording(path: Path) -> None:
    """Reads all frames and lists the folder."""
    assert len(Recordings(path.parent).listed()) <= 1
    with Replay(path) as replay:
        for frames in replay:
            assert len(frames.used_up) == len(frames.starts) - 1


def read_map(path: Path) -> None:
    """Reads a map."""
    assert load_tmx(path).max() < 7


def read_config(path: Path) -> None:
    """Reads a config."""
    assert isinstance(from_plain(TrainConfig, parse_json(path.read_bytes())), TrainConfig)


@pytest.mark.parametrize(
    ("suffix", "sound", "damaged", "read", "error"),
    [
        ("replay", sound_recording, damaged_recordings, read_recording, ReplayError),
        ("tmx", sound_map, damaged_maps, read_map, MapError),
        ("json", sound_config, damaged_configs, read_config, ConfigError),
    ],
    ids=["recordings", "maps", "configs"],
)
def test_damaged_files(
    tmp_path: Path,
    suffix: str,
    sound: Callable[[], bytes],
    damaged: Callable[[int], object],
    read: Callable[[Path], None],
    error: type[Exception],
) -> None:
    """Messages are short. The intact file is read."""
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(sound())
    read(path)
    outcomes: Counter[bool] = Counter()
    tracemalloc.start()
    try:
        for kind, data in damaged(COUNT):  # type: ignore[attr-defined]
            path.write_bytes(data)
            try:
                read(path)
            except error as caught:
                outcomes[True] += 1
                assert 0 < len(str(caught)) < 2000 + len(str(path)), kind
            else:
                outcomes[False] += 1
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert outcomes[True] > COUNT // 3


def test_damaged_compiled_loops(tmp_path: Path) -> None:
    """None is loaded; a whole one is."""

    def double(x: int) -> int:
        return 2 * x

    loop = numba.njit(double)
    loop._cache = CompilationCache(double, tmp_path)
    assert loop(4) == 8
    (path,) = tmp_path.iterdir()
    sound = path.read_bytes()
    assert compilation_cache._read(path) is not None
    for kind, data in damaged_cache_files(sound, COUNT):
        if data != sound:
            path.write_bytes(data)
            assert compilation_cache._read(path) is None, kind
