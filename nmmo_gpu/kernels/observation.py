"""Observation in three kernels; twin of ``nmmo_gpu.world.observation``.

``_public_stats`` packs an agent's public attributes into one word, so that one load reads them. ``_windows``
writes the windows, and finds the nearest entities. ``_record_fields`` writes the rest of the record, in whole
words and rows of bytes, because many small writes take as long as large ones. The kernels of the full game
are in ``nmmo_gpu.kernels.observation_goods``."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels.launch import agents_per_program, fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import down, right, walkable
from nmmo_gpu.kernels.observation_goods import goods, looks_of
from nmmo_gpu.kernels.slots import my_agents, my_slots, position, tile_of
from nmmo_gpu.world import observation_layout
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

_StatFields = namedtuple("_StatFields", "row col age health food water freeze damage")
_WindowFields = namedtuple("_WindowFields", "alive row col material presence occupant")
_WindowConfig = namedtuple("_WindowConfig", "height width vision nearest npc_slots populations")
_WindowLayout = namedtuple("_WindowLayout", "bytes material")
_WindowPadded = namedtuple("_WindowPadded", "windows cells nearest")
"""Powers of two: bytes of both windows and the padding after them, cells of a window, rows of the entity
table."""
_RecordFields = namedtuple(
    "_RecordFields",
    "alive row col age health food water freeze damage heading material presence worn",
)
_RecordConfig = namedtuple(
    "_RecordConfig", "height width nearest immune_ticks reach damage npc_slots extended rolls"
)
_RecordLayout = namedtuple("_RecordLayout", "bytes self entities entity_kind move_mask entity_attributes")
"""The length of a record, and offsets of fields in it."""
_RecordPadded = namedtuple("_RecordPadded", "nearest masks")
"""Powers of two: rows of the entity table, bytes of all masks and ``alive``."""
_Records = namedtuple("_Records", "bytes words")
"""The same records as uint8 and as int64."""
_Buffers = namedtuple("_Buffers", "public_stats entity_attributes")

FRIEND, STRANGER = tl.constexpr(observation_layout.FRIEND), tl.constexpr(observation_layout.STRANGER)
NPC = tl.constexpr(observation_layout.NPC)
NPC_KIND_AT = tl.constexpr(observation_layout.ENTITY_ATTRIBUTES.index("npc_kind"))
IMMUNE_AT = tl.constexpr(observation_layout.ENTITY_ATTRIBUTES.index("immune"))
THROWN, KNIFE, GEAR_KINDS = (tl.constexpr(n) for n in (content.RANGE, content.KNIFE, len(content.GEAR)))
LARGEST_BYTE = tl.constexpr(127)
LARGEST_SHORT = tl.constexpr(32767)


@triton.jit
def byte_at(value, PLACE: tl.constexpr):
    """Returns a nonnegative value, clamped to 127, as byte number PLACE of an int64 word."""
    return tl.minimum(value.to(tl.int64), LARGEST_BYTE) << (8 * PLACE)


@triton.jit
def short_at(value, PLACE: tl.constexpr):
    """Returns an int16 value as quarter number PLACE of an int64 word."""
    return (value.to(tl.int64) & 0xFFFF) << (16 * PLACE)


@triton.jit
def _public_stats(world, public_stats, slots, chunks, BLOCK: tl.constexpr):
    """Writes one word per slot: the low bytes of row and column, age, health, food, water, freeze, damage.

    Order-free: each slot is written only by its own program."""
    _, _, entity, inside = my_slots(slots, chunks, BLOCK)
    card = (tl.load(world.row + entity, mask=inside, other=0) & 0xFF).to(tl.int64)
    card |= (tl.load(world.col + entity, mask=inside, other=0) & 0xFF).to(tl.int64) << 8
    card |= byte_at(tl.load(world.age + entity, mask=inside, other=0), 2)
    card |= byte_at(tl.load(world.health + entity, mask=inside, other=0), 3)
    card |= byte_at(tl.load(world.food + entity, mask=inside, other=0), 4)
    card |= byte_at(tl.load(world.water + entity, mask=inside, other=0), 5)
    card |= byte_at(tl.load(world.freeze + entity, mask=inside, other=0), 6)
    card |= byte_at(tl.load(world.damage + entity, mask=inside, other=0), 7)
    tl.store(public_stats + entity, card, mask=inside)


@triton.jit
def _windows(
    world, ring, records, seen, slots, chunks, population_size, config: tl.constexpr, layout: tl.constexpr,
    padded: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the windows, padding, and ``seen``; zeros and -1 for dead agents.

    Order-free: an agent's record and its row of ``seen`` are written by one program, and each element by one
    lane: the r-th neighbor's lane writes element r, and other lanes write the elements after the last
    neighbor."""
    SIDE: tl.constexpr = 2 * config.vision + 1
    CELLS: tl.constexpr = SIDE * SIDE
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    here = tile_of(world, being, living, config)
    plane = realm * (config.height * config.width)

    # Both windows, one after the other, as in the record.
    lane = tl.arange(0, padded.windows)
    of_others = lane >= CELLS
    cell = tl.where(of_others, lane - CELLS, lane)
    step = (cell // SIDE - config.vision) * config.width + cell % SIDE - config.vision
    tile = here[:, None] + step[None, :]
    source = tl.where(of_others[None, :], world.presence + plane + tile, world.material + plane + tile)
    byte = tl.load(source, mask=living[:, None] & (lane < 2 * CELLS)[None, :], other=0).to(tl.int32)
    own = (slot // population_size + 1)[:, None]
    kind = tl.where(byte == 0, 0, tl.where(byte == own, FRIEND, STRANGER))
    if config.npc_slots > 0:
        kind = tl.where(byte > config.populations, byte + (NPC - 1 - config.populations), kind)
    byte = tl.where(of_others[None, :], kind, byte).to(tl.uint8)
    into = records + agent[:, None] * layout.bytes + layout.material + lane[None, :]
    tl.store(into, byte, mask=inside[:, None] & (lane < layout.bytes - layout.material)[None, :])

    # The neighbors in order of distance, without the agent itself, which has rank 0.
    rank = tl.arange(0, padded.cells)
    step = tl.load(ring + rank, mask=rank < CELLS, other=0)
    tile = here[:, None] + step[None, :]
    entity_attributes = living[:, None] & ((rank > 0) & (rank < CELLS))[None, :]
    occupied = tl.load(world.presence + plane + tile, mask=entity_attributes, other=0) != 0
    count = tl.cumsum(occupied.to(tl.int32), 1)
    listed = occupied & (count <= config.nearest)
    who = tl.load(world.occupant + plane + tile, mask=listed, other=0) - 1
    table = seen + agent[:, None] * config.nearest
    tl.store(table + count - 1, who, mask=listed)
    found = tl.sum(occupied.to(tl.int32), 1)[:, None]
    place = tl.arange(0, padded.nearest)[None, :]
    empty = inside[:, None] & (place < config.nearest) & (place >= found)
    tl.store(table + place, tl.full([BLOCK, padded.nearest], -1, tl.int32), mask=empty)


@triton.jit
def reachable(exists, distance, REACH: tl.constexpr, DAMAGE: tl.constexpr):
    """Returns [BLOCK] int32: number of rows of the entity table in reach of a style. Rows are sorted by
    distance, so these are the first ones."""
    within = exists & (distance <= REACH) & (DAMAGE > 0)
    return tl.sum(within.to(tl.int32), 1)


@triton.jit
def _record_fields(
    world, buffers, seen, records, slots, chunks, population_size, config: tl.constexpr, layout: tl.constexpr,
    padded: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes own state, entity tables and masks of moves, styles and targets; zeros for dead agents.
    ``entity_attributes`` and ``worn`` are read only in the full game.

    Order-free: an agent's record is written by one program."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    line, column = position(world, being, living)
    age_now = tl.load(world.age + being, mask=living, other=0)
    frozen = tl.load(world.freeze + being, mask=living, other=0)
    went = tl.load(world.heading + being, mask=living, other=0).to(tl.int32)
    population = slot // population_size

    # Own state: twelve int16 in three words.
    first = short_at(tl.minimum(age_now, LARGEST_SHORT), 0)
    first |= short_at(tl.load(world.health + being, mask=living, other=0), 1)
    first |= short_at(tl.load(world.food + being, mask=living, other=0), 2)
    first |= short_at(tl.load(world.water + being, mask=living, other=0), 3)
    second = short_at(line, 0) | short_at(column, 1) | short_at(frozen, 2)
    second |= short_at(tl.load(world.damage + being, mask=living, other=0), 3)
    third = short_at(age_now < config.immune_ticks, 0) | short_at(population, 1)
    third |= short_at(down(went), 2) | short_at(right(went), 3)
    into = records.words + agent * (layout.bytes // 8)
    tl.store(into + layout.self // 8, tl.where(living, first, 0), mask=inside)
    tl.store(into + layout.self // 8 + 1, tl.where(living, second, 0), mask=inside)
    tl.store(into + layout.self // 8 + 2, tl.where(living, third, 0), mask=inside)

    # The entity table: one word per row.
    k = tl.arange(0, padded.nearest)[None, :]
    in_table = inside[:, None] & (k < config.nearest)
    other = tl.load(seen + agent[:, None] * config.nearest + k, mask=in_table, other=-1)
    exists = in_table & (other >= 0)
    cards = buffers.public_stats + realm * (slots + config.npc_slots)
    card = tl.load(cards + other, mask=exists, other=0)
    # In the window, the low bytes are enough to compute the offsets.
    south = (card - line[:, None]) & 0xFF
    east = ((card >> 8) - column[:, None]) & 0xFF
    card = (card & ~0xFFFF) | south | (east << 8)
    card = tl.where(exists, card, tl.zeros_like(card))
    tl.store(into[:, None] + layout.entities // 8 + k, card, mask=in_table)
    friend = other // population_size == population[:, None]
    kind = tl.where(exists, tl.where(friend, FRIEND, STRANGER), 0)
    targetable = exists
    if config.extended:
        looks = buffers.entity_attributes + realm * (slots + config.npc_slots)
        look = tl.load(looks + other, mask=exists, other=0)
        tl.store(into[:, None] + layout.entity_attributes // 8 + k, look, mask=in_table)
        if config.npc_slots > 0:
            npc_kind = ((look >> (8 * NPC_KIND_AT)) & 0xFF).to(tl.int32)
            kind = tl.where(npc_kind > 0, npc_kind + (NPC - 1), kind)
        if config.rolls:
            targetable = exists & (((look >> (8 * IMMUNE_AT)) & 0xFF) == 0)
    kinds = records.bytes + agent[:, None] * layout.bytes + layout.entity_kind
    tl.store(kinds + k, kind.to(tl.uint8), mask=in_table)
    south, east = tl.abs((south ^ 0x80) - 0x80), tl.abs((east ^ 0x80) - 0x80)
    distance = tl.maximum(south, east)

    # Masks: five moves, three styles, three times "none" and the table's rows, and ``alive``.
    moves = tl.full([BLOCK], 1, tl.int32)
    plane = realm * (config.height * config.width)
    for direction in tl.static_range(1, 5):
        to_row = line + ((direction == 2) - (direction == 4))
        to_col = column + ((direction == 1) - (direction == 3))
        goal = plane + to_row * config.width + to_col
        free = living & (frozen == 0) & walkable(tl.load(world.material + goal, mask=living, other=1))
        free = free & (tl.load(world.presence + goal, mask=living, other=1) == 0)
        moves |= free.to(tl.int32) << direction
    melee = reachable(targetable, distance, config.reach[0], config.damage[0])
    ranged = reachable(targetable, distance, config.reach[1], config.damage[1])
    mage = reachable(targetable, distance, config.reach[2], config.damage[2])
    if config.rolls:
        armed = tl.load(world.worn + agent * GEAR_KINDS + KNIFE, mask=living, other=0) != 0
        ranged = tl.where(armed, ranged, 0)
    styles = 1 | ((ranged > 0).to(tl.int32) << 1) | ((mage > 0).to(tl.int32) << 2)
    lane = tl.arange(0, padded.masks)[None, :]
    flag = (
        tl.where(lane < 5, moves[:, None] >> tl.minimum(lane, 31), styles[:, None] >> tl.maximum(lane - 5, 0))
        & 1
    )
    of_target = lane - 8
    style, target = of_target // (config.nearest + 1), of_target % (config.nearest + 1)
    reach = tl.where(style == 0, melee[:, None], tl.where(style == 1, ranged[:, None], mage[:, None]))
    flag = tl.where(lane < 8, flag, ((style == 3) | (target <= reach)).to(tl.int32))
    flag = tl.where(living[:, None], flag, 0)
    masks = records.bytes + agent[:, None] * layout.bytes + layout.move_mask
    written = inside[:, None] & (lane < 8 + 3 * (config.nearest + 1) + 1)
    if config.rolls:  # possible targets need not be the first rows; their masks are written below
        written = written & ((lane < 8) | (target == 0))
    tl.store(masks + lane, flag.to(tl.uint8), mask=written)
    if config.rolls:
        for kind_of_attack in tl.static_range(3):
            within = targetable & (distance <= config.reach[kind_of_attack])
            if kind_of_attack == THROWN:
                within = within & armed[:, None]
            row_of_mask = masks + 8 + kind_of_attack * (config.nearest + 1) + 1
            tl.store(row_of_mask + k, within.to(tl.uint8), mask=in_table)


@cache
def ring_steps(config: WorldConfig, device: torch.device) -> Tensor:
    """Returns [window^2] int32: offsets of the cells' tiles from the agent's tile, in ring order."""
    steps = [row * config.width + col for row, col in ring_order(config.vision)]
    return torch.tensor(steps, dtype=torch.int32, device=device)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    layout = ObservationLayout(cfg)
    at = {name: field.offset for name, field in layout.fields.items()}
    public_stats = world.workspace("public_stats", (world.realms, cfg.entities), torch.int64)
    nearest = triton.next_power_of_2(cfg.nearest)

    cut = over_slots(world.realms, cfg.entities)
    launch(
        _public_stats, cut.programs, fields_of(_StatFields, world), public_stats, cut.slots, cut.chunks,
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    buffers = _Buffers(public_stats, looks_of(world) if cfg.extended else public_stats)

    lanes = triton.next_power_of_2(layout.bytes - at["material"])
    cut = over_slots(world.realms, cfg.slots, agents_per_program(lanes))
    launch(
        _windows, cut.programs, fields_of(_WindowFields, world), ring_steps(cfg, world.device), records, seen,
        cut.slots, cut.chunks, cfg.population_size, config=fields_of(_WindowConfig, cfg),
        layout=_WindowLayout(layout.bytes, at["material"]),
        padded=_WindowPadded(lanes, triton.next_power_of_2(cfg.window**2), nearest), BLOCK=cut.block,
    )  # fmt: skip

    masks = triton.next_power_of_2(at["alive"] + 1 - at["move_mask"])
    cut = over_slots(world.realms, cfg.slots, agents_per_program(max(masks, nearest)))
    config = fields_of(_RecordConfig, cfg, damage=(1, 1, 1) if cfg.rolls else cfg.damage)
    offsets = {"entity_attributes": 0} | at
    launch(
        _record_fields, cut.programs, fields_of(_RecordFields, world), buffers, seen,
        _Records(records, records.view(torch.int64)), cut.slots, cut.chunks, cfg.population_size,
        config=config, layout=fields_of(_RecordLayout, layout, **offsets),
        padded=_RecordPadded(nearest, masks), BLOCK=cut.block,
    )  # fmt: skip
    if cfg.extended:
        goods(world, records, layout)
