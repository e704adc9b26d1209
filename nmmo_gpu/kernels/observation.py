"""Observation in three kernels; twin of ``nmmo_gpu.world.observation``.

``_public_stats`` packs an agent's public attributes into one word, so that one load reads them. ``_windows``
writes the windows, and finds the nearest entities. ``_record_fields`` writes the rest of the record, in whole
words and rows of bytes, because many small writes take as long as large ones. The kernels of the full game
are in ``nmmo_gpu.kernels.observation_goods``."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels.launch import agents_per_program, launch, over_slots
from nmmo_gpu.kernels.movement import down, map_size, right, walkable
from nmmo_gpu.kernels.observation_goods import goods, looks_of
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.world import layout as records_layout
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.state import World

FRIEND, STRANGER = tl.constexpr(records_layout.FRIEND), tl.constexpr(records_layout.STRANGER)
NPC = tl.constexpr(records_layout.NPC)
NPC_KIND_AT = tl.constexpr(records_layout.ENTITY_ATTRIBUTES.index("npc_kind"))
IMMUNE_AT = tl.constexpr(records_layout.ENTITY_ATTRIBUTES.index("immune"))
THROWN, KNIFE, GEAR_KINDS = (tl.constexpr(n) for n in (content.RANGE, content.KNIFE, len(content.GEAR)))
LARGEST_BYTE = tl.constexpr(127)
LARGEST_SHORT = tl.constexpr(32767)


@triton.jit
def byte_at(value, PLACE: tl.constexpr):
    """A value of 0 to 127 or more as byte number PLACE of an int64 word."""
    return tl.minimum(value.to(tl.int64), LARGEST_BYTE) << (8 * PLACE)


@triton.jit
def short_at(value, PLACE: tl.constexpr):
    """An int16 value as quarter number PLACE of an int64 word."""
    return (value.to(tl.int64) & 0xFFFF) << (16 * PLACE)


@triton.jit
def _public_stats(
    row, col, age, health, food, water, freeze, damage, public_stats, slots, chunks, BLOCK: tl.constexpr
):
    """One word per slot: the low bytes of row and column, then age, health, food, water, freeze, damage.

    Order-free: each slot is written only by its own program."""
    _, _, agent, inside = my_slots(slots, chunks, BLOCK)
    card = (tl.load(row + agent, mask=inside, other=0) & 0xFF).to(tl.int64)
    card |= (tl.load(col + agent, mask=inside, other=0) & 0xFF).to(tl.int64) << 8
    card |= byte_at(tl.load(age + agent, mask=inside, other=0), 2)
    card |= byte_at(tl.load(health + agent, mask=inside, other=0), 3)
    card |= byte_at(tl.load(food + agent, mask=inside, other=0), 4)
    card |= byte_at(tl.load(water + agent, mask=inside, other=0), 5)
    card |= byte_at(tl.load(freeze + agent, mask=inside, other=0), 6)
    card |= byte_at(tl.load(damage + agent, mask=inside, other=0), 7)
    tl.store(public_stats + agent, card, mask=inside)


@triton.jit
def _windows(
    alive, row, col, material, presence, occupant, ring, records, seen, slots, chunks, population_size,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, VISION: tl.constexpr, NEAREST: tl.constexpr,
    BYTES: tl.constexpr, WINDOWS_AT: tl.constexpr, NPCS: tl.constexpr, POPULATIONS: tl.constexpr,
    BLOCK: tl.constexpr, LANES: tl.constexpr, CELLS_PADDED: tl.constexpr, NEAREST_PADDED: tl.constexpr,
):  # fmt: skip
    """Windows, padding, and ``seen``; zeros and no rows for dead agents.

    Order-free: an agent's record and its row of ``seen`` are written by one program, and each element by one
    lane: the r-th neighbour's lane writes element r, and other lanes write the elements after the last
        neighbour."""
    SIDE: tl.constexpr = 2 * VISION + 1
    CELLS: tl.constexpr = SIDE * SIDE
    realm, slot, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    here = tl.load(row + being, mask=living, other=0) * WIDTH + tl.load(col + being, mask=living, other=0)
    plane = realm * (HEIGHT * WIDTH)

    # Both windows, one after the other, as in the record.
    lane = tl.arange(0, LANES)
    of_others = lane >= CELLS
    cell = tl.where(of_others, lane - CELLS, lane)
    tile = here[:, None] + ((cell // SIDE - VISION) * WIDTH + cell % SIDE - VISION)[None, :]
    source = tl.where(of_others[None, :], presence + plane + tile, material + plane + tile)
    byte = tl.load(source, mask=living[:, None] & (lane < 2 * CELLS)[None, :], other=0).to(tl.int32)
    own = (slot // population_size + 1)[:, None]
    kind = tl.where(byte == 0, 0, tl.where(byte == own, FRIEND, STRANGER))
    if NPCS > 0:
        kind = tl.where(byte > POPULATIONS, byte + (NPC - 1 - POPULATIONS), kind)
    byte = tl.where(of_others[None, :], kind, byte).to(tl.uint8)
    into = records + agent[:, None] * BYTES + WINDOWS_AT + lane[None, :]
    tl.store(into, byte, mask=inside[:, None] & (lane < BYTES - WINDOWS_AT)[None, :])

    # The neighbours, in the order of distance; the agent itself, of rank 0, is left out.
    rank = tl.arange(0, CELLS_PADDED)
    step = tl.load(ring + rank, mask=rank < CELLS, other=0)
    tile = here[:, None] + step[None, :]
    entity_attributes = living[:, None] & ((rank > 0) & (rank < CELLS))[None, :]
    somebody = tl.load(presence + plane + tile, mask=entity_attributes, other=0) != 0
    count = tl.cumsum(somebody.to(tl.int32), 1)
    listed = somebody & (count <= NEAREST)
    who = tl.load(occupant + plane + tile, mask=listed, other=0) - 1
    table = seen + agent[:, None] * NEAREST
    tl.store(table + count - 1, who, mask=listed)
    found = tl.sum(somebody.to(tl.int32), 1)[:, None]
    place = tl.arange(0, NEAREST_PADDED)[None, :]
    nobody = inside[:, None] & (place < NEAREST) & (place >= found)
    tl.store(table + place, tl.full([BLOCK, NEAREST_PADDED], -1, tl.int32), mask=nobody)


@triton.jit
def reachable(exists, distance, REACH: tl.constexpr, DAMAGE: tl.constexpr):
    """[BLOCK] int32: number of rows of the entity table in reach of a style. Rows are sorted by distance, so
    these are the first ones."""
    within = exists & (distance <= REACH) & (DAMAGE > 0)
    return tl.sum(within.to(tl.int32), 1)


@triton.jit
def _record_fields(
    alive, row, col, age, health, food, water, freeze, damage, heading, material, presence, public_stats,
    seen,
    entity_attributes, worn, records, words, slots, chunks, population_size,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, NEAREST: tl.constexpr, IMMUNE_TICKS: tl.constexpr,
    MELEE_REACH: tl.constexpr, RANGE_REACH: tl.constexpr, MAGE_REACH: tl.constexpr,
    MELEE_DAMAGE: tl.constexpr, RANGE_DAMAGE: tl.constexpr, MAGE_DAMAGE: tl.constexpr,
    BYTES: tl.constexpr, SELF_AT: tl.constexpr, ENTITIES_AT: tl.constexpr, KIND_AT: tl.constexpr,
    MASKS_AT: tl.constexpr, LOOKS_AT: tl.constexpr, NPCS: tl.constexpr, EXTENDED: tl.constexpr,
    ROLLS: tl.constexpr, BLOCK: tl.constexpr, NEAREST_PADDED: tl.constexpr, MASKS_PADDED: tl.constexpr,
):  # fmt: skip
    """Own state, entity tables and masks of moves, styles and targets; zeros for dead agents. ``words`` are
    the records as int64; ``entity_attributes`` and ``worn`` are read only in the full game.

    Order-free: an agent's record is written by one program."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    line, column = tl.load(row + being, mask=living, other=0), tl.load(col + being, mask=living, other=0)
    age_now = tl.load(age + being, mask=living, other=0)
    frozen = tl.load(freeze + being, mask=living, other=0)
    went = tl.load(heading + being, mask=living, other=0).to(tl.int32)
    population = slot // population_size

    # Own state: twelve int16 in three words.
    first = short_at(tl.minimum(age_now, LARGEST_SHORT), 0)
    first |= short_at(tl.load(health + being, mask=living, other=0), 1)
    first |= short_at(tl.load(food + being, mask=living, other=0), 2)
    first |= short_at(tl.load(water + being, mask=living, other=0), 3)
    second = short_at(line, 0) | short_at(column, 1) | short_at(frozen, 2)
    second |= short_at(tl.load(damage + being, mask=living, other=0), 3)
    third = short_at(age_now < IMMUNE_TICKS, 0) | short_at(population, 1)
    third |= short_at(down(went), 2) | short_at(right(went), 3)
    into = words + agent * (BYTES // 8)
    tl.store(into + SELF_AT // 8, tl.where(living, first, 0), mask=inside)
    tl.store(into + SELF_AT // 8 + 1, tl.where(living, second, 0), mask=inside)
    tl.store(into + SELF_AT // 8 + 2, tl.where(living, third, 0), mask=inside)

    # The entity table: a word per row.
    k = tl.arange(0, NEAREST_PADDED)[None, :]
    in_table = inside[:, None] & (k < NEAREST)
    other = tl.load(seen + agent[:, None] * NEAREST + k, mask=in_table, other=-1)
    exists = in_table & (other >= 0)
    card = tl.load(public_stats + realm * (slots + NPCS) + other, mask=exists, other=0)
    # In the window, the low bytes are enough to compute the offsets.
    south = (card - line[:, None]) & 0xFF
    east = ((card >> 8) - column[:, None]) & 0xFF
    card = (card & ~0xFFFF) | south | (east << 8)
    tl.store(into[:, None] + ENTITIES_AT // 8 + k, tl.where(exists, card, tl.zeros_like(card)), mask=in_table)
    friend = other // population_size == population[:, None]
    kind = tl.where(exists, tl.where(friend, FRIEND, STRANGER), 0)
    targetable = exists
    if EXTENDED:
        look = tl.load(entity_attributes + realm * (slots + NPCS) + other, mask=exists, other=0)
        tl.store(into[:, None] + LOOKS_AT // 8 + k, look, mask=in_table)
        if NPCS > 0:
            npc_kind = ((look >> (8 * NPC_KIND_AT)) & 0xFF).to(tl.int32)
            kind = tl.where(npc_kind > 0, npc_kind + (NPC - 1), kind)
        if ROLLS:
            targetable = exists & (((look >> (8 * IMMUNE_AT)) & 0xFF) == 0)
    tl.store(records + agent[:, None] * BYTES + KIND_AT + k, kind.to(tl.uint8), mask=in_table)
    south, east = tl.abs((south ^ 0x80) - 0x80), tl.abs((east ^ 0x80) - 0x80)
    distance = tl.maximum(south, east)

    # Masks: five moves, three styles, three times "none" and the table's rows, and ``alive``.
    moves = tl.full([BLOCK], 1, tl.int32)
    plane = realm * (HEIGHT * WIDTH)
    for direction in tl.static_range(1, 5):
        to_row = line + ((direction == 2) - (direction == 4))
        to_col = column + ((direction == 1) - (direction == 3))
        goal = plane + to_row * WIDTH + to_col
        free = living & (frozen == 0) & walkable(tl.load(material + goal, mask=living, other=1))
        free = free & (tl.load(presence + goal, mask=living, other=1) == 0)
        moves |= free.to(tl.int32) << direction
    melee = reachable(targetable, distance, MELEE_REACH, MELEE_DAMAGE)
    ranged = reachable(targetable, distance, RANGE_REACH, RANGE_DAMAGE)
    mage = reachable(targetable, distance, MAGE_REACH, MAGE_DAMAGE)
    if ROLLS:
        armed = tl.load(worn + agent * GEAR_KINDS + KNIFE, mask=living, other=0) != 0
        ranged = tl.where(armed, ranged, 0)
    styles = 1 | ((ranged > 0).to(tl.int32) << 1) | ((mage > 0).to(tl.int32) << 2)
    lane = tl.arange(0, MASKS_PADDED)[None, :]
    flag = (
        tl.where(lane < 5, moves[:, None] >> tl.minimum(lane, 31), styles[:, None] >> tl.maximum(lane - 5, 0))
        & 1
    )
    of_target = lane - 8
    style, target = of_target // (NEAREST + 1), of_target % (NEAREST + 1)
    reach = tl.where(style == 0, melee[:, None], tl.where(style == 1, ranged[:, None], mage[:, None]))
    flag = tl.where(lane < 8, flag, ((style == 3) | (target <= reach)).to(tl.int32))
    flag = tl.where(living[:, None], flag, 0)
    masks = records + agent[:, None] * BYTES + MASKS_AT
    written = inside[:, None] & (lane < 8 + 3 * (NEAREST + 1) + 1)
    if ROLLS:  # possible targets need not be the first rows: tested row by row below
        written = written & ((lane < 8) | (target == 0))
    tl.store(masks + lane, flag.to(tl.uint8), mask=written)
    if ROLLS:
        for kind_of_attack in tl.static_range(3):
            far = MELEE_REACH if kind_of_attack == 0 else RANGE_REACH if kind_of_attack == 1 else MAGE_REACH
            within = targetable & (distance <= far)
            if kind_of_attack == THROWN:
                within = within & armed[:, None]
            row_of_mask = masks + 8 + kind_of_attack * (NEAREST + 1) + 1
            tl.store(row_of_mask + k, within.to(tl.uint8), mask=in_table)


@cache
def ring_steps(config: WorldConfig, device: torch.device) -> Tensor:
    """[window^2] int32: offset of each cell's tile from the agent's tile in a plane, in ring order."""
    steps = [row * config.width + col for row, col in ring_order(config.vision)]
    return torch.tensor(steps, dtype=torch.int32, device=device)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    layout = ObservationLayout(cfg)
    at = {name: field.offset for name, field in layout.fields.items()}
    public_stats = world.workspace("public_stats", (world.realms, cfg.entities), torch.int64)
    nearest_padded = triton.next_power_of_2(cfg.nearest)

    cut = over_slots(world.realms, cfg.entities)
    launch(
        _public_stats, cut.programs, world.row, world.col, world.age, world.health, world.food, world.water,
        world.freeze, world.damage, public_stats, cut.slots, cut.chunks, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    entity_attributes, worn = (looks_of(world), world.worn) if cfg.extended else (public_stats, public_stats)

    lanes = triton.next_power_of_2(layout.bytes - at["material"])
    cut = over_slots(world.realms, cfg.slots, agents_per_program(lanes))
    launch(
        _windows, cut.programs, world.alive, world.row, world.col, world.material, world.presence,
        world.occupant, ring_steps(cfg, world.device), records, seen, cut.slots, cut.chunks,
        cfg.population_size,
        VISION=cfg.vision, NEAREST=cfg.nearest, BYTES=layout.bytes, WINDOWS_AT=at["material"],
        NPCS=cfg.npc_slots, POPULATIONS=cfg.populations, BLOCK=cut.block, LANES=lanes,
        CELLS_PADDED=triton.next_power_of_2(cfg.window**2), NEAREST_PADDED=nearest_padded, **map_size(world),
    )  # fmt: skip

    masks = at["alive"] + 1 - at["move_mask"]
    masks_padded = triton.next_power_of_2(masks)
    harm = (1, 1, 1) if cfg.rolls else cfg.damage
    cut = over_slots(world.realms, cfg.slots, agents_per_program(max(masks_padded, nearest_padded)))
    launch(
        _record_fields, cut.programs, world.alive, world.row, world.col, world.age, world.health, world.food,
        world.water, world.freeze, world.damage, world.heading, world.material, world.presence, public_stats,
        seen,
        entity_attributes, worn, records, records.view(torch.int64), cut.slots, cut.chunks,
        cfg.population_size,
        NEAREST=cfg.nearest, IMMUNE_TICKS=cfg.immune_ticks,
        MELEE_REACH=cfg.reach[0], RANGE_REACH=cfg.reach[1], MAGE_REACH=cfg.reach[2],
        MELEE_DAMAGE=harm[0], RANGE_DAMAGE=harm[1], MAGE_DAMAGE=harm[2],
        BYTES=layout.bytes, SELF_AT=at["self"], ENTITIES_AT=at["entities"], KIND_AT=at["entity_kind"],
        MASKS_AT=at["move_mask"], LOOKS_AT=at.get("entity_attributes", 0), NPCS=cfg.npc_slots,
        EXTENDED=cfg.extended, ROLLS=cfg.rolls, BLOCK=cut.block, NEAREST_PADDED=nearest_padded,
        MASKS_PADDED=masks_padded, **map_size(world),
    )  # fmt: skip
    if cfg.extended:
        goods(world, records, layout)
