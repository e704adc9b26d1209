"""State that a user writes between two ticks: booked, validated, observed; undone after an error."""

from __future__ import annotations

import pytest
import torch
from train.small import FULL, small

from nmmo_gpu.content import GOLD
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import UsageError, WorldError
from nmmo_gpu.world.events import Flow

BACKENDS = ("torch", "numba")


def played(backend="numba", **settings):
    """Returns an environment of the full game after some ticks, in which every invariant is checked."""
    env = Env(small(**{**FULL, "births": -1, "check": True, "backend": backend, **settings}).env)
    env.reset()
    for _ in range(6):
        env.step(random_actions(env))
    return env


@pytest.mark.parametrize("backend", BACKENDS)
def test_goods_are_booked_and_seen(backend):
    """Gold given and items taken are in the ledger; the observation shows them; the next ticks are valid."""
    env = played(backend)
    view = env.layout.views(env.records)
    items = len(env.config.world.tables.items)
    before = env.world.ledger.clone()
    living = env.world.agents(env.world.alive)
    assert GOLD and living.any()
    with env.intervene() as world:
        world.gold[living] += 100
        taken = (world.inventory * living[..., None]).sum(1)
        world.inventory.masked_fill_(living[..., None], 0)
        world.worn.masked_fill_(living[..., None], 0)
        world.food.copy_(world.food.clamp(max=3))
    change = env.world.ledger - before
    assert torch.equal(change[:, items, Flow.INITIAL], 100 * living.sum(1))
    assert int(taken.sum()) > 0 and torch.equal(change[:, :items, Flow.LOST], taken.long())
    assert int(change.sum()) == int(100 * living.sum() + taken.sum())
    assert int(view["food"][living].max()) <= 3 if "food" in view else True
    again = torch.empty_like(env.records)
    env.backend.observe(env.world, again.copy_(env.records), env._seen)
    assert torch.equal(again, env.records)
    for _ in range(5):
        env.step(random_actions(env))


def test_the_change_is_not_rewarded():
    """Rewards for gold count from the end of the intervention, in the same tensors, which a CUDA graph
    reads."""
    env = played(reward_gold=1.0)
    kept = dict(env._rewards.kept)
    living = env.world.agents(env.world.alive).clone()
    with env.intervene() as world:
        world.gold[living] += 1_000_000
    assert kept and all(env._rewards.kept[name] is tensor for name, tensor in kept.items())
    _, reward, *_ = env.step(random_actions(env))
    assert reward.abs().max() < 1000


@pytest.mark.parametrize("wrong", ["range", "occupancy", "own error", "replaced"])
def test_an_error_restores_the_world(wrong):
    """The world, its tensors and the observation are as they were, and the next tick is the same."""
    env, twin = played(), played()
    tensors = {name: tensor for name, tensor in env.world.tensors()}
    records = env.records.clone()
    error = {"own error": ZeroDivisionError, "replaced": UsageError}.get(wrong, WorldError)
    with pytest.raises(error), env.intervene() as world:
        world.food.fill_(1)
        if wrong == "range":
            world.row.fill_(1_000)
        elif wrong == "occupancy":
            world.row[world.alive] -= 1
        elif wrong == "replaced":
            world.water = torch.ones_like(world.water)
        else:
            raise ZeroDivisionError
    assert all(getattr(env.world, name) is tensor for name, tensor in tensors.items())
    assert torch.equal(env.records, records)
    assert env.world.digest() == twin.world.digest()
    env.step(random_actions(env))
    twin.step(random_actions(twin))
    assert env.world.digest() == twin.world.digest()


def test_before_reset():
    """There is no state to change yet."""
    env = Env(small().env)
    with pytest.raises(UsageError, match=r"before reset"), env.intervene():
        pytest.fail("the context was entered")
