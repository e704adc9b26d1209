"""The writer's file is complete at every moment, and no chunk exceeds a reader's limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replay.replays import TILES, base, noise, replay_header, write

from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import MAX_TICKS
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.writer import ReplayWriter


def test_a_growing_file_can_be_read(tmp_path: Path) -> None:
    """After each call a reader finds what has been written, the writer counts its bytes, and gaps stay
    gaps."""
    path = tmp_path / "new" / "a.replay"
    with ReplayWriter(path, replay_header(), base()) as writer, Replay(path) as replay:
        assert replay.chunks == [] and replay.ticks == range(0)
        assert replay.header == replay_header() and np.array_equal(replay.base, base())
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
    """Each chunk holds as many ticks as it may, in order and without gaps."""
    path = tmp_path / "a.replay"
    with ReplayWriter(path, replay_header(), base()) as writer:
        assert writer.most_ticks == MAX_TICKS
        writer.most_ticks = 7
        writer.frames(100, noise(17))
    with Replay(path) as replay:
        assert [(entry.first, entry.ticks) for entry in replay.chunks] == [(100, 7), (107, 7), (114, 3)]
        together = np.concatenate([frames.used_up for frames in replay])
    write(path, {0: noise(17)})
    with Replay(path) as replay:
        assert np.array_equal(next(iter(replay)).used_up, together)


def test_a_map_of_numbers_round_trips(tmp_path: Path) -> None:
    """With its numbers, NaN included, and its description."""
    path = tmp_path / "a.replay"
    values = np.arange(TILES, dtype=np.float32).reshape(33, 47)
    values[2, 3] = np.nan
    with ReplayWriter(path, replay_header(), base()) as writer:
        writer.frames(1, noise(2))
        writer.heat("value", values, 2, 1, 1, "what it is")
    with Replay(path) as replay:
        (heat,) = replay.heats
        assert (heat.name, heat.population, heat.stride, heat.about, heat.tick) == (
            "value", 1, 1, "what it is", 2,
        )  # fmt: skip
        assert np.array_equal(heat.values, values, equal_nan=True)
        assert len(replay.chunks) == 1


def test_an_unwritable_path_is_an_error(tmp_path: Path) -> None:
    """The error says what to do instead."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReplayError, match="choose another path"):
        ReplayWriter(tmp_path / "file" / "a.replay", replay_header(), base())
