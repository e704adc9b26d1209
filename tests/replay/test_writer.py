"""The writer's file is whole at every moment, and no chunk larger than a reader takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replay.replays import TILES, base, noise, told, write

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import MOST_TICKS
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.writer import ReplayWriter


def test_what_is_written_can_be_read_while_it_grows(tmp_path: Path) -> None:
    """After each call a reader finds what has been written, and it counts the bytes; gaps stay gaps."""
    path = tmp_path / "new" / "a.replay"
    with ReplayWriter(path, told(), base()) as writer, Replay(path) as replay:
        assert replay.chunks == [] and replay.ticks == range(0)
        assert replay.header == told() and np.array_equal(replay.base, base())
        for first, ticks in ((5, 3), (8, 1), (20, 2)):
            frames = noise(ticks, first)
            writer.frames(first, frames)
            found = replay.refresh()
            assert [(entry.first, entry.ticks) for entry in found] == [(first, ticks)]
            assert replay.read(found[0]).first == first
            assert writer.bytes == path.stat().st_size
        assert replay.refresh() == []
        assert replay.ticks == range(5, 22)


def test_many_ticks_become_several_chunks(tmp_path: Path) -> None:
    """As many as a chunk may hold, in a row and in order."""
    path = tmp_path / "a.replay"
    with ReplayWriter(path, told(), base()) as writer:
        assert writer.most_ticks == MOST_TICKS
        writer.most_ticks = 7
        writer.frames(100, noise(17))
    with Replay(path) as replay:
        assert [(entry.first, entry.ticks) for entry in replay.chunks] == [(100, 7), (107, 7), (114, 3)]
        together = np.concatenate([frames.used_up for frames in replay])
    write(path, {0: noise(17)})
    with Replay(path) as replay:
        assert np.array_equal(next(iter(replay)).used_up, together)


def test_a_map_of_numbers_comes_back(tmp_path: Path) -> None:
    """Its numbers, NaN included, and what it says of itself."""
    path = tmp_path / "a.replay"
    values = np.arange(TILES, dtype=np.float32).reshape(33, 47)
    values[2, 3] = np.nan
    with ReplayWriter(path, told(), base()) as writer:
        writer.frames(1, noise(2))
        writer.heat("value", values, 2, 1, 1, "what it is")
    with Replay(path) as replay:
        (heat,) = replay.heats
        assert (heat.name, heat.population, heat.stride, heat.about, heat.tick) == (
            "value", 1, 1, "what it is", 2,
        )  # fmt: skip
        assert np.array_equal(heat.values, values, equal_nan=True)
        assert len(replay.chunks) == 1


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """With what to do instead."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match="choose another path"):
        ReplayWriter(tmp_path / "file" / "a.replay", told(), base())
