"""Spawning in two kernels, three in the full game (plus four launches if a realm has several blocks); twin of
``nmmo_gpu.world.spawning``.

A realm's slots can span many programs, so ranks among its slots have two parts: within a block, a scan in the
kernel; before the block, a cumulative sum over the blocks' counts between the launches."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import Slots, fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import WALKABLE
from nmmo_gpu.kernels.random import below, draw, draw_word
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.world import state
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.spawning import birth_experience, birth_levels, ring
from nmmo_gpu.world.state import World

_ClaimFields = namedtuple("_ClaimFields", "seed tick alive material presence next_entity")
_ClaimConfig = namedtuple("_ClaimConfig", "npc_slots anywhere border height width")
_SettleFields = namedtuple(
    "_SettleFields",
    "alive entity next_entity row col health food water freeze heading age damage explored visited occupant "
    "presence",
)
_SettleConfig = namedtuple(
    "_SettleConfig", "npc_slots anywhere border height width birth_health max_food max_water"
)
_EquipFields = namedtuple(
    "_EquipFields",
    "entity xp level gold inventory worn offer offer_price offer_left token events ledger",
)
_EquipConfig = namedtuple("_EquipConfig", "npc_slots items events birth_experience birth_levels")
_Buffers = namedtuple("_Buffers", "spot key claims first_id before")
"""The spot that each slot tries ([R, A] int32) and its key ([R, A] int64), the lowest key of each spot
([R, spots] int64), the first new id of each realm ([R] int64), and the number of free slots, later of new
agents, of a realm up to and including each block ([R, chunks] int32)."""

FIRST_STREAM, TILE_STREAM = (
    tl.constexpr(int(stream)) for stream in (Stream.SPAWN_SLOT, Stream.SPAWN_TILE)
)  # fmt: skip
EVERYBODY = tl.constexpr(ALL_FREE_SLOTS)
UNCLAIMED = tl.constexpr((1 << 63) - 1)
"""Greater than every key."""
SAFE = tl.constexpr(WALKABLE & ~(1 << Material.LAVA))
"""One bit per material on which agents can spawn."""
SKILLS, CONSTITUTION = tl.constexpr(len(content.SKILLS)), tl.constexpr(content.CONSTITUTION)
GEAR = tl.constexpr(len(content.GEAR))
FLOWS, INITIAL = tl.constexpr(len(Flow)), tl.constexpr(int(Flow.INITIAL))
VISITED_SIDE = tl.constexpr(state.VISITED_SIDE)
WORDS = tl.constexpr(8)
"""Words of footprints cleared at a time."""


@triton.jit
def inland(spot, config: tl.constexpr):
    """Converts indices of the tiles from the ring inwards to tiles within the realm ([...] int32)."""
    columns: tl.constexpr = config.width - 2 * config.border
    return (config.border + spot // columns) * config.width + config.border + spot % columns


@triton.jit
def tile_of_spot(spot, here, ring, config: tl.constexpr):
    """Converts indices of spots to tiles within the realm ([...] int32)."""
    return inland(spot, config) if config.anywhere else tl.load(ring + spot, mask=here, other=0)


@triton.jit
def _count_free(alive, counts, slots, chunks, NPCS: tl.constexpr, BLOCK: tl.constexpr):
    """Counts the free slots of each block. Order-free: one entry per program."""
    _, _, _, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    free = inside & (tl.load(alive + being, mask=inside, other=1) == 0)
    tl.store(counts + tl.program_id(0), tl.sum(free.to(tl.int32), 0))


@triton.jit
def _claim(world, buffers, ring, slots, chunks, births, spots, config: tl.constexpr, BLOCK: tl.constexpr):
    """Draws which slots try to spawn an agent, and where; writes the lowest key of each spot to ``claims``.

    Order-free: claims are atomic minima of different keys; everything else is written by the program of the
    slot, or of the realm's first block. ``first_id`` stores the old value of ``next_entity``, which the next
    kernel increments."""
    program = tl.program_id(0)
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    if program % chunks == 0:
        tl.store(buffers.first_id + realm, tl.load(world.next_entity + realm))
    tries = inside & (tl.load(world.alive + being, mask=inside, other=1) == 0)
    if births != EVERYBODY:
        here = tl.sum(tries.to(tl.int32), 0)
        before, count = here - here, here
        if chunks > 1:
            before = tl.load(buffers.before + program) - here
            count = tl.load(buffers.before + realm * chunks + chunks - 1)
        first = below(draw_word(world, FIRST_STREAM, realm, realm - realm), count)
        rank = before + tl.cumsum(tries.to(tl.int32), 0) - 1
        place = tl.where(rank >= first, rank - first, rank - first + count)
        tries = tries & (place < births)

    where = tl.full([BLOCK], -1, tl.int32)
    if tl.max(tries.to(tl.int32), 0) > 0:
        where_word, priority, _, _ = draw(world, TILE_STREAM, realm, slot)
        drawn = below(where_word, tl.full([BLOCK], 0, tl.int32) + spots)
        tile = realm * (config.height * config.width) + tile_of_spot(drawn, tries, ring, config)
        tries = tries & (tl.load(world.presence + tile, mask=tries, other=1) == 0)
        if config.anywhere:
            ground = tl.load(world.material + tile, mask=tries, other=0).to(tl.int32)
            tries = tries & (((SAFE >> ground) & 1) != 0)
        mine = (priority.to(tl.int64) << 31) | slot.to(tl.int64)
        tl.atomic_min(buffers.claims + realm * spots + drawn, mine, mask=tries, sem="relaxed")
        tl.store(buffers.key + agent, mine, mask=tries)
        where = tl.where(tries, drawn, -1)
    tl.store(buffers.spot + agent, where, mask=inside)


@triton.jit
def winners(buffers, realm, agent, inside, spots):
    """Returns (whether each slot spawns an agent: [BLOCK] bool, where: [BLOCK] int32)."""
    where = tl.load(buffers.spot + agent, mask=inside, other=-1)
    tried = inside & (where >= 0)
    mine = tl.load(buffers.key + agent, mask=tried, other=0)
    return tried & (tl.load(buffers.claims + realm * spots + where, mask=tried, other=-1) == mine), where


@triton.jit
def _count_born(buffers, counts, slots, chunks, spots, BLOCK: tl.constexpr):
    """Counts the new agents of each block. Order-free: one entry per program."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    born, _ = winners(buffers, realm, agent, inside, spots)
    tl.store(counts + tl.program_id(0), tl.sum(born.to(tl.int32), 0))


@triton.jit
def _settle(
    world, buffers, ring, slots, chunks, spots, population_size, config: tl.constexpr, BLOCK: tl.constexpr
):
    """Spawns the winners.

    Order-free: a winner writes its own slot and the tile that only it has won, births are counted by atomic
    addition, and only the winner resets its claim; a loser that reads the claim before or after that finds a
    key that is not its own in both cases."""
    program = tl.program_id(0)
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    born, where = winners(buffers, realm, agent, inside, spots)
    count = tl.sum(born.to(tl.int32), 0)
    if count > 0:
        tl.store(buffers.claims + realm * spots + where, tl.full([BLOCK], UNCLAIMED, tl.int64), mask=born)
        before = count - count
        if chunks > 1:
            before = tl.load(buffers.before + program) - count
        rank = before + tl.cumsum(born.to(tl.int32), 0) - 1
        tl.store(world.entity + being, tl.load(buffers.first_id + realm) + rank, mask=born)
        tl.atomic_add(world.next_entity + realm, count.to(tl.int64), sem="relaxed")

        tile = tile_of_spot(where, born, ring, config)
        tl.store(world.row + being, tile // config.width, mask=born)
        tl.store(world.col + being, tile % config.width, mask=born)
        tl.store(world.alive + being, tl.full([BLOCK], 1, tl.int1), mask=born)
        tl.store(world.health + being, tl.full([BLOCK], config.birth_health, tl.int16), mask=born)
        tl.store(world.food + being, tl.full([BLOCK], config.max_food, tl.int16), mask=born)
        tl.store(world.water + being, tl.full([BLOCK], config.max_water, tl.int16), mask=born)
        tl.store(world.freeze + being, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(world.damage + being, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(world.heading + being, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(world.age + being, tl.zeros([BLOCK], tl.int32), mask=born)
        tl.store(world.explored + agent, tl.zeros([BLOCK], tl.int32), mask=born)
        words = tl.arange(0, WORDS)[None, :]
        for start in range(0, VISITED_SIDE, WORDS):
            line = world.visited + agent[:, None] * VISITED_SIDE + start + words
            tl.store(line, tl.zeros([BLOCK, WORDS], tl.int64), mask=born[:, None])
        tile = realm * (config.height * config.width) + tile
        tl.store(world.occupant + tile, slot + 1, mask=born)
        tl.store(world.presence + tile, (slot // population_size + 1).to(tl.uint8), mask=born)


@triton.jit
def _equip(world, first_id, slots, chunks, birth_gold, config: tl.constexpr, BLOCK: tl.constexpr):
    """Gives new agents, whose ids are ``first_id`` and above, their initial state of the full game.

    Order-free: a new agent's goods belong to one program, and the gold is booked by atomic addition."""
    realm, _, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    first = tl.load(first_id + realm)
    born = inside & (tl.load(world.entity + being, mask=inside, other=-1) >= first)
    count = tl.sum(born.to(tl.int64), 0)
    if count > 0:
        account = world.ledger + (realm * (config.items + 1) + config.items) * FLOWS + INITIAL
        tl.atomic_add(account, count * birth_gold, sem="relaxed")
        tl.store(world.gold + agent, tl.zeros([BLOCK], tl.int64) + birth_gold, mask=born)
        for skill in tl.static_range(SKILLS):
            xp = tl.full([BLOCK], config.birth_experience[skill], tl.int32)
            tl.store(world.xp + agent * SKILLS + skill, xp, mask=born)
            level = tl.full([BLOCK], config.birth_levels[skill], tl.uint8)
            tl.store(world.level + being * SKILLS + skill, level, mask=born)
        for item in range(config.items):
            tl.store(world.inventory + agent * config.items + item, tl.zeros([BLOCK], tl.int32), mask=born)
        for event in range(config.events):
            tl.store(world.events + agent * config.events + event, tl.zeros([BLOCK], tl.int32), mask=born)
        for kind in tl.static_range(GEAR):
            tl.store(world.worn + agent * GEAR + kind, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(world.offer + agent, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(world.offer_price + agent, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(world.offer_left + agent, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(world.token + agent, tl.zeros([BLOCK], tl.uint8), mask=born)


def _per_block(world: World, name: str, cut: Slots) -> Tensor:
    """Returns a workspace, [R, chunks] int32: a count per block, or their cumulative sums."""
    return world.workspace(name, (world.realms, cut.chunks), torch.int32)


def spawning(world: World) -> None:
    """See ``nmmo_gpu.world.spawning.spawning``."""
    cfg = world.config
    if cfg.births == 0:
        return
    cut = over_slots(world.realms, cfg.slots)
    shape = (world.realms, cfg.slots)
    tiles = ring(cfg, world.device)
    spots = cfg.birthplaces
    counts = _per_block(world, "counts per block", cut)
    buffers = _Buffers(
        spot=world.workspace("spot", shape, torch.int32),
        key=world.workspace("key", shape, torch.int64),
        claims=world.workspace("birth claims", (world.realms, spots), torch.int64, fill=(1 << 63) - 1),
        first_id=world.workspace("first id", (world.realms,), torch.int64),
        before=_per_block(world, "counts up to a block", cut),
    )

    if cut.chunks > 1 and cfg.births != ALL_FREE_SLOTS:
        launch(
            _count_free, cut.programs, world.alive, counts, cut.slots, cut.chunks,
            NPCS=cfg.npc_slots, BLOCK=cut.block, warps=cut.warps,
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=buffers.before)
    anywhere = cfg.spawn == "anywhere"
    launch(
        _claim, cut.programs, fields_of(_ClaimFields, world), buffers, tiles, cut.slots, cut.chunks,
        cfg.births, spots, config=fields_of(_ClaimConfig, cfg, anywhere=anywhere),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    if cut.chunks > 1:
        launch(
            _count_born, cut.programs, buffers, counts, cut.slots, cut.chunks, spots,
            BLOCK=cut.block, warps=cut.warps,
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=buffers.before)
    health = birth_levels()[content.CONSTITUTION] if cfg.skills else cfg.max_health
    launch(
        _settle, cut.programs, fields_of(_SettleFields, world), buffers, tiles, cut.slots, cut.chunks, spots,
        cfg.population_size, config=fields_of(_SettleConfig, cfg, anywhere=anywhere, birth_health=health),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    if not cfg.extended:
        return
    config = _EquipConfig(
        npc_slots=cfg.npc_slots, items=len(cfg.tables.items), events=world.events.shape[-1],
        birth_experience=birth_experience(), birth_levels=birth_levels(),
    )  # fmt: skip
    launch(
        _equip, cut.programs, fields_of(_EquipFields, world), buffers.first_id, cut.slots, cut.chunks,
        cfg.birth_gold, config=config, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
