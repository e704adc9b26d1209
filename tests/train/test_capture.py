"""Rollout and update can be captured in a CUDA graph: replayed as recorded operations on fixed tensors,
without Python, they give the same bits, and they never read from the device."""

from __future__ import annotations

import pytest
import torch
from support.example_systems import Daylight, DeathFog, DenseRegrowth, Flag, TradeTax
from train.example_runs import fed
from train.small import FULL, assert_equal_states, small, state_of
from train.tape import Tape, record_iteration

from nmmo_gpu.train import ppo
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import god as gods

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="tests/train/test_residency.py captures")

KINDS = {
    "recurrent, learned targets, several blocks": {
        "recurrent": True,
        "targeting": "learned",
        "births": 2,
        "spawn": "anywhere",
        "slots": 40,
    },
    "bf16, two layers, slots kept full": {"precision": "bf16", "layers": 2, "births": -1},
    "the full game and a system of it, recorded": {
        **FULL,
        "targeting": "learned",
        "births": -1,
        "npc_numbers": (3, 2, 1),
        "systems": (TradeTax(),),
        "record": (0,),
    },
    "systems and a reward function": {
        "systems": (
            Daylight(period=5, night=2),
            DenseRegrowth(),
            DeathFog(period=20, radius=2, grace=0),
            Flag(),
        ),
        "births": -1,
        "reward": fed,
    },
}


def tiny(**settings):
    """Returns a run with the triton backend."""
    size = {"realms": 1, "slots": 12, "populations": 2, "height": 32, "width": 33, "horizon": 2}
    size["check_actions"] = False  # as on a GPU
    run = Run(small(**{"backend": "triton", **size, **settings}))
    run.god.env.world.static_shapes = True  # likewise
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_equals_the_call(kind, monkeypatch, tmp_path):
    """Two runs have one seed. One makes four ordinary iterations; the other makes two, the second of which is
    recorded, and replays the recordings twice. Updates have one size, because each size has a graph of its
    own. Where slots are not kept full, rollouts compute three quarters of them, which is enough here."""
    monkeypatch.setattr(ppo, "SHARES", 1)
    monkeypatch.setattr(gods, "columns_for", lambda living, slots: slots * 3 // 4)
    if "several blocks" in kind:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    called, replayed = (tiny(run=tmp_path / name, **KINDS[kind]) for name in ("called", "replayed"))
    for _ in range(4):
        called.iterate()
    replayed.iterate()
    collect, learn = record_iteration(replayed)
    assert collect.launches > 2 * 10 and learn.launches > 3
    for _ in range(2):
        collect.replay()
        learn.replay()
    fewer = {15} if "several blocks" in kind else set()
    assert set(called.god.plays) - {called.god._slots} == fewer
    first, second = state_of(replayed), state_of(called)
    for state in (first, second):
        del state["counters"]
    assert int(replayed.god.env.world.tick) == 1 + 4 * 2
    assert_equal_states(first, second)
    if "recorded" in kind:
        films = [run.god.recorder for run in (called, replayed)]
        assert films[0].ticks.tolist() == films[1].ticks.tolist() == [8, 9]
        assert torch.equal(films[0].frames, films[1].frames) and films[0].frames.any()
        called.close()
        replayed.close()


def test_the_recording_shows_what_cannot_be_captured():
    """Reading from the device is recorded, and a number that Python computed keeps its value in a replay."""
    with Tape() as tape:
        world = torch.tensor([3])
        double = world + int(world)
    assert len(tape.waits) == 1 and "_local_scalar_dense" in tape.waits[0]
    count = 0

    def counted(into):
        nonlocal count
        count += 1
        into += count

    total = torch.zeros(1)
    with Tape() as tape:
        counted(total)
    tape.replay()
    assert total.item() == 2 and count == 1 and double.item() == 6
