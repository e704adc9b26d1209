"""Births of NPCs in two kernels (plus two launches if a realm's NPCs span several blocks); twin of
``nmmo_gpu.world.npc_births``.

During the phase, ``occupant`` holds the claims: a claimed free tile holds -1 - rank of its winner. Whether a
tile was free is read from ``presence``, which claims do not change."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.movement import map_size
from nmmo_gpu.kernels.npcs import habitat, health_of, kind_of, natures
from nmmo_gpu.kernels.random import below, draw, draw_word
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.kernels.spawning import inland
from nmmo_gpu.world import npc_births as rule
from nmmo_gpu.world.npc_births import order_mask
from nmmo_gpu.world.npcs import chance
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

BIRTH_STREAM, ORDER_STREAM = tl.constexpr(int(Stream.NPC_BIRTH)), tl.constexpr(int(Stream.BIRTH_ORDER))
CANDIDATES = tl.constexpr(rule.CANDIDATES)
DRAWS = tl.constexpr(-(-(rule.CANDIDATES + 1) // 4))
"""Draws of four words that hold the candidates, and the word before them."""


@triton.jit
def birth_key(seed, tick, realm, npc, mask):
    """[BLOCK] int32, below 0: the key with which an NPC claims a tile; the lowest has the highest rank. All
    keys of a realm are different."""
    mix = draw_word(seed, tick, ORDER_STREAM, realm, realm - realm)
    return -1 - (npc ^ (mix & mask).to(tl.int32))


@triton.jit
def fits(word, open, plane, home, material, presence, places, BORDER: tl.constexpr, WIDTH: tl.constexpr):
    """(whether the place in a word is suitable: [BLOCK] bool, its tile in the realm: [BLOCK] int32)."""
    at = inland(below(word, places), BORDER, WIDTH)
    ground = tl.load(material + plane + at, mask=open, other=0).to(tl.int32)
    fit = open & (((home >> ground) & 1) != 0)
    return fit & (tl.load(presence + plane + at, mask=fit, other=1) == 0), at


@triton.jit
def _claim_homes(
    seed, tick, alive, material, occupant, presence, next_entity, natures, home, first_id,
    npcs, chunks, agents, trying, places, mask,
    BORDER: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draws which empty slots try, finds a tile for each, and leaves the lowest key of each tile in
    ``occupant``.

    Order-free: claims are atomic minima of different keys, which are not read here; everything else is
    written by the program of the slot, or of the realm's first block. ``first_id`` stores the old value of
    ``next_entity``, which the next kernel increments."""
    program = tl.program_id(0)
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    if program % chunks == 0:
        tl.store(first_id + realm, tl.load(next_entity + realm))
    slot = agents + npc
    empty = inside & (tl.load(alive + realm * (agents + npcs) + slot, mask=inside, other=1) == 0)
    found = tl.full([BLOCK], -1, tl.int32)
    if tl.max(empty.to(tl.int32), 0) > 0:
        plane = realm * (HEIGHT * WIDTH)
        lives_on = habitat(tl.load(natures + slot, mask=empty, other=0))
        open = empty
        for number in tl.static_range(DRAWS):
            if tl.max(open.to(tl.int32), 0) > 0:
                words = draw(seed, tick, BIRTH_STREAM, realm, 8 * slot + number)
                for part in tl.static_range(4):
                    if number == 0 and part == 0:
                        open = open & ((words[0] >> 16).to(tl.int32) < trying)
                    elif 4 * number + part <= CANDIDATES:
                        fit, at = fits(
                            words[part], open, plane, lives_on, material, presence, places, BORDER, WIDTH,
                        )  # fmt: skip
                        found = tl.where(fit, at, found)
                        open = open & (fit == 0)
        claims = found >= 0
        mine = birth_key(seed, tick, realm, npc, mask)
        tl.atomic_min(occupant + plane + found, mine, mask=claims, sem="relaxed")
    tl.store(home + entry, found, mask=inside)


@triton.jit
def newborn(realm, entry, npc, inside, home, occupant, key, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """(whether each NPC spawns: [BLOCK] bool, its tile within the realm: [BLOCK] int32)."""
    at = tl.load(home + entry, mask=inside, other=-1)
    tried = inside & (at >= 0)
    plane = realm * (HEIGHT * WIDTH)
    return tried & (tl.load(occupant + plane + at, mask=tried, other=0) == key), at


@triton.jit
def _count_newborn(
    seed, tick, home, occupant, counts, npcs, chunks, mask,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Number of new NPCs of each block. Order-free: one entry per program."""
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    key = birth_key(seed, tick, realm, npc, mask)
    born, _ = newborn(realm, entry, npc, inside, home, occupant, key, HEIGHT, WIDTH)
    tl.store(counts + tl.program_id(0), tl.sum(born.to(tl.int32), 0))


@triton.jit
def _settle_npcs(
    seed, tick, home, born_before, first_id, next_entity, natures, alive, entity, row, col, health, food,
    water, freeze, heading, age, damage, aggro_target, aggro_entity, aggro_ticks, occupant, presence,
    npcs, chunks, agents, mask, populations,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Spawns the winners.

    Order-free: a winner writes its own slot and the tile that only it has won, and births are counted by
    atomic addition. A loser that reads the tile before or after this write finds a key that is not its own in
    both cases."""
    program = tl.program_id(0)
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    key = birth_key(seed, tick, realm, npc, mask)
    born, at = newborn(realm, entry, npc, inside, home, occupant, key, HEIGHT, WIDTH)
    count = tl.sum(born.to(tl.int32), 0)
    if count > 0:
        before = count - count
        if chunks > 1:
            before = tl.load(born_before + program) - count
        rank = before + tl.cumsum(born.to(tl.int32), 0) - 1
        slot = agents + npc
        who = realm * (agents + npcs) + slot
        tl.store(entity + who, tl.load(first_id + realm) + rank, mask=born)
        tl.atomic_add(next_entity + realm, count.to(tl.int64), sem="relaxed")

        nature = tl.load(natures + slot, mask=born, other=0)
        none = tl.zeros([BLOCK], tl.int16)
        tl.store(alive + who, tl.full([BLOCK], 1, tl.int1), mask=born)
        tl.store(row + who, at // WIDTH, mask=born)
        tl.store(col + who, at % WIDTH, mask=born)
        tl.store(health + who, health_of(nature).to(tl.int16), mask=born)
        tl.store(food + who, none, mask=born)
        tl.store(water + who, none, mask=born)
        tl.store(freeze + who, none, mask=born)
        tl.store(damage + who, none, mask=born)
        tl.store(heading + who, none.to(tl.uint8), mask=born)
        tl.store(age + who, none.to(tl.int32), mask=born)
        tl.store(aggro_target + entry, tl.full([BLOCK], -1, tl.int32), mask=born)
        tl.store(aggro_entity + entry, tl.full([BLOCK], -1, tl.int64), mask=born)
        tl.store(aggro_ticks + entry, none.to(tl.uint8), mask=born)
        tile = realm * (HEIGHT * WIDTH) + at
        tl.store(occupant + tile, slot + 1, mask=born)
        tl.store(presence + tile, (populations + 1 + kind_of(nature)).to(tl.uint8), mask=born)


def npc_births(world: World) -> None:
    """See ``nmmo_gpu.world.npc_births.npc_births``."""
    cfg = world.config
    cut = over_slots(world.realms, cfg.npc_slots)
    blocks = (world.realms, cut.chunks)
    home = world.workspace("home", (world.realms, cfg.npc_slots), torch.int32)
    first_id = world.workspace("first id of npcs", (world.realms,), torch.int64)
    born_before = world.workspace("newborn npcs up to a block", blocks, torch.int32)
    mask = order_mask(cfg)
    launch(
        _claim_homes, cut.programs, world.seed, world.tick, world.alive, world.material, world.occupant,
        world.presence, world.next_entity, natures(world), home, first_id,
        cut.slots, cut.chunks, cfg.slots, chance(cfg.npc_births), cfg.inland, mask,
        BORDER=cfg.border, BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip
    if cut.chunks > 1:
        counts = world.workspace("newborn npcs per block", blocks, torch.int32)
        launch(
            _count_newborn, cut.programs, world.seed, world.tick, home, world.occupant, counts,
            cut.slots, cut.chunks, mask, BLOCK=cut.block, warps=cut.warps, **map_size(world),
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=born_before)
    launch(
        _settle_npcs, cut.programs, world.seed, world.tick, home, born_before, first_id, world.next_entity,
        natures(world), world.alive, world.entity, world.row, world.col, world.health, world.food,
        world.water, world.freeze, world.heading, world.age, world.damage, world.aggro_target,
        world.aggro_entity,
        world.aggro_ticks, world.occupant, world.presence,
        cut.slots, cut.chunks, cfg.slots, mask, cfg.populations,
        BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip
