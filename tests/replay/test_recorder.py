"""Recordings match the world on every backend, and only ``wait`` makes a run wait for the disk."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass

import pytest
import torch
from replay.recorded import expected, expected_systems, frames_of, same
from support.helpers import ODD
from support.senses import LIGHT, Senses
from train.small import FULL

import nmmo_gpu
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay import recorder as films
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.replay.segment_writer import SegmentWriter
from nmmo_gpu.systems import ActionSpec, ObservationSpec, System
from nmmo_gpu.train import play as playing

KINDS = {
    "chaos": {"preset": "chaos", **ODD, "slots": 12, "populations": 3},
    "full": {"preset": "full", **ODD, "slots": 12, "populations": 3, "npc_numbers": FULL["npc_numbers"]},
}
KINDS |= {f"{name}, system": kind | {"systems": (Senses(),)} for name, kind in KINDS.items()}
SENSES = {"senses.light": 1, "senses.place": 3, "senses.lean": 2, "senses.even": 1}
"""Numbers per agent of the columns of ``Senses``."""


def started(kind="chaos", realms=3, **settings):
    """Starts an environment of unusual size."""
    env = nmmo_gpu.make(realms=realms, seed=11, device="cpu", backend="torch", **(KINDS[kind] | settings))
    env.reset()
    return env


def play_and_record(env, recorder, ticks, expected_frames):
    """Plays random actions and stores the expected frames: (number of realm, tick) -> frame."""
    t = 0
    for _ in range(ticks):
        env.step(nmmo_gpu.random_actions(env))
        recorder.capture(t, env.step_actions)
        for realm in recorder.realms.tolist():
            expected_frames[env.config.first_realm + realm, int(env.world.tick)] = expected(env, realm)
        t += 1
        if t == len(recorder.frames):
            recorder.flush()
            t = 0
    if t:
        recorder.flush(t)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_matches_the_world(kind, tmp_path):
    """Records two of three realms in rollouts of seven ticks, the last one incomplete: every column of every
    tick."""
    env, expected_frames = started(kind, births=2, first_realm=5), {}
    recorder = Recorder(env, (7, 5), 7, tmp_path, "odd", blocking=True)
    play_and_record(env, recorder, 24, expected_frames)
    recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["realm-5-2.replay", "realm-7-2.replay"]
    for number in (5, 7):
        with Replay(tmp_path / f"realm-{number}-2.replay") as replay:
            assert replay.header["realm"] == number and replay.header["title"] == f"odd, realm {number}"
            assert (replay.base == env.world.base[number - 5].numpy()).all()
            assert [chunk.ticks for chunk in replay.chunks] == [7, 7, 7, 3]
            frames = frames_of(replay)
        assert list(frames) == list(range(2, 26))
        assert all(same(expected_frames[number, tick], frames[tick]) for tick in frames)
        assert any(any(frame["cause"]) for frame in frames.values()), "no agent died"
        for name, width in SENSES.items() if "system" in kind else ():
            assert all(len(frame[name]) == 12 * width for frame in frames.values())
            assert len({tuple(frame[name]) for frame in frames.values()}) > 1, name


def test_the_header_describes_systems(tmp_path):
    """It has their settings and fields, for viewers that do not know their classes; columns are as wide as
    the fields."""
    env, path = started("full, system"), tmp_path / "one.replay"
    playing.save_moment(env, path, "a moment")
    with Replay(path) as replay:
        (system,) = replay.header["systems"]
        (frame,) = replay
    assert (system["name"], system["class"]) == ("senses", "support.senses:Senses")
    assert system["settings"] == {"period": 8, "head": True} and system["edits"] is False
    light, place, lean, even = system["fields"]
    assert light == {
        "name": "light", "about": "light, of 200", "low": 0, "high": LIGHT, "light": True, "shape": [],
    }  # fmt: skip
    assert (place["low"], place["high"], place["shape"], place["light"]) == (-9999, 9999, [3], False)
    assert lean["shape"] == [2, 1] and (even["low"], even["high"], even["shape"]) == (0, 1, [])
    assert {name: frame.columns[name].shape for name in SENSES} == {
        name: (1, 12, width) for name, width in SENSES.items()
    }
    assert same(
        expected_systems(env, 0),
        {name: numbers.flatten().tolist() for name, numbers in frame.columns.items()},
    )
    assert frame.columns["senses.place"].min() < -1


@dataclass(frozen=True)
class Wide(System):
    """Observes a vector of any size, and has a head of any size."""

    fields: int = 1
    width: int = 1
    choices: int = 2

    def observation(self, config):
        return {f"field{i}": ObservationSpec("zeros", shape=(self.width,)) for i in range(self.fields)}

    def actions(self, config):
        return {"shout": ActionSpec(self.choices, "any")}

    def observe(self, world):
        return {name: world.alive[:1, :1, None] & False for name in self.observation(world.config)}


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"width": 4097}, "column wide.field0 has 4097 numbers per agent.* at most 4096; divide the field"),
        ({"fields": 250}, "there are 26[0-9] columns.* at most 256; join fields"),
        ({"choices": 5000}, "column probability has .* numbers per agent.*; record without the policy"),
    ],
)
def test_systems_that_no_reader_would_accept_are_refused(size, message, tmp_path):
    """The message says what to change; nothing is written."""
    env = started("chaos", systems=(Wide(**size),))
    with pytest.raises(ReplayError, match=message):
        Recorder(env, (0,), 2, tmp_path, "odd", env.action_heads, blocking=True)
    assert not any(tmp_path.iterdir())


@dataclass(frozen=True)
class Blind(System):
    """Edits the observation."""

    def edit_observation(self, world, fields):
        fields["material"].zero_()


def test_the_header_says_which_systems_edit_the_observation():
    """Viewers, which compute what agents see, cannot know what these change."""
    systems = header(started(systems=(Wide(), Blind())).config, 0, "odd")["systems"]
    assert [(system["name"], system["edits"]) for system in systems] == [("wide", False), ("blind", True)]


def test_wait_puts_all_frames_into_the_files(tmp_path, monkeypatch):
    """However slow the disk is, the files hold all frames after the wait, while they are still open."""
    env, frames = started(), SegmentWriter.frames

    def slowly(*arguments):
        time.sleep(0.2)
        frames(*arguments)

    monkeypatch.setattr(SegmentWriter, "frames", slowly)
    with closing(Recorder(env, (0,), 3, tmp_path, "odd", blocking=True)) as recorder:
        play_and_record(env, recorder, 6, {})
        recorder.wait()
        with Replay(tmp_path / "realm-0-2.replay") as replay:
            assert replay.ticks == range(2, 8)


def test_only_realms_of_this_process_are_recorded(tmp_path):
    """An environment with realms 5 to 7 records only 6 of the realms 2, 6 and 9, and nothing if it has none
    of them."""
    env = started(first_realm=5)
    recorder = Recorder(env, (2, 6, 9), 4, tmp_path / "some", "odd", blocking=True)
    assert recorder.realms.tolist() == [1]
    play_and_record(env, recorder, 4, {})
    recorder.close()
    assert [p.name for p in (tmp_path / "some").iterdir()] == ["realm-6-2.replay"]
    recorder = Recorder(env, (2,), 4, tmp_path / "none", "odd")
    play_and_record(env, recorder, 4, {})
    recorder.close()
    assert not (tmp_path / "none").exists()


class Stuck:
    """A disk that blocks until it is released."""

    def __init__(self, monkeypatch):
        self.let, self.begun = threading.Event(), threading.Event()
        frames = SegmentWriter.frames

        def wait(segment_writer, first, part):
            self.begun.set()
            assert self.let.wait(60)
            frames(segment_writer, first, part)

        monkeypatch.setattr(SegmentWriter, "frames", wait)


def test_a_slow_disk_leaves_gaps_and_does_not_block_the_run(tmp_path, monkeypatch):
    """While the disk blocks, rollouts that exceed the ring are left out. What is recorded is right, before
    and after the gap."""
    disk, env, expected_frames = Stuck(monkeypatch), started(), {}
    recorder = Recorder(env, (0,), 3, tmp_path, "odd")
    play_and_record(env, recorder, 3, expected_frames)
    assert disk.begun.wait(60)
    play_and_record(env, recorder, 3 * (films.HOST_BUFFERS - 1 + 5), expected_frames)
    assert recorder.dropped == 5
    disk.let.set()
    while recorder._free.qsize() < films.HOST_BUFFERS:
        pass
    play_and_record(env, recorder, 3, expected_frames)
    recorder.close()
    with Replay(tmp_path / "realm-0-2.replay") as replay:
        firsts = [chunk.first for chunk in replay.chunks]
        frames = frames_of(replay)
    assert firsts == [2, 5, 8, 11, 2 + 3 * (films.HOST_BUFFERS + 5)]
    assert all(same(expected_frames[0, tick], frames[tick]) for tick in frames)


def test_with_wait_nothing_is_left_out(tmp_path, monkeypatch):
    """The disk blocks in the same way, and the run waits until it continues."""
    disk, env = Stuck(monkeypatch), started()
    recorder = Recorder(env, (0,), 1, tmp_path, "odd", blocking=True)
    threading.Timer(0.2, disk.let.set).start()
    play_and_record(env, recorder, films.HOST_BUFFERS + 4, {})
    recorder.close()
    with Replay(tmp_path / "realm-0-2.replay") as replay:
        assert [chunk.first for chunk in replay.chunks] == list(range(2, films.HOST_BUFFERS + 6))
    assert recorder.dropped == 0


@pytest.mark.parametrize("blocking", [False, True])
def test_a_full_disk_stops_only_the_recording(blocking, tmp_path, monkeypatch):
    """Training continues with one warning. An export, which needs its file, stops."""

    def full(segment_writer, first, frames):
        raise ReplayError("no room")

    monkeypatch.setattr(SegmentWriter, "frames", full)
    env = started()
    recorder = Recorder(env, (0,), 1, tmp_path, "odd", blocking=blocking)

    def until_noticed():
        for _ in range(1000):
            play_and_record(env, recorder, 1, {})
            if recorder._error is not None:
                play_and_record(env, recorder, 2, {})
                return

    if blocking:
        with pytest.raises(ReplayError, match="no room"):
            until_noticed()
        with pytest.raises(ReplayError, match="no room"):
            recorder.close()
    else:
        with pytest.warns(RuntimeWarning, match="nothing more is recorded: no room") as warned:
            until_noticed()
            recorder.close()
        assert len(warned) == 1
    assert not recorder._thread.is_alive()


def test_the_ring_is_written_while_the_next_rollout_is_played(tmp_path):
    """The files hold the frames that were handed over, not the later contents of the buffer."""
    env, expected_frames = started(), {}
    recorder = Recorder(env, (0,), 2, tmp_path, "odd", blocking=True)
    play_and_record(env, recorder, 2, expected_frames)
    recorder.frames.fill_(0xAB)
    recorder.ticks.fill_(99)
    recorder.close()
    with Replay(tmp_path / "realm-0-2.replay") as replay:
        frames = frames_of(replay)
    assert list(frames) == [2, 3] and same(expected_frames[0, 3], frames[3])


def test_wide_numbers_are_clipped(tmp_path):
    """Items and gold above a column's range become its maximum; ids keep their low 32 bits."""
    env = started("full")
    recorder = Recorder(env, (0,), 1, tmp_path, "odd", blocking=True)
    env.step(nmmo_gpu.random_actions(env))
    world = env.world
    world.inventory[0, 0] = 1 << 20
    world.gold[0, 0] = 1 << 40
    world.entity[0, 0] = (1 << 33) + 5
    recorder.capture(0, env.step_actions)
    recorder.flush()
    recorder.close()
    with Replay(tmp_path / "realm-0-2.replay") as replay:
        (frame,) = frames_of(replay).values()
    assert set(frame["inventory"][: len(world.inventory[0, 0])]) == {32767}
    assert frame["gold"][0] == 2**31 - 1 and frame["entity"][0] == 5


@pytest.mark.parametrize("kind", ["full", "full, system"])
def test_recording_reads_nothing_from_the_device(kind, tmp_path):
    """It works on tensors without data."""
    env = started(kind)
    recorder = Recorder(env, (1,), 2, tmp_path, "odd", blocking=True)
    with torch.device("meta"):
        frames = torch.empty(1, recorder.layout.bytes, dtype=torch.uint8)
    world = env.world.to("meta")
    targets = torch.empty(3, env.config.world.entities, dtype=torch.int64, device="meta")
    work = torch.empty(3, env.config.world.slots, dtype=torch.int64, device="meta")
    step_actions = films.StepActions(targets, targets, work)
    realms, records = recorder.realms.to("meta"), env.records.to("meta")
    recorder.layout.write(frames, world, realms, step_actions, records=records)
    recorder.close()
