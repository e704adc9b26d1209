"""Rollouts that compute the slots of living agents: they equal those that compute all slots."""

from __future__ import annotations

import functools
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import FULL, shout, small, state_of

from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import living as counting
from nmmo_gpu.train.living import Living, column_choices, columns_for, count_living
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.sampling import choose_all
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.train.trinity import Sword, Trinity
from nmmo_gpu.train.trinity import god as gods
from nmmo_gpu.train.trinity import sword as swords
from nmmo_gpu.world.random import draw


@hypothesis.given(st.integers(1, 5000), st.data())
def test_a_forecast_holds_the_last_rollout_and_its_trend(slots, data):
    """It is one of a few numbers, and never more than all slots."""
    counts = [data.draw(st.integers(0, slots)) for _ in range(3)]
    living = Living(counts[0], counts[1], max(counts))
    columns, choices = columns_for(living, slots), column_choices(slots)
    assert columns in choices and len(choices) <= counting.SHARES and choices[-1] == slots
    assert columns >= min(slots, living.most + living.last - living.first)
    assert columns == slots or columns <= living.most + abs(living.last - living.first) + slots / 12 + 2


def test_counts_are_those_of_the_largest_population():
    """Two ticks of two realms with two populations of two slots."""
    alive = torch.tensor([[1, 0, 0, 0, 1, 0, 1, 0], [1, 1, 0, 0, 1, 0, 1, 1]]).bool()
    after = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 0]]).bool()
    assert Living(*count_living(alive, after, 2).tolist()) == Living(first=2, last=1, most=3)


def static(backend, config=None):
    """Returns plain functions with static shapes, as on a GPU."""
    return TrainingBackend(choose=functools.partial(choose_all, draw))


KINDS = {
    "plain": {},
    "the full game, recurrent": {
        **FULL, "recurrent": True, "targeting": "learned", "reward_experience": 0.1, "reward_gold": 0.1,
    },
    "kernels": {"backend": "triton", "realms": 1, "height": 32, "width": 33, "horizon": 2, "slots": 12},
}  # fmt: skip


@pytest.fixture(params=KINDS)
def started(request, monkeypatch, tmp_path):
    """Returns a function that starts a recorded run with static shapes in a world that fills up."""
    settings = {"backend": "torch", "births": 1, "slots": 24, "horizon": 4, "record": (0,)}
    settings |= KINDS[request.param]
    if settings["backend"] == "triton":
        pytest.importorskip("triton")
        settings |= {"device": KERNEL_DEVICE.type, "check_actions": False}
    else:
        monkeypatch.setattr(swords, "training_backend", static)

    def start(name):
        run = Run(small(tmp_path / name, **settings))
        shout(run.sword.policy, 30.0)
        return run

    return start


def assert_equal_runs(found, expected):
    """Compares worlds, choices and counts bit by bit, and what the networks return up to rounding."""

    def compare(one, other, name):
        close = {"rtol": 1e-4, "atol": 1e-4} if one.is_floating_point() else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(one, other, **close, msg=lambda text: f"{name}: {text}")

    for name, tensor in state_of(expected).items():
        compare(state_of(found)[name], tensor, name)
    for name, tensor in vars(expected.god.rollout).items():
        if tensor is not None:
            compare(vars(found.god.rollout)[name], tensor, name)
    if found.device.type == "cpu":  # a GPU rounds products of different sizes differently
        assert torch.equal(found.god.recorder.frames, expected.god.recorder.frames)
    empty = ~found.god.rollout.alive
    for outputs in (found.god.rollout.value[:-1], found.god.rollout.log_probability):
        assert empty.any() and not outputs[empty].any()


def test_any_number_of_columns_gives_the_same_rollouts(started, monkeypatch):
    """All living agents are computed, whatever is forecast: if a population had more of them, the rollout is
    repeated from the same state. The second of these forecasts ignores that agents live already."""
    expected, run = started("all"), started("few")
    expected.god._living_only = False
    slots = run.god._slots
    forecasts = [slots * 5 // 6, 1, slots * 5 // 6, slots]
    monkeypatch.setattr(gods, "columns_for", lambda living, slots: forecasts[run.god.rollout_number])
    repeated, undo = [], run.god._undo
    monkeypatch.setattr(run.god, "_undo", lambda: (repeated.append(run.god.rollout_number), undo()))
    exceeded = []
    for run.god.rollout_number in range(4):
        columns = run.god.columns
        for one in (run, expected):
            one.god.collect()
        rollout, after = run.god.rollout, run.god.env.world
        living = Living(*count_living(rollout.alive, after.agents(after.alive), 2).tolist())
        if living.most > columns:
            exceeded.append(run.god.rollout_number)
        assert_equal_runs(run, expected)
    assert repeated == exceeded and len({0, 1, 3} - {*exceeded}) > 1 and 2 in exceeded
    assert set(run.god.plays) == {slots, slots * 5 // 6, 1} and set(expected.god.plays) == {slots}
    for one in (run, expected):
        one.close()
    (film,) = (Path(run.config.run) / "replays").iterdir()
    with Replay(film) as replay:
        assert len(replay.ticks) == 4 * run.config.ppo.horizon, "repeated ticks are recorded once"


class Hermits(Sword):
    """Agents stay and attack no one."""

    def decide(self, records, world, state):
        decision = super().decide(records, world, state)
        return decision._replace(actions=torch.zeros_like(decision.actions))


def test_a_subclass_that_decides_computes_all_slots(monkeypatch):
    """Because what else it does could not be undone. The stock class computes fewer from the second rollout
    on."""
    monkeypatch.setattr(swords, "training_backend", static)
    stock, own = (Run(small(backend="torch"), trinity=Trinity(sword=sword)) for sword in (Sword, Hermits))
    for run in (stock, own):
        for _ in range(2):
            run.god.collect()
    assert len(stock.god.plays) == 2 and min(stock.god.plays) < 16
    assert list(own.god.plays) == [16]
