"""Upkeep and footprints as kernels; twin of ``nmmo_gpu.world.upkeep``."""

from __future__ import annotations

from collections import namedtuple

import triton
import triton.language as tl

from nmmo_gpu import content
from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import Fields, fields_of, launch, over_slots
from nmmo_gpu.kernels.regrowth import return_tick, table
from nmmo_gpu.kernels.slots import my_agents, my_slots, position, tile_of
from nmmo_gpu.world import state
from nmmo_gpu.world.state import Cause, World

_UpkeepFields = namedtuple(
    "_UpkeepFields",
    "seed tick alive row col cause health food water freeze chilled age level shore material regrow_at",
)
_UpkeepConfig = namedtuple(
    "_UpkeepConfig",
    "npc_slots freeze_ticks forage heal_above skills max_health max_food max_water height width "
    "threshold_count threshold_steps",
)
"""The last two are the number of thresholds of ``regrowth.table``, and the steps of a bisection over them."""
_ExploreFields = namedtuple("_ExploreFields", "alive row col explored visited")

LAVA, SCRUB, FOREST = (tl.constexpr(int(m)) for m in (Material.LAVA, Material.SCRUB, Material.FOREST))
LAVA_DEATH, HUNGER, THIRST = (tl.constexpr(int(c)) for c in (Cause.LAVA, Cause.HUNGER, Cause.THIRST))
VISITED_SIDE, MAX_AGE = tl.constexpr(state.VISITED_SIDE), tl.constexpr(state.MAX_AGE)
SKILLS, CONSTITUTION = tl.constexpr(len(content.SKILLS)), tl.constexpr(content.CONSTITUTION)


@triton.jit
def keep(
    world,
    thresholds,
    realm,
    entity,
    inside,
    living,
    plays,
    where,
    death_cause,
    max_health,
    config: tl.constexpr,
):
    """Runs the seven steps of docs/rules.md for each slot; returns the cause of death so far ([BLOCK] int32).

    ``plays``: whether the slot holds an agent; ``where``: tiles within the realm; ``death_cause``: causes so
    far. Order-free: a slot, and the tile that only its agent occupies, belong to one program."""
    tile = realm * (config.height * config.width) + where
    health_left = tl.load(world.health + entity, mask=living, other=0).to(tl.int32)
    active = living & (health_left > 0)

    # 1. Freeze.
    frozen = tl.load(world.freeze + entity, mask=inside, other=0).to(tl.int32)
    frozen = tl.where(tl.load(world.chilled + entity, mask=inside, other=0) != 0, config.freeze_ticks, frozen)
    tl.store(world.freeze + entity, tl.maximum(frozen - 1, 0).to(tl.int16), mask=active)
    tl.store(world.chilled + entity, tl.zeros_like(frozen).to(tl.int1), mask=inside)

    if config.npc_slots > 0:  # NPCs have only freeze and age
        age_now = tl.load(world.age + entity, mask=active & ~plays, other=0)
        tl.store(world.age + entity, tl.minimum(age_now, MAX_AGE - 1) + 1, mask=active & ~plays)
        active = active & plays

    # 2. Lava.
    ground = tl.load(world.material + tile, mask=active, other=0).to(tl.int32)
    burnt = active & (ground == LAVA)
    death_cause = tl.where(burnt, LAVA_DEATH, death_cause)
    active = active & (ground != LAVA)

    # 3. Forage.
    food_left = tl.load(world.food + entity, mask=active, other=0).to(tl.int32)
    eats = active & (ground == FOREST)
    food_left = tl.where(eats, tl.minimum(food_left + config.forage, config.max_food), food_left)
    tl.store(world.material + tile, tl.full(where.shape, SCRUB, tl.uint8), mask=eats)
    if config.threshold_count > 0:  # noqa: SIM102 (the second condition is known only on the device)
        if tl.max(eats.to(tl.int32), 0) > 0:
            due = return_tick(
                world, thresholds, realm, where, eats, config.threshold_count, config.threshold_steps
            )
            tl.store(world.regrow_at + tile, due, mask=eats)

    # 4. Drink.
    water_left = tl.load(world.water + entity, mask=active, other=0).to(tl.int32)
    drinks = active & (tl.load(world.shore + tile, mask=active, other=0) != 0)
    water_left = tl.where(drinks, tl.minimum(water_left + config.forage, config.max_water), water_left)

    # 5. Heal.
    heals = (food_left > config.heal_above) & (water_left > config.heal_above)
    health_left = tl.where(heals, tl.minimum(health_left + 1, max_health), health_left)

    # 6. Hunger and thirst.
    water_left, food_left = tl.maximum(water_left - 1, 0), tl.maximum(food_left - 1, 0)
    health_left = tl.maximum(health_left - (food_left == 0).to(tl.int32) - (water_left == 0).to(tl.int32), 0)
    tl.store(world.food + entity, food_left.to(tl.int16), mask=active)
    tl.store(world.water + entity, water_left.to(tl.int16), mask=active)
    tl.store(world.health + entity, health_left.to(tl.int16), mask=active)
    starved = active & (health_left == 0)
    death_cause = tl.where(starved & (water_left == 0), THIRST, death_cause)
    death_cause = tl.where(starved & (food_left == 0), HUNGER, death_cause)

    # 7. Age.
    survives = active & (health_left > 0)
    age_now = tl.load(world.age + entity, mask=survives, other=0)
    tl.store(world.age + entity, tl.minimum(age_now, MAX_AGE - 1) + 1, mask=survives)
    return death_cause


@triton.jit
def discover(world, agent, living, line, column):
    """Marks the tile of every living agent, and counts it if it is new to the agent. Writes only the
    program's own slots."""
    word = world.visited + agent * VISITED_SIDE + line % VISITED_SIDE
    before = tl.load(word, mask=living, other=0)
    bit = tl.full(line.shape, 1, tl.int64) << (column % VISITED_SIDE).to(tl.int64)
    new = living & ((before & bit) == 0)
    tl.store(word, before | bit, mask=new)
    tl.store(world.explored + agent, tl.load(world.explored + agent, mask=new, other=0) + 1, mask=new)


@triton.jit
def _upkeep(world, thresholds, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free, like ``keep``."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(world.alive + entity, mask=inside, other=0) != 0)
    where = tile_of(world, entity, living, config)
    before = tl.load(world.cause + entity, mask=living, other=0).to(tl.int32)
    if config.skills:
        max_health = tl.load(world.level + entity * SKILLS + CONSTITUTION, mask=living, other=0).to(tl.int32)
    else:
        max_health = config.max_health
    plays = slot < slots - config.npc_slots
    death_cause = keep(
        world, thresholds, realm, entity, inside, living, plays, where, before, max_health, config
    )
    tl.store(world.cause + entity, death_cause.to(tl.uint8), mask=living & (death_cause != before))


@triton.jit
def _explore(world, slots, chunks, NPCS: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free, like ``discover``."""
    _, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    line, column = position(world, being, living)
    discover(world, agent, living, line, column)


def upkeep_config(kind: type[Fields], world: World) -> Fields:
    """Returns a named tuple of type ``kind`` with the settings that ``keep`` needs."""
    _, entries, steps = table(world)
    others = {"threshold_count": entries, "threshold_steps": steps, "causes": world.deaths.shape[1]}
    return fields_of(kind, world.config, **others)


def upkeep(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.upkeep``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _upkeep, cut.programs, fields_of(_UpkeepFields, world), table(world)[0], cut.slots, cut.chunks,
        config=upkeep_config(_UpkeepConfig, world), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


def explore(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.explore``."""
    cut = over_slots(world.realms, world.config.slots)
    launch(
        _explore, cut.programs, fields_of(_ExploreFields, world), cut.slots, cut.chunks,
        NPCS=world.config.npc_slots, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
