"""Spawning in two kernels, three in the full game (plus four launches if a realm has several blocks); twin of
``nmmo_gpu.world.spawning``.

A realm's slots can span many programs, so ranks among its slots have two parts: within a block, a scan in the
kernel; before the block, a cumulative sum over the blocks' counts between the launches."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import Slots, launch, over_slots
from nmmo_gpu.kernels.movement import WALKABLE, map_size
from nmmo_gpu.kernels.random import below, draw, draw_word
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.world import state
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.spawning import birth_experience, birth_levels, ring
from nmmo_gpu.world.state import World

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
VISITED_SIDE = tl.constexpr(state.VISITED_SIDE)
WORDS = tl.constexpr(8)
"""Words of footprints cleared at a time."""


@triton.jit
def inland(spot, BORDER: tl.constexpr, WIDTH: tl.constexpr):
    """Tiles within the realm ([...] int32) from indices of the tiles from the ring inwards."""
    columns: tl.constexpr = WIDTH - 2 * BORDER
    return (BORDER + spot // columns) * WIDTH + BORDER + spot % columns


@triton.jit
def tile_of(spot, here, ring, WIDTH: tl.constexpr, ANYWHERE: tl.constexpr, BORDER: tl.constexpr):
    """Tiles within the realm from indices of spots ([...] int32)."""
    return inland(spot, BORDER, WIDTH) if ANYWHERE else tl.load(ring + spot, mask=here, other=0)


@triton.jit
def _count_free(alive, counts, slots, chunks, NPCS: tl.constexpr, BLOCK: tl.constexpr):
    """Free slots of each block. Order-free: one entry per program."""
    _, _, _, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    free = inside & (tl.load(alive + being, mask=inside, other=1) == 0)
    tl.store(counts + tl.program_id(0), tl.sum(free.to(tl.int32), 0))


@triton.jit
def _claim(
    seed, tick, alive, material, presence, next_entity, ring, free_before, first_id, spot, key, claims,
    slots, chunks, births, spots,
    NPCS: tl.constexpr, ANYWHERE: tl.constexpr, BORDER: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draws which slots try to spawn an agent, and where; the lowest key of each spot is left in ``claims``.

    Order-free: claims are atomic minima of different keys; everything else is written by the program of the
    slot, or of the realm's first block. ``first_id`` stores the old value of ``next_entity``, which the next
    kernel increments."""
    program = tl.program_id(0)
    realm, slot, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    if program % chunks == 0:
        tl.store(first_id + realm, tl.load(next_entity + realm))
    tries = inside & (tl.load(alive + being, mask=inside, other=1) == 0)
    if births != EVERYBODY:
        here = tl.sum(tries.to(tl.int32), 0)
        before, count = here - here, here
        if chunks > 1:
            before = tl.load(free_before + program) - here
            count = tl.load(free_before + realm * chunks + chunks - 1)
        first = below(draw_word(seed, tick, FIRST_STREAM, realm, realm - realm), count)
        rank = before + tl.cumsum(tries.to(tl.int32), 0) - 1
        place = tl.where(rank >= first, rank - first, rank - first + count)
        tries = tries & (place < births)

    where = tl.full([BLOCK], -1, tl.int32)
    if tl.max(tries.to(tl.int32), 0) > 0:
        where_word, priority, _, _ = draw(seed, tick, TILE_STREAM, realm, slot)
        drawn = below(where_word, tl.full([BLOCK], 0, tl.int32) + spots)
        tile = realm * (HEIGHT * WIDTH) + tile_of(drawn, tries, ring, WIDTH, ANYWHERE, BORDER)
        tries = tries & (tl.load(presence + tile, mask=tries, other=1) == 0)
        if ANYWHERE:
            ground = tl.load(material + tile, mask=tries, other=0).to(tl.int32)
            tries = tries & (((SAFE >> ground) & 1) != 0)
        mine = (priority.to(tl.int64) << 31) | slot.to(tl.int64)
        tl.atomic_min(claims + realm * spots + drawn, mine, mask=tries, sem="relaxed")
        tl.store(key + agent, mine, mask=tries)
        where = tl.where(tries, drawn, -1)
    tl.store(spot + agent, where, mask=inside)


@triton.jit
def winners(realm, agent, inside, spot, key, claims, spots):
    """(whether each slot spawns an agent: [BLOCK] bool, where: [BLOCK] int32)."""
    where = tl.load(spot + agent, mask=inside, other=-1)
    tried = inside & (where >= 0)
    mine = tl.load(key + agent, mask=tried, other=0)
    return tried & (tl.load(claims + realm * spots + where, mask=tried, other=-1) == mine), where


@triton.jit
def _count_born(spot, key, claims, counts, slots, chunks, spots, BLOCK: tl.constexpr):
    """Number of new agents of each block. Order-free: one entry per program."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    born, _ = winners(realm, agent, inside, spot, key, claims, spots)
    tl.store(counts + tl.program_id(0), tl.sum(born.to(tl.int32), 0))


@triton.jit
def _settle(
    spot, key, claims, ring, born_before, first_id, next_entity, alive, entity, row, col, health, food, water,
    freeze, heading, age, damage, explored, visited, occupant, presence,
    slots, chunks, spots, population_size,
    HEALTH: tl.constexpr, MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr,
    NPCS: tl.constexpr, ANYWHERE: tl.constexpr, BORDER: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Spawns the winners.

    Order-free: a winner writes its own slot and the tile that only it has won, births are counted by atomic
    addition, and only the winner resets its claim; a loser that reads the claim before or after that finds a
    key that is not its own in both cases."""
    program = tl.program_id(0)
    realm, slot, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    born, where = winners(realm, agent, inside, spot, key, claims, spots)
    count = tl.sum(born.to(tl.int32), 0)
    if count > 0:
        tl.store(claims + realm * spots + where, tl.full([BLOCK], UNCLAIMED, tl.int64), mask=born)
        before = count - count
        if chunks > 1:
            before = tl.load(born_before + program) - count
        rank = before + tl.cumsum(born.to(tl.int32), 0) - 1
        tl.store(entity + being, tl.load(first_id + realm) + rank, mask=born)
        tl.atomic_add(next_entity + realm, count.to(tl.int64), sem="relaxed")

        tile = tile_of(where, born, ring, WIDTH, ANYWHERE, BORDER)
        tl.store(row + being, tile // WIDTH, mask=born)
        tl.store(col + being, tile % WIDTH, mask=born)
        tl.store(alive + being, tl.full([BLOCK], 1, tl.int1), mask=born)
        tl.store(health + being, tl.full([BLOCK], HEALTH, tl.int16), mask=born)
        tl.store(food + being, tl.full([BLOCK], MAX_FOOD, tl.int16), mask=born)
        tl.store(water + being, tl.full([BLOCK], MAX_WATER, tl.int16), mask=born)
        tl.store(freeze + being, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(damage + being, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(heading + being, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(age + being, tl.zeros([BLOCK], tl.int32), mask=born)
        tl.store(explored + agent, tl.zeros([BLOCK], tl.int32), mask=born)
        words = tl.arange(0, WORDS)[None, :]
        for start in range(0, VISITED_SIDE, WORDS):
            line = visited + agent[:, None] * VISITED_SIDE + start + words
            tl.store(line, tl.zeros([BLOCK, WORDS], tl.int64), mask=born[:, None])
        tile = realm * (HEIGHT * WIDTH) + tile
        tl.store(occupant + tile, slot + 1, mask=born)
        tl.store(presence + tile, (slot // population_size + 1).to(tl.uint8), mask=born)


@triton.jit
def _equip(
    entity, first_id, xp, level, gold, inventory, worn, offer, offer_price, offer_left, token, events, ledger,
    slots, chunks, birth_gold,
    OTHER_XP: tl.constexpr, BODY_XP: tl.constexpr, OTHER_LEVEL: tl.constexpr, BODY_LEVEL: tl.constexpr,
    ITEMS: tl.constexpr, EVENTS: tl.constexpr, FLOWS: tl.constexpr, INITIAL: tl.constexpr,
    NPCS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gives new agents, whose ids are ``first_id`` and above, their initial state of the full game.

    Order-free: a new agent's goods belong to one program, and the gold is booked by atomic addition."""
    realm, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    first = tl.load(first_id + realm)
    born = inside & (tl.load(entity + being, mask=inside, other=-1) >= first)
    count = tl.sum(born.to(tl.int64), 0)
    if count > 0:
        account = ledger + (realm * (ITEMS + 1) + ITEMS) * FLOWS + INITIAL
        tl.atomic_add(account, count * birth_gold, sem="relaxed")
        tl.store(gold + agent, tl.zeros([BLOCK], tl.int64) + birth_gold, mask=born)
        for skill in tl.static_range(SKILLS):
            experience = BODY_XP if skill == CONSTITUTION else OTHER_XP
            tl.store(xp + agent * SKILLS + skill, tl.full([BLOCK], experience, tl.int32), mask=born)
            degree = BODY_LEVEL if skill == CONSTITUTION else OTHER_LEVEL
            tl.store(level + being * SKILLS + skill, tl.full([BLOCK], degree, tl.uint8), mask=born)
        for item in range(ITEMS):
            tl.store(inventory + agent * ITEMS + item, tl.zeros([BLOCK], tl.int32), mask=born)
        for event in range(EVENTS):
            tl.store(events + agent * EVENTS + event, tl.zeros([BLOCK], tl.int32), mask=born)
        for kind in tl.static_range(GEAR):
            tl.store(worn + agent * GEAR + kind, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(offer + agent, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(offer_price + agent, tl.zeros([BLOCK], tl.uint8), mask=born)
        tl.store(offer_left + agent, tl.zeros([BLOCK], tl.int16), mask=born)
        tl.store(token + agent, tl.zeros([BLOCK], tl.uint8), mask=born)


def _per_block(world: World, name: str, cut: Slots) -> Tensor:
    """Workspace [R, chunks] int32: a count per block, or their sums up to each."""
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
    npcs = cfg.npc_slots
    place = {"NPCS": npcs, "ANYWHERE": cfg.spawn == "anywhere", "BORDER": cfg.border, **map_size(world)}
    spot = world.workspace("spot", shape, torch.int32)
    key = world.workspace("key", shape, torch.int64)
    claims = world.workspace("birth claims", (world.realms, spots), torch.int64, fill=(1 << 63) - 1)
    first_id = world.workspace("first id", (world.realms,), torch.int64)
    counts = _per_block(world, "counts per block", cut)
    free_before = _per_block(world, "free slots up to a block", cut)
    born_before = _per_block(world, "newborn up to a block", cut)

    if cut.chunks > 1 and cfg.births != ALL_FREE_SLOTS:
        launch(
            _count_free, cut.programs, world.alive, counts, cut.slots, cut.chunks,
            NPCS=npcs, BLOCK=cut.block, warps=cut.warps,
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=free_before)
    launch(
        _claim, cut.programs, world.seed, world.tick, world.alive, world.material, world.presence,
        world.next_entity, tiles, free_before, first_id, spot, key, claims,
        cut.slots, cut.chunks, cfg.births, spots, BLOCK=cut.block, warps=cut.warps, **place,
    )  # fmt: skip
    if cut.chunks > 1:
        launch(
            _count_born, cut.programs, spot, key, claims, counts, cut.slots, cut.chunks, spots,
            BLOCK=cut.block, warps=cut.warps,
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=born_before)
    launch(
        _settle, cut.programs, spot, key, claims, tiles, born_before, first_id, world.next_entity,
        world.alive, world.entity, world.row, world.col, world.health, world.food, world.water, world.freeze,
        world.heading, world.age, world.damage, world.explored, world.visited, world.occupant, world.presence,
        cut.slots, cut.chunks, spots, cfg.population_size,
        HEALTH=birth_levels()[content.CONSTITUTION] if cfg.skills else cfg.max_health,
        MAX_FOOD=cfg.max_food, MAX_WATER=cfg.max_water,
        BLOCK=cut.block, warps=cut.warps, **place,
    )  # fmt: skip
    if not cfg.extended:
        return
    (other_xp, *_), (other_level, *_) = birth_experience(), birth_levels()
    launch(
        _equip, cut.programs, world.entity, first_id, world.xp, world.level, world.gold, world.inventory,
        world.worn, world.offer, world.offer_price, world.offer_left, world.token, world.events, world.ledger,
        cut.slots, cut.chunks, cfg.birth_gold,
        OTHER_XP=other_xp, BODY_XP=birth_experience()[content.CONSTITUTION],
        OTHER_LEVEL=other_level, BODY_LEVEL=birth_levels()[content.CONSTITUTION],
        ITEMS=world.inventory.shape[-1], EVENTS=world.events.shape[-1],
        FLOWS=len(Flow), INITIAL=int(Flow.INITIAL), NPCS=npcs, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
