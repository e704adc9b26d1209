"""Observation in four kernels; twin of ``nmmo_gpu.world.observation``.

``_public_stats`` packs an agent's public attributes into one word, so that one load reads them. ``_windows``
(``nmmo_gpu.kernels.observation_windows``) writes the windows, and which of their cells have an occupant.
``_nearest`` (``nmmo_gpu.kernels.observation_neighbors``) finds the nearest entities from these bits.
``_record_fields`` writes the rest of the record, in whole words and rows of bytes, because many small writes
take as long as large ones. The kernels of the full game are in ``nmmo_gpu.kernels.observation_goods``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.kernels.launch import agents_per_program, fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import down, right, walkable
from nmmo_gpu.kernels.observation_goods import goods, looks_of
from nmmo_gpu.kernels.observation_neighbors import find_nearest, row_bits
from nmmo_gpu.kernels.observation_windows import write_windows
from nmmo_gpu.kernels.slots import my_agents, my_slots, position, tile_of
from nmmo_gpu.world import observation_layout
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

_StatFields = namedtuple("_StatFields", "age health food water freeze damage")
_RecordFields = namedtuple(
    "_RecordFields",
    "alive row col age health food water freeze damage heading material presence occupant worn",
)
_RecordConfig = namedtuple(
    "_RecordConfig",
    "height width vision nearest immune_ticks reach damage npc_slots population_size extended rolls",
)
_RecordLayout = namedtuple(
    "_RecordLayout",
    "bytes self entities entity_kind move_mask entity_attributes stock_bytes header_bytes row_bits",
)
"""The length of a record, offsets of fields in it, of the first byte after the fields of the rules and after
the header, and the cells from one row to the next in ``nearest``."""
_RecordPadded = namedtuple("_RecordPadded", "nearest masks")
"""Powers of two: rows of the entity table, bytes of all masks and ``alive``."""
_Records = namedtuple("_Records", "bytes words")
"""The same records as uint8 and as int64."""
_Buffers = namedtuple("_Buffers", "public_stats entity_attributes nearest pitch")
"""``nearest``: the cells that ``find_nearest`` returns; ``pitch``: cells from one agent to the next."""

FRIEND, STRANGER = tl.constexpr(observation_layout.FRIEND), tl.constexpr(observation_layout.STRANGER)
NPC = tl.constexpr(observation_layout.NPC)
NPC_KIND_AT = tl.constexpr(observation_layout.ENTITY_ATTRIBUTES.index("npc_kind"))
IMMUNE_AT = tl.constexpr(observation_layout.ENTITY_ATTRIBUTES.index("immune"))
THROWN, KNIFE, GEAR_KINDS = (tl.constexpr(n) for n in (content.RANGE, content.KNIFE, len(content.GEAR)))
PADDING = tl.constexpr(observation_layout.ALIGNMENT)
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
def _public_stats(world, public_stats, slots, chunks, population_size, BLOCK: tl.constexpr):
    """Writes one word per slot: its population (of agents; at most 255), nothing, age, health, food, water,
    freeze, damage.

    Order-free: each slot is written only by its own program."""
    _, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    card = ((slot // population_size) & 0xFF).to(tl.int64)
    card |= byte_at(tl.load(world.age + entity, mask=inside, other=0), 2)
    card |= byte_at(tl.load(world.health + entity, mask=inside, other=0), 3)
    card |= byte_at(tl.load(world.food + entity, mask=inside, other=0), 4)
    card |= byte_at(tl.load(world.water + entity, mask=inside, other=0), 5)
    card |= byte_at(tl.load(world.freeze + entity, mask=inside, other=0), 6)
    card |= byte_at(tl.load(world.damage + entity, mask=inside, other=0), 7)
    tl.store(public_stats + entity, card, mask=inside)


@triton.jit
def write_self(world, into, being, living, inside, population, config: tl.constexpr):
    """Writes own state: twelve int16 in three words."""
    age = tl.load(world.age + being, mask=living, other=0)
    went = tl.load(world.heading + being, mask=living, other=0).to(tl.int32)
    first = short_at(tl.minimum(age, LARGEST_SHORT), 0)
    first |= short_at(tl.load(world.health + being, mask=living, other=0), 1)
    first |= short_at(tl.load(world.food + being, mask=living, other=0), 2)
    first |= short_at(tl.load(world.water + being, mask=living, other=0), 3)
    line, column = position(world, being, living)
    second = short_at(line, 0) | short_at(column, 1)
    second |= short_at(tl.load(world.freeze + being, mask=living, other=0), 2)
    second |= short_at(tl.load(world.damage + being, mask=living, other=0), 3)
    third = short_at(age < config.immune_ticks, 0) | short_at(population, 1)
    third |= short_at(down(went), 2) | short_at(right(went), 3)
    tl.store(into, tl.where(living, first, 0), mask=inside)
    tl.store(into + 1, tl.where(living, second, 0), mask=inside)
    tl.store(into + 2, tl.where(living, third, 0), mask=inside)


@triton.jit
def possible_moves(world, tile, living, config: tl.constexpr):
    """Returns [BLOCK] int32: one bit per move that would succeed if no other agent moved.

    ``tile``: index into [R * H * W]; ``living``: whether the agent can move at all."""
    moves = tl.full(tile.shape, 1, tl.int32)
    for direction in tl.static_range(1, 5):
        step = ((direction == 2) - (direction == 4)) * config.width + ((direction == 1) - (direction == 3))
        free = living & walkable(tl.load(world.material + tile + step, mask=living, other=1))
        free = free & (tl.load(world.presence + tile + step, mask=living, other=1) == 0)
        moves |= free.to(tl.int32) << direction
    return moves


@triton.jit
def reachable(exists, distance, REACH: tl.constexpr, DAMAGE: tl.constexpr):
    """Returns [BLOCK] int32: number of rows of the entity table in reach of a style. Rows are sorted by
    distance, so these are the first ones."""
    within = exists & (distance <= REACH) & (DAMAGE > 0)
    return tl.sum(within.to(tl.int32), 1)


@triton.jit
def _record_fields(
    world, buffers, seen, records, slots, chunks, config: tl.constexpr, layout: tl.constexpr,
    padded: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes own state, entity tables, ``seen``, and masks of moves, styles and targets; zeros and -1 for
    dead agents. ``entity_attributes`` and ``worn`` are read only in the full game.

    Order-free: an agent's record is written by one program."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    here = tile_of(world, being, living, config)
    plane = realm * (config.height * config.width)
    population = slot // config.population_size
    record = records.bytes + agent[:, None] * layout.bytes
    into = records.words + agent * (layout.bytes // 8)
    write_self(world, into + layout.self // 8, being, living, inside, population, config)

    # The entity table: one word per row.
    k = tl.arange(0, padded.nearest)[None, :]
    in_table = inside[:, None] & (k < config.nearest)
    cell = tl.load(buffers.nearest + agent[:, None] * buffers.pitch + k, mask=in_table, other=-1).to(tl.int32)
    exists = in_table & (cell >= 0)
    south = cell // layout.row_bits - config.vision
    east = cell % layout.row_bits - config.vision
    tile = plane + here[:, None] + south * config.width + east
    other = tl.load(world.occupant + tile, mask=exists, other=0) - 1
    tl.store(seen + agent[:, None] * config.nearest + k, other, mask=in_table)
    others = realm * (slots + config.npc_slots) + other
    card = tl.load(buffers.public_stats + others, mask=exists, other=0)
    kind = tl.where((card & 0xFF).to(tl.int32) == population[:, None], FRIEND, STRANGER)
    offsets = (south & 0xFF) | ((east & 0xFF) << 8)
    card = tl.where(exists, (card & ~0xFF) | offsets, tl.zeros_like(card))
    tl.store(into[:, None] + layout.entities // 8 + k, card, mask=in_table)
    targetable = exists
    if config.extended:
        look = tl.load(buffers.entity_attributes + others, mask=exists, other=0)
        tl.store(into[:, None] + layout.entity_attributes // 8 + k, look, mask=in_table)
        if config.npc_slots > 0:
            npc_kind = ((look >> (8 * NPC_KIND_AT)) & 0xFF).to(tl.int32)
            kind = tl.where(npc_kind > 0, npc_kind + (NPC - 1), kind)
        if config.rolls:
            targetable = exists & (((look >> (8 * IMMUNE_AT)) & 0xFF) == 0)
    tl.store(record + layout.entity_kind + k, tl.where(exists, kind, 0).to(tl.uint8), mask=in_table)

    # Masks: five moves, three styles, three times "none" and the table's rows, and ``alive``.
    distance = tl.maximum(tl.abs(south), tl.abs(east))
    melee = reachable(targetable, distance, config.reach[0], config.damage[0])
    ranged = reachable(targetable, distance, config.reach[1], config.damage[1])
    mage = reachable(targetable, distance, config.reach[2], config.damage[2])
    if config.rolls:
        armed = tl.load(world.worn + agent * GEAR_KINDS + KNIFE, mask=living, other=0) != 0
        ranged = tl.where(armed, ranged, 0)
    frozen = tl.load(world.freeze + being, mask=living, other=0) != 0
    moves = possible_moves(world, plane + here, living & (frozen == 0), config)
    styles = 1 | ((ranged > 0).to(tl.int32) << 1) | ((mage > 0).to(tl.int32) << 2)
    flags = moves | (styles << 5)
    lane = tl.arange(0, padded.masks)[None, :]
    of_target = lane - 8
    style, target = of_target // (config.nearest + 1), of_target % (config.nearest + 1)
    reach = tl.where(style == 0, melee[:, None], tl.where(style == 1, ranged[:, None], mage[:, None]))
    flag = (style == 3) | (target <= reach)
    flag = tl.where(lane < 8, (flags[:, None] >> tl.minimum(lane, 31)) & 1, flag.to(tl.int32))
    flag = tl.where(living[:, None], flag, 0)
    written = inside[:, None] & (lane < 8 + 3 * (config.nearest + 1) + 1)
    if config.rolls:  # possible targets need not be the first rows; their masks are written below
        written = written & ((lane < 8) | (target == 0))
    tl.store(record + layout.move_mask + lane, flag.to(tl.uint8), mask=written)
    if config.rolls:
        for kind_of_attack in tl.static_range(3):
            within = targetable & (distance <= config.reach[kind_of_attack])
            if kind_of_attack == THROWN:
                within = within & armed[:, None]
            row_of_mask = layout.move_mask + 8 + kind_of_attack * (config.nearest + 1) + 1
            tl.store(record + row_of_mask + k, within.to(tl.uint8), mask=in_table)
    if layout.stock_bytes < layout.header_bytes:
        lane = tl.arange(0, PADDING)[None, :]
        padding = inside[:, None] & (lane < layout.header_bytes - layout.stock_bytes)
        tl.store(record + layout.stock_bytes + lane, tl.zeros([BLOCK, PADDING], tl.uint8), mask=padding)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    layout = ObservationLayout(cfg)
    at = {name: field.offset for name, field in layout.fields.items()}
    public_stats = world.workspace("public_stats", (world.realms, cfg.entities), torch.int64)
    cut = over_slots(world.realms, cfg.entities)
    launch(
        _public_stats, cut.programs, fields_of(_StatFields, world), public_stats, cut.slots, cut.chunks,
        cfg.population_size, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    nearest = find_nearest(world, write_windows(world, records, layout))
    attributes = looks_of(world) if cfg.extended else public_stats

    masks = triton.next_power_of_2(at["alive"] + 1 - at["move_mask"])
    table = triton.next_power_of_2(cfg.nearest)
    # One warp, so that no warp waits for another where values pass between threads; the more elements each of
    # them has, the fewer instructions an agent takes.
    agents = agents_per_program((4 if cfg.extended else 2) * max(masks, table))
    cut = over_slots(world.realms, cfg.slots, agents)
    config = fields_of(_RecordConfig, cfg, damage=(1, 1, 1) if cfg.rolls else cfg.damage)
    # Systems write zeros themselves between their fields.
    end = layout.stock_bytes if layout.systems_observe else layout.header_bytes
    offsets = {"entity_attributes": 0, "header_bytes": end, "row_bits": row_bits(cfg.vision)} | at
    launch(
        _record_fields, cut.programs, fields_of(_RecordFields, world),
        _Buffers(public_stats, attributes, nearest, nearest.shape[-1]), seen,
        _Records(records, records.view(torch.int64)), cut.slots, cut.chunks, config=config,
        layout=fields_of(_RecordLayout, layout, **offsets), padded=_RecordPadded(table, masks),
        BLOCK=cut.block, warps=1,
    )  # fmt: skip
    if cfg.extended:
        goods(world, records, layout)
