"""Upkeep and footprints as kernels; twin of ``nmmo_gpu.world.upkeep``."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from nmmo_gpu import content
from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.movement import map_size
from nmmo_gpu.kernels.regrowth import return_tick, table
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.world import state
from nmmo_gpu.world.state import Cause, World

LAVA, SCRUB, FOREST = (tl.constexpr(int(m)) for m in (Material.LAVA, Material.SCRUB, Material.FOREST))
LAVA_DEATH, HUNGER, THIRST = (tl.constexpr(int(c)) for c in (Cause.LAVA, Cause.HUNGER, Cause.THIRST))
VISITED_SIDE = tl.constexpr(state.VISITED_SIDE)
SKILLS, CONSTITUTION = tl.constexpr(len(content.SKILLS)), tl.constexpr(content.CONSTITUTION)


@triton.jit
def keep(
    seed, tick, thresholds, realm, agent, inside, living, plays, where, death_cause, most,
    health, food, water, freeze, chilled, age, shore, material, regrow_at,
    NPCS: tl.constexpr, FREEZE_TICKS: tl.constexpr, FORAGE: tl.constexpr, HEAL_ABOVE: tl.constexpr,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, ENTRIES: tl.constexpr, STEPS: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The seven steps of docs/rules.md for each slot; returns the cause of death so far ([BLOCK] int32).

    ``plays``: whether the slot holds an agent; ``where``: tiles within the realm; ``death_cause``: causes so
        far; ``most``: the maximum health. Order-free: a slot, and the tile that only its agent occupies,
        belong to one program."""
    tile = realm * (HEIGHT * WIDTH) + where
    health_left = tl.load(health + agent, mask=living, other=0).to(tl.int32)
    active = living & (health_left > 0)

    # 1. Freeze.
    frozen = tl.load(freeze + agent, mask=inside, other=0).to(tl.int32)
    frozen = tl.where(tl.load(chilled + agent, mask=inside, other=0) != 0, FREEZE_TICKS, frozen)
    tl.store(freeze + agent, tl.maximum(frozen - 1, 0).to(tl.int16), mask=active)
    tl.store(chilled + agent, tl.zeros_like(frozen).to(tl.int1), mask=inside)

    if NPCS > 0:  # for NPCs only freeze and age change
        age_now = tl.load(age + agent, mask=active & ~plays, other=0)
        tl.store(age + agent, age_now + 1, mask=active & ~plays)
        active = active & plays

    # 2. Lava.
    ground = tl.load(material + tile, mask=active, other=0).to(tl.int32)
    burnt = active & (ground == LAVA)
    death_cause = tl.where(burnt, LAVA_DEATH, death_cause)
    active = active & (ground != LAVA)

    # 3. Forage.
    food_left = tl.load(food + agent, mask=active, other=0).to(tl.int32)
    eats = active & (ground == FOREST)
    food_left = tl.where(eats, tl.minimum(food_left + FORAGE, MAX_FOOD), food_left)
    tl.store(material + tile, tl.full(where.shape, SCRUB, tl.uint8), mask=eats)
    if ENTRIES > 0:  # noqa: SIM102 (the second condition is known on the device alone)
        if tl.max(eats.to(tl.int32), 0) > 0:
            due = return_tick(seed, tick, thresholds, realm, where, eats, ENTRIES, STEPS)
            tl.store(regrow_at + tile, due, mask=eats)

    # 4. Drink.
    water_left = tl.load(water + agent, mask=active, other=0).to(tl.int32)
    drinks = active & (tl.load(shore + tile, mask=active, other=0) != 0)
    water_left = tl.where(drinks, tl.minimum(water_left + FORAGE, MAX_WATER), water_left)

    # 5. Heal.
    heals = (food_left > HEAL_ABOVE) & (water_left > HEAL_ABOVE)
    health_left = tl.where(heals, tl.minimum(health_left + 1, most), health_left)

    # 6. Hunger and thirst.
    water_left, food_left = tl.maximum(water_left - 1, 0), tl.maximum(food_left - 1, 0)
    health_left = tl.maximum(health_left - (food_left == 0).to(tl.int32) - (water_left == 0).to(tl.int32), 0)
    tl.store(food + agent, food_left.to(tl.int16), mask=active)
    tl.store(water + agent, water_left.to(tl.int16), mask=active)
    tl.store(health + agent, health_left.to(tl.int16), mask=active)
    starved = active & (health_left == 0)
    death_cause = tl.where(starved & (water_left == 0), THIRST, death_cause)
    death_cause = tl.where(starved & (food_left == 0), HUNGER, death_cause)

    # 7. Age.
    survives = active & (health_left > 0)
    age_now = tl.load(age + agent, mask=survives, other=0)
    tl.store(age + agent, age_now + 1, mask=survives)
    return death_cause


@triton.jit
def discover(agent, living, line, column, explored, visited):
    """Marks the tile of every living agent, and counts it if it is new to the agent. Writes its own slots
    only."""
    word = visited + agent * VISITED_SIDE + line % VISITED_SIDE
    before = tl.load(word, mask=living, other=0)
    bit = tl.full(line.shape, 1, tl.int64) << (column % VISITED_SIDE).to(tl.int64)
    new = living & ((before & bit) == 0)
    tl.store(word, before | bit, mask=new)
    tl.store(explored + agent, tl.load(explored + agent, mask=new, other=0) + 1, mask=new)


@triton.jit
def _upkeep(
    seed, tick, thresholds, alive, row, col, cause, health, food, water, freeze, chilled, age, level,
    shore, material, regrow_at, slots, chunks,
    NPCS: tl.constexpr, FREEZE_TICKS: tl.constexpr, FORAGE: tl.constexpr, HEAL_ABOVE: tl.constexpr,
    SKILLED: tl.constexpr, MAX_HEALTH: tl.constexpr,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, ENTRIES: tl.constexpr, STEPS: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free, like ``keep``."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(alive + agent, mask=inside, other=0) != 0)
    where = tl.load(row + agent, mask=living, other=0) * WIDTH + tl.load(col + agent, mask=living, other=0)
    before = tl.load(cause + agent, mask=living, other=0).to(tl.int32)
    if SKILLED:
        most = tl.load(level + agent * SKILLS + CONSTITUTION, mask=living, other=0).to(tl.int32)
    else:
        most = MAX_HEALTH
    death_cause = keep(
        seed, tick, thresholds, realm, agent, inside, living, slot < slots - NPCS, where,
        before, most, health, food, water, freeze, chilled, age, shore, material, regrow_at,
        NPCS, FREEZE_TICKS, FORAGE, HEAL_ABOVE, MAX_FOOD, MAX_WATER, ENTRIES, STEPS, HEIGHT, WIDTH,
    )  # fmt: skip
    tl.store(cause + agent, death_cause.to(tl.uint8), mask=living & (death_cause != before))


@triton.jit
def _explore(
    alive, row, col, explored, visited, slots, chunks, NPCS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Order-free, like ``discover``."""
    _, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    line, column = tl.load(row + being, mask=living, other=0), tl.load(col + being, mask=living, other=0)
    discover(agent, living, line, column, explored, visited)


def upkeep_constants(world: World) -> dict[str, Any]:
    """The constants of ``keep``, from the rules."""
    cfg = world.config
    _, entries, steps = table(world)
    return {
        "NPCS": cfg.npc_slots,
        "FREEZE_TICKS": cfg.freeze_ticks,
        "FORAGE": cfg.forage,
        "HEAL_ABOVE": cfg.heal_above,
        "MAX_HEALTH": cfg.max_health,
        "MAX_FOOD": cfg.max_food,
        "MAX_WATER": cfg.max_water,
        "ENTRIES": entries,
        "STEPS": steps,
        **map_size(world),
    }


def upkeep(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.upkeep``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _upkeep, cut.programs, world.seed, world.tick, table(world)[0], world.alive, world.row, world.col,
        world.cause, world.health, world.food, world.water, world.freeze, world.chilled, world.age,
        world.level, world.shore, world.material, world.regrow_at, cut.slots, cut.chunks,
        SKILLED=world.config.skills, BLOCK=cut.block, warps=cut.warps, **upkeep_constants(world),
    )  # fmt: skip


def explore(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.explore``."""
    cut = over_slots(world.realms, world.config.slots)
    launch(
        _explore, cut.programs, world.alive, world.row, world.col, world.explored, world.visited,
        cut.slots, cut.chunks, NPCS=world.config.npc_slots, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
