"""Fights in random worlds, to compare combat, loot and growth of a backend with those of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from support.helpers import ODD, assert_same, litter, random_orders, random_world, unclean
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import STANDARD, Content, Drop, Item, NPCKind
from nmmo_gpu.content.tables import experience_table
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.burial import burial
from nmmo_gpu.world.combat import combat
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.growth import growth
from nmmo_gpu.world.loot import loot
from nmmo_gpu.world.state import MAX_EXPERIENCE, Cause, World

CRAMPED = {**ODD, "border": 12}
"""Nine rows of 23 tiles."""
LOPSIDED = Content(
    items=(
        Item("feather", weight=0, lot=127), Item("stick", "sword", 3, 7, 500), Item("meat", heals=3),
        Item("dart", "knife", 1, 0, 0, weight=0), Item("spear", "knife", 2, 500, 20),
        Item("knife", "knife", 6, 100, 40, weight=0),
    ),
    npcs=(
        NPCKind("hen", 3, 1, ("grass", "scrub", "forest"), "provoked", sight=2, aggro_ticks=127, experience=7,
                drops=(Drop("feather", 2, 9), Drop("meat", chance=0.7), Drop("feather", 100, 100, 0.5),
                       Drop("gold", 1, 3), Drop("stick", 1, 60), Drop("meat", 5, 5))),
        NPCKind("fox", 120, 99, ("grass", "scrub"), "always", sight=2, experience=10**6),
        NPCKind("cow", 2, 1, ("grass", "scrub", "forest"), "never", drops=(Drop("meat", 40, 50),)),
    ),
    prices=(7, 100000),
)  # fmt: skip
"""No armor, one sword, three kinds of knives; NPCs that drop one item several times or exceed the
capacity."""
SETTINGS: dict[str, tuple[int, WorldConfig]] = {
    "full": (3, preset("full", **CRAMPED, slots=49, populations=7, npc_numbers=(4, 5, 3), immune_ticks=3)),
    "three realms of seven": (3, preset("full", **CRAMPED, slots=7, populations=1, npc_numbers=(3, 2, 1))),
    "flat, with skills": (
        2, preset("full", **CRAMPED, slots=60, populations=3, rolls=False, damage=(4, 2, 1), reach=(1, 2, 3),
                  npc_numbers=(3, 3, 3), immune_ticks=3),
    ),
    "rolls alone": (
        1, preset("chaos", **CRAMPED, slots=60, populations=3, rolls=True, immune_ticks=2, reach=(3, 2, 4)),
    ),
    "nothing but talk": (
        1, preset("chaos", **CRAMPED, slots=33, populations=3, tokens=2, content=Content(prices=(1,))),
    ),
    "law that teaches": (1, preset("law", **CRAMPED, slots=33, populations=1, skills=True)),
    "lopsided content": (
        2, preset("full", **CRAMPED, slots=50, populations=2, content=LOPSIDED, npc_numbers=(9, 2, 4),
                  capacity=9, immune_ticks=1),
    ),
}  # fmt: skip
assert STANDARD.items != LOPSIDED.items


def worlds(setting: str, seeds: int) -> Iterator[tuple[World, Tensor, Tensor, Tensor]]:
    """Yields (world, style, target, unlucky): a random world in which many agents are close to death or to
    the next level, with random numbers in the slots of dead agents; the orders of all slots; and a mask of
    the slots that die for another reason in the same tick."""
    realms, config = SETTINGS[setting]
    for seed in range(seeds):
        random = torch.Generator().manual_seed(seed)
        world = random_world(config, realms, seed, fill=(0.9, 0.5, 1.0)[seed % 3])
        frail = torch.rand(world.alive.shape, generator=random) < 0.6
        world.health.copy_(torch.where(frail, world.health.clamp(max=2), world.health))
        if config.skills:
            _almost_there(world, random)
        _, style, target = random_orders(world, random)
        unlucky = torch.rand(world.alive.shape, generator=random) < 0.08
        unlucky[:, config.slots :] = False
        yield litter(world, seed), style, target, unlucky


def _almost_there(world: World, random: torch.Generator) -> None:
    """Sets experience of some agents to a few points below the next level, and of others just below the
    cap."""
    level = world.agents(world.level).long()
    following = torch.tensor([*experience_table(), MAX_EXPERIENCE])[level] - torch.randint(
        6, level.shape, generator=random
    )
    some = torch.rand(level.shape, generator=random) < 0.5
    world.xp.copy_(torch.where(some, following.int(), world.xp))
    veteran = torch.rand(level.shape, generator=random) < 0.05
    world.xp.masked_fill_(veteran, MAX_EXPERIENCE - 1)
    level.masked_fill_(veteran, 99)
    world.agents(world.level).copy_(level)


def hold(backend: Backend, setting: str, seeds: int, device: torch.device | str = "cpu") -> Counter[str]:
    """Runs combat, loot and growth by torch and by the backend, and checks after each phase that the results
    are equal. Returns counts of what happened."""
    seen: Counter[str] = Counter()
    for seed, (world, style, target, unlucky) in enumerate(worlds(setting, seeds)):
        world.damage.fill_(77)  # both must overwrite all of it
        # The dtypes that torch decodes actions into, and those of the kernels.
        kinds = ((torch.int64, torch.int64), (torch.uint8, torch.int32))[seed % 2]
        orders = [order.to(kind) for order, kind in zip((style, target), kinds, strict=True)]
        there = [order.to(device) for order in orders]
        before = world.clone()

        theirs = world.to(device)
        combat(world, *orders)
        backend.combat(theirs, *there)
        assert_same(theirs.to("cpu"), world, "combat: theirs, then torch")
        assert unclean(theirs) == []
        seen["throws"] += int(world.ledger[..., Flow.USED].sum() - before.ledger[..., Flow.USED].sum())
        seen["provoked"] += int((world.aggro_ticks > before.aggro_ticks).sum())
        seen["killed"] += int((world.cause == Cause.COMBAT).sum())
        for name in ("chilled", "food", "xp", "top_attacker"):
            seen[name] += int((getattr(world, name) != getattr(before, name)).sum())

        world.cause[unlucky & world.alive & (world.cause == 0)] = int(Cause.HUNGER)
        fought = world.clone()
        theirs = world.to(device)
        loot(world)
        backend.loot(theirs)
        assert_same(theirs.to("cpu"), world, "loot: theirs, then torch")
        assert unclean(theirs) == []
        for flow in (Flow.LOST, Flow.DROPPED):
            seen[flow.name.lower()] += int((world.ledger - fought.ledger)[..., flow].sum())
        gains = (world.inventory - fought.inventory).clamp(min=0)
        seen["inherited"] += int(gains.sum()) - int(
            (world.ledger - fought.ledger)[:, :-1, Flow.DROPPED].sum()
        )
        seen["npc_kills"] += int((world.npc_kills - fought.npc_kills).sum())

        burial(world)
        buried = world.clone()
        theirs = world.to(device)
        growth(world)
        backend.growth(theirs)
        assert_same(theirs.to("cpu"), world, "growth: theirs, then torch")
        assert unclean(theirs) == []
        seen["levels"] += int((world.events - buried.events)[..., Event.LEVELS].sum())
        seen["dressed"] += int((world.worn != buried.worn).sum())
        seen["capped"] += int((world.xp < buried.xp).sum())
    return seen


EXPECTED = {
    "full": {
        "throws", "provoked", "killed", "chilled", "xp", "top_attacker", "lost", "dropped", "inherited",
        "npc_kills",
        "levels", "dressed", "capped",
    },
    "three realms of seven": {"killed", "xp", "lost"},
    "flat, with skills": {
        "provoked", "killed", "chilled", "food", "xp", "top_attacker", "lost", "dropped", "inherited",
        "npc_kills",
        "levels", "dressed", "capped",
    },
    "rolls alone": {"throws", "killed", "chilled", "top_attacker", "lost", "inherited"},
    "nothing but talk": {"killed", "chilled", "food", "top_attacker"},
    "law that teaches": {"lost", "top_attacker", "levels"},
    "lopsided content": {
        "throws", "provoked", "killed", "chilled", "xp", "top_attacker", "lost", "dropped", "inherited",
        "npc_kills",
        "levels", "dressed", "capped",
    },
}  # fmt: skip
"""What must happen in each setting, given enough seeds."""
