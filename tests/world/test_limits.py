"""Numbers near their limits (docs/rules.md, "Limits of numbers")."""

from __future__ import annotations

import pytest
import torch
from support.helpers import random_world
from train.small import FULL, small

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, ObservationLayout
from nmmo_gpu.world.state import MAX_AGE, MAX_EXPERIENCE, MAX_STACK

CONFIGS = {"chaos": small().env.world, "full": small(**FULL).env.world}
SHOWN = (1 << 15) - 1


def observed(backend, world):
    layout = ObservationLayout(world.config)
    shape = world.realms, world.config.slots
    records = layout.allocate(*shape, device="cpu")
    seen = torch.full((*shape, world.config.nearest), -1, dtype=torch.int32)
    backend.observe(world, records, seen)
    return layout.views(records)


def world_of(config: WorldConfig, seed: int = 0):
    return random_world(config, 2, seed, full=config.extended)


@pytest.mark.parametrize("game", CONFIGS)
def test_age_stays_at_its_maximum(any_backend, game):
    world = world_of(CONFIGS[game])
    old = world.alive & (torch.arange(world.age.shape[1]) % 2 == 0)
    world.age[old] = MAX_AGE - 1
    aged = []
    for _ in range(3):
        survived = world.alive & (world.cause == 0) & (world.health > 0)
        before = world.age.clone()
        any_backend.upkeep(world)
        survived &= (world.health > 0) & (world.cause == 0)
        expected = before.long() + survived
        assert torch.equal(world.age.long(), expected.clamp(max=MAX_AGE))
        aged.append(int((world.age == MAX_AGE).sum()))
    assert aged[-1] > 0 and int(world.age.min()) >= 0
    views = observed(any_backend, world)
    shown = views["entities"][..., ENTITY_FEATURES.index("age")]
    assert int(shown.min()) >= 0 and int(shown.max()) == 127
    assert int(views["self"].min()) >= -SHOWN - 1 and not views["self"][..., 0].lt(0).any()


def test_stacks_and_gold_are_shown_up_to_the_largest_short(any_backend):
    world = world_of(CONFIGS["full"])
    world.gold.fill_((1 << 63) - 1)
    weightless = torch.tensor([item.weight == 0 for item in world.config.content.items])
    world.inventory[..., weightless] = (1 << 31) - 1
    views = observed(any_backend, world)
    alive = world.agents(world.alive)
    assert weightless.any() and (views["inventory"][alive][:, weightless] == SHOWN).all()
    assert (views["goods"][alive][:, 0] == SHOWN).all()


def test_stacks_without_weight_are_limited_and_the_excess_is_lost(any_backend):
    world = world_of(CONFIGS["full"])
    first, *_, last = world.config.tables.weightless
    world.inventory[..., first], world.inventory[..., last] = MAX_STACK, MAX_STACK - 1
    some = torch.arange(world.inventory.shape[1]) % 3 == 0
    world.inventory[:, some, first] += 10**9
    before, ledger = world.inventory.clone(), world.ledger.clone()
    any_backend.growth(world)
    lost = torch.zeros_like(ledger)
    alive = world.agents(world.alive)
    lost[:, first, Flow.LOST] = 10**9 * (alive & some).sum(1)
    assert int(lost.sum()) > 0 and torch.equal(world.ledger, ledger + lost)
    before[..., first] = torch.where(alive & some, MAX_STACK, before[..., first])
    assert torch.equal(world.inventory, before)


def test_experience_stays_at_its_maximum(any_backend):
    world = world_of(CONFIGS["full"])
    world.xp.fill_(MAX_EXPERIENCE + 10**8)
    any_backend.growth(world)
    alive = world.agents(world.alive)
    assert (world.xp[alive] == MAX_EXPERIENCE).all() and (
        world.level[:, : world.config.slots][alive] == 99
    ).all()


@pytest.mark.parametrize("tick", [(1 << 31) - 3, (1 << 32) - 3, (1 << 48) - 3])
@pytest.mark.parametrize("game", CONFIGS)
def test_ticks_pass_32_bits(game, tick):
    digests = []
    for backend in ("torch", "numba"):
        settings = FULL if game == "full" else {}
        env = Env(small(births=-1, backend=backend, **settings).env)
        env.world.tick.fill_(tick)
        env.reset()
        for _ in range(6):
            env.step(random_actions(env))
        assert int(env.world.tick) == tick + 7
        waits = env.world.regrow_at
        assert int(waits.min()) >= -1 and bool((waits >= 0).any())
        digests.append(env.world.digest())
    assert digests[0] == digests[1]
