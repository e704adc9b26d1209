"""Births of NPCs in two kernels (plus two launches if a realm's NPCs span several blocks); twin of
``nmmo_gpu.world.npc_births``.

During the phase, ``occupant`` holds the claims: a claimed free tile holds -1 - rank of its winner. Whether a
tile was free is read from ``presence``, which claims do not change."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.npcs import habitat, health_of, kind_of, natures
from nmmo_gpu.kernels.random import below, draw, draw_word
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.kernels.spawning import inland
from nmmo_gpu.world import npc_births as rule
from nmmo_gpu.world.npc_births import order_mask
from nmmo_gpu.world.npcs import chance
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_ClaimFields = namedtuple("_ClaimFields", "seed tick alive material occupant presence next_entity")
_ClaimConfig = namedtuple("_ClaimConfig", "border height width")
_CountFields = namedtuple("_CountFields", "seed tick occupant")
_SettleFields = namedtuple(
    "_SettleFields",
    "seed tick alive entity next_entity row col health food water freeze heading age damage aggro_target "
    "aggro_entity aggro_ticks occupant presence",
)
_Map = namedtuple("_Map", "height width")
_Buffers = namedtuple("_Buffers", "home first_id before")
"""The tile that each NPC slot tries ([R, NPCs] int32; -1 for none), the first new id of each realm ([R]
int64), and the number of new NPCs of a realm up to and including each block ([R, chunks] int32)."""

BIRTH_STREAM, ORDER_STREAM = tl.constexpr(int(Stream.NPC_BIRTH)), tl.constexpr(int(Stream.BIRTH_ORDER))
CANDIDATES = tl.constexpr(rule.CANDIDATES)
DRAWS = tl.constexpr(-(-(rule.CANDIDATES + 1) // 4))
"""Draws of four words that hold the candidates, and the word before them."""


@triton.jit
def birth_key(world, realm, npc, mask):
    """Returns [BLOCK] int32, below 0: the key with which an NPC claims a tile; the lowest has the highest
    rank. All keys of a realm are different."""
    mix = draw_word(world, ORDER_STREAM, realm, realm - realm)
    return -1 - (npc ^ (mix & mask).to(tl.int32))


@triton.jit
def fits(world, word, open, plane, home, places, config: tl.constexpr):
    """Returns (whether the place drawn by a word is suitable: [BLOCK] bool, its tile within the realm:
    [BLOCK] int32)."""
    at = inland(below(word, places), config)
    ground = tl.load(world.material + plane + at, mask=open, other=0).to(tl.int32)
    fit = open & (((home >> ground) & 1) != 0)
    return fit & (tl.load(world.presence + plane + at, mask=fit, other=1) == 0), at


@triton.jit
def _claim_homes(
    world, buffers, natures, npcs, chunks, agents, trying, places, mask, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Draws which empty slots try, finds a tile for each, and leaves the lowest key of each tile in
    ``occupant``.

    Order-free: claims are atomic minima of different keys, which are not read here; everything else is
    written by the program of the slot, or of the realm's first block. ``first_id`` stores the old value of
    ``next_entity``, which the next kernel increments."""
    program = tl.program_id(0)
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    if program % chunks == 0:
        tl.store(buffers.first_id + realm, tl.load(world.next_entity + realm))
    slot = agents + npc
    empty = inside & (tl.load(world.alive + realm * (agents + npcs) + slot, mask=inside, other=1) == 0)
    found = tl.full([BLOCK], -1, tl.int32)
    if tl.max(empty.to(tl.int32), 0) > 0:
        plane = realm * (config.height * config.width)
        lives_on = habitat(tl.load(natures + slot, mask=empty, other=0))
        open = empty
        for number in tl.static_range(DRAWS):
            if tl.max(open.to(tl.int32), 0) > 0:
                words = draw(world, BIRTH_STREAM, realm, 8 * slot + number)
                for part in tl.static_range(4):
                    if number == 0 and part == 0:
                        open = open & ((words[0] >> 16).to(tl.int32) < trying)
                    elif 4 * number + part <= CANDIDATES:
                        fit, at = fits(world, words[part], open, plane, lives_on, places, config)
                        found = tl.where(fit, at, found)
                        open = open & (fit == 0)
        claims = found >= 0
        mine = birth_key(world, realm, npc, mask)
        tl.atomic_min(world.occupant + plane + found, mine, mask=claims, sem="relaxed")
    tl.store(buffers.home + entry, found, mask=inside)


@triton.jit
def newborn(world, buffers, realm, entry, npc, inside, key, config: tl.constexpr):
    """Returns (whether each NPC spawns: [BLOCK] bool, its tile within the realm: [BLOCK] int32)."""
    at = tl.load(buffers.home + entry, mask=inside, other=-1)
    tried = inside & (at >= 0)
    plane = realm * (config.height * config.width)
    return tried & (tl.load(world.occupant + plane + at, mask=tried, other=0) == key), at


@triton.jit
def _count_newborn(world, buffers, counts, npcs, chunks, mask, config: tl.constexpr, BLOCK: tl.constexpr):
    """Counts the new NPCs of each block. Order-free: one entry per program."""
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    key = birth_key(world, realm, npc, mask)
    born, _ = newborn(world, buffers, realm, entry, npc, inside, key, config)
    tl.store(counts + tl.program_id(0), tl.sum(born.to(tl.int32), 0))


@triton.jit
def _settle_npcs(
    world, buffers, natures, npcs, chunks, agents, mask, populations, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Spawns the winners.

    Order-free: a winner writes its own slot and the tile that only it has won, and births are counted by
    atomic addition. A loser that reads the tile before or after this write finds a key that is not its own in
    both cases."""
    program = tl.program_id(0)
    realm, npc, entry, inside = my_slots(npcs, chunks, BLOCK)
    key = birth_key(world, realm, npc, mask)
    born, at = newborn(world, buffers, realm, entry, npc, inside, key, config)
    count = tl.sum(born.to(tl.int32), 0)
    if count > 0:
        before = count - count
        if chunks > 1:
            before = tl.load(buffers.before + program) - count
        rank = before + tl.cumsum(born.to(tl.int32), 0) - 1
        slot = agents + npc
        who = realm * (agents + npcs) + slot
        tl.store(world.entity + who, tl.load(buffers.first_id + realm) + rank, mask=born)
        tl.atomic_add(world.next_entity + realm, count.to(tl.int64), sem="relaxed")

        nature = tl.load(natures + slot, mask=born, other=0)
        none = tl.zeros([BLOCK], tl.int16)
        tl.store(world.alive + who, tl.full([BLOCK], 1, tl.int1), mask=born)
        tl.store(world.row + who, at // config.width, mask=born)
        tl.store(world.col + who, at % config.width, mask=born)
        tl.store(world.health + who, health_of(nature).to(tl.int16), mask=born)
        tl.store(world.food + who, none, mask=born)
        tl.store(world.water + who, none, mask=born)
        tl.store(world.freeze + who, none, mask=born)
        tl.store(world.damage + who, none, mask=born)
        tl.store(world.heading + who, none.to(tl.uint8), mask=born)
        tl.store(world.age + who, none.to(tl.int32), mask=born)
        tl.store(world.aggro_target + entry, tl.full([BLOCK], -1, tl.int32), mask=born)
        tl.store(world.aggro_entity + entry, tl.full([BLOCK], -1, tl.int64), mask=born)
        tl.store(world.aggro_ticks + entry, none.to(tl.uint8), mask=born)
        tile = realm * (config.height * config.width) + at
        tl.store(world.occupant + tile, slot + 1, mask=born)
        tl.store(world.presence + tile, (populations + 1 + kind_of(nature)).to(tl.uint8), mask=born)


def npc_births(world: World) -> None:
    """See ``nmmo_gpu.world.npc_births.npc_births``."""
    cfg = world.config
    cut = over_slots(world.realms, cfg.npc_slots)
    blocks = (world.realms, cut.chunks)
    buffers = _Buffers(
        home=world.workspace("home", (world.realms, cfg.npc_slots), torch.int32),
        first_id=world.workspace("first id of npcs", (world.realms,), torch.int64),
        before=world.workspace("newborn npcs up to a block", blocks, torch.int32),
    )
    mask = order_mask(cfg)
    size = fields_of(_Map, cfg)
    launch(
        _claim_homes, cut.programs, fields_of(_ClaimFields, world), buffers, natures(world), cut.slots,
        cut.chunks, cfg.slots, chance(cfg.npc_births), cfg.inland, mask,
        config=fields_of(_ClaimConfig, cfg), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    if cut.chunks > 1:
        counts = world.workspace("newborn npcs per block", blocks, torch.int32)
        launch(
            _count_newborn, cut.programs, fields_of(_CountFields, world), buffers, counts, cut.slots,
            cut.chunks, mask, config=size, BLOCK=cut.block, warps=cut.warps,
        )  # fmt: skip
        torch.cumsum(counts, 1, dtype=torch.int32, out=buffers.before)
    launch(
        _settle_npcs, cut.programs, fields_of(_SettleFields, world), buffers, natures(world), cut.slots,
        cut.chunks, cfg.slots, mask, cfg.populations, config=size, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
