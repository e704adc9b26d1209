"""Worlds that were written by hand: whatever ``World.validate`` accepts, torch and numba play alike.

Where they would differ, the state is refused: a presence that disagrees with the occupant, an inventory
beyond its capacity, ids that occur twice. ``tests/world/test_validate.py`` has a case for each."""

from __future__ import annotations

import random

import pytest
import torch
from support.choices import random_choices
from support.helpers import ODD, assert_same, random_world
from support.parity import NUMBA, TORCH, Twin
from support.ticking import generator, table_of

from nmmo_gpu.config import preset
from nmmo_gpu.errors import WorldError
from nmmo_gpu.world import tick
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World, field_range, stock_fields

CONFIGS = {
    "chaos": preset("chaos", **ODD, slots=21, populations=7, births=3),
    "full": preset("full", **ODD, slots=21, populations=7, births=3, npc_numbers=(6, 6, 4), offer_ticks=4),
    "flat": preset(
        "full", **ODD, slots=21, populations=7, births=-1, npc_numbers=(6, 6, 4), rolls=False, immune_ticks=0
    ),
}


def rewritten(world: World, draw: random.Random) -> list[str]:
    """Writes values between the limits of their fields, and takes back what makes the world invalid. Returns
    the names of the fields that were changed."""
    changed = []
    for field in draw.choices(stock_fields(), k=18):
        values, (low, high) = getattr(world, field.name), field_range(field, world.config)
        if not values.numel() or field.name in ("seed", "tick"):
            continue
        high = min(high, 1 << 29)  # so that counts have room to grow
        before, low = values.clone(), max(low, -(1 << 29))
        new = torch.randint(low, high + 1, values.shape, generator=generator(draw.randrange(1 << 30)))
        if draw.random() < 0.5:
            new.fill_(draw.choice((low, high)))
        some = torch.rand(values.shape, generator=generator(draw.randrange(1 << 30)))
        values.copy_(torch.where(some < draw.choice((0.02, 0.3, 1.0)), new, values.long()).to(values.dtype))
        try:
            world.validate()
        except WorldError:
            values.copy_(before)
        else:
            changed.append(field.name)
    return changed


def records(world: World, backend) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the observation of a world."""
    config, layout = world.config, ObservationLayout(world.config)
    out = layout.allocate(world.realms, config.slots, device="cpu")
    seen = torch.empty(world.realms, config.slots, config.nearest, dtype=torch.int32)
    backend.observe(world, out, seen)
    return out, seen


@pytest.mark.parametrize("name", CONFIGS)
def test_valid_worlds_are_played_alike(name):
    """For several ticks after which the world is still valid."""
    twin, draw, changed = Twin(*NUMBA), random.Random(name), set()
    for seed in range(12):
        ours = random_world(CONFIGS[name], 2, seed, fill=draw.choice((0.3, 0.7, 1.0)))
        said = rewritten(ours, draw)
        changed.update(said)
        theirs, choose = ours.clone(), generator(seed)
        for time in range(3):
            for mine, other in zip(records(ours, TORCH), records(theirs, twin.backend), strict=True):
                assert torch.equal(mine, other), f"seed {seed}, tick {time}, changed {said}"
            if ours.config.extended:
                chosen = random_choices(ours, choose)
            else:
                heads = torch.tensor([5, 3, ours.config.nearest + 1])
                actions = (torch.rand(2, ours.config.slots, 3, generator=choose) * heads).long()
                chosen = TORCH.decode(actions, table_of(ours))
            tick.step(ours, TORCH, *chosen)
            tick.step(theirs, twin.backend, *chosen)
            assert_same(theirs, ours, f"seed {seed}, tick {time}, changed {said}")
            ours.validate()
    assert {"food", "water", "freeze", "age", "damage"} <= changed and len(changed) > 9
