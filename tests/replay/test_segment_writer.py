"""A realm's segments: a new file when one is full, and the oldest ones deleted."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import pytest

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.columns import FrameLayout
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.segment_writer import SegmentWriter

CONFIG = EnvConfig(world=preset("chaos", height=33, width=47, border=7, slots=12, populations=3), realms=3)
BASE = np.full((33, 47), 2, np.uint8)
LIMIT = 60_000


def filled(segment_writer, first, chunks, seed=0):
    """Appends chunks of five ticks of random bits, which gzip cannot compress."""
    noise = np.random.default_rng(seed)
    width = FrameLayout(CONFIG.world).bytes
    for chunk in range(chunks):
        frames = noise.integers(0, 256, (5, width), dtype=np.uint8)
        frames[:, -width + FrameLayout(CONFIG.world).tiles :] = 0
        segment_writer.frames(first + 5 * chunk, frames)


def ticks_of(folder, stem="realm-1"):
    """Returns the ticks of each file by name."""
    ticks = {}
    for path in folder.glob(f"{stem}-*.replay"):
        with Replay(path) as replay:
            ticks[path.name] = replay.ticks
    return dict(sorted(ticks.items(), key=lambda item: item[1].start))


@pytest.mark.parametrize("restarts", [1, 4])
def test_the_newest_ticks_are_kept_within_the_limit(restarts, tmp_path):
    """However often the run is stopped and resumed, the files cover one range of ticks without gaps up to the
    newest, take at most about the limit, and are not empty. Files of another realm stay."""
    other = SegmentWriter(tmp_path, header(CONFIG, 2, "other"), BASE, LIMIT)
    filled(other, 1, 2)
    other.close()
    chunks = 60 // restarts
    for restart in range(restarts):
        segment_writer = SegmentWriter(tmp_path, header(CONFIG, 1, "title"), BASE, LIMIT, "run")
        filled(segment_writer, 1 + 5 * chunks * restart, chunks)
        segment_writer.close()
    kept = ticks_of(tmp_path)
    assert len(kept) > 1 and next(iter(kept)) != "realm-1-1.replay", "nothing was deleted"
    ranges = list(kept.values())
    assert all(after.start == before.stop for before, after in pairwise(ranges))
    assert ranges[-1].stop == 301
    sizes = sum((tmp_path / name).stat().st_size for name in kept)
    assert LIMIT / 4 < sizes < LIMIT * 1.2
    assert list(ticks_of(tmp_path, "realm-2")) == ["realm-2-1.replay"]


def test_readers_keep_a_replaced_file(tmp_path):
    """A run that is resumed twice from one checkpoint writes the same file twice; a reader of the first
    version continues to read it."""
    segment_writer = SegmentWriter(tmp_path, header(CONFIG, 1, "first"), BASE, LIMIT, "run")
    filled(segment_writer, 8, 2)
    segment_writer.close()
    with Replay(tmp_path / "realm-1-8.replay") as old:
        segment_writer = SegmentWriter(tmp_path, header(CONFIG, 1, "second"), BASE, LIMIT, "run")
        filled(segment_writer, 8, 1)
        segment_writer.close()
        assert len(list(old)) == 2 and old.header["title"] == "first"
    with Replay(tmp_path / "realm-1-8.replay") as new:
        assert len(list(new)) == 1 and new.header["title"] == "second"


def test_files_of_others_are_never_deleted(tmp_path):
    """Copies under other names, files with similar names, and files of another run are neither deleted nor
    counted."""
    other = SegmentWriter(tmp_path, header(CONFIG, 1, "other"), BASE, LIMIT, "another run")
    filled(other, 100_000, 4)
    other.close()
    segment_writer = SegmentWriter(tmp_path, header(CONFIG, 1, "title"), BASE, LIMIT, "run")
    filled(segment_writer, 1, 10)
    names = [
        "realm-1-best.replay", "realm-1-keep-100.replay", "realm-1-2-3.replay", "realm-1-5.replay.bak",
        "realm-1-4.replay", "Realm-1-4.replay", "realm-1-.replay", "export-1-1.replay",
    ]  # fmt: skip
    for name in names:
        shutil.copy(tmp_path / "realm-1-1.replay", tmp_path / name)
    (tmp_path / "realm-1-7.replay").write_bytes(b"mine")
    (tmp_path / "realm-1-8.replay").mkdir()
    kept = {*names, "realm-1-7.replay", "realm-1-8.replay", "realm-1-100000.replay"}
    before = {name: (tmp_path / name).read_bytes() for name in kept if (tmp_path / name).is_file()}
    filled(segment_writer, 51, 50)
    segment_writer.close()
    assert not (tmp_path / "realm-1-1.replay").exists(), "nothing was deleted"
    assert kept <= {path.name for path in tmp_path.iterdir()}
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


@pytest.mark.parametrize("run_id", ["run", ""])
def test_files_of_others_are_never_replaced(run_id, tmp_path):
    """A file that has the name of the next one, but is not of this run, is an error, and is unchanged."""
    mine = tmp_path / "realm-1-8.replay"
    mine.write_bytes(b"mine")
    segment_writer = SegmentWriter(tmp_path, header(CONFIG, 1, "title"), BASE, LIMIT, run_id)
    with pytest.raises(ReplayError, match=r"realm-1-8.replay exists.*move it"):
        filled(segment_writer, 8, 1)
    segment_writer.close()
    assert mine.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [mine]
