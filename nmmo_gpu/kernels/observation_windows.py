"""Windows of material and occupants, by words of four cells; part of the twin of
``nmmo_gpu.world.observation``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.bits import (
    HIGH_BITS,
    first_bytes,
    high_bits,
    interleaved,
    nonzero_bytes,
    unaligned_words,
)
from nmmo_gpu.kernels.launch import agents_per_program, fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents, tile_of
from nmmo_gpu.world import observation_layout
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

_Fields = namedtuple("_Fields", "alive row col material presence")
_Config = namedtuple("_Config", "height width vision npc_slots populations population_size")
_Layout = namedtuple("_Layout", "words material occupant")
"""The length of a record, and offsets of the windows in it, in words."""
_Lanes = namedtuple("_Lanes", "words per_row used written padded")
"""Words of a lane, lanes of a row, lanes of a window without and with the padding after it, and the latter as
a power of two."""

ONES = tl.constexpr(0x01010101)
STRANGER, NPC = tl.constexpr(observation_layout.STRANGER), tl.constexpr(observation_layout.NPC)
LANE_BITS = 16
"""Bits of ``near`` for each lane, and at most as many cells: those of one wide store."""


@triton.jit
def kinds_of(presence, occupied, own, config: tl.constexpr):
    """Returns the kinds of the occupants of four tiles, a byte each.

    Args:
        presence: uint32, ``World.presence`` of the tiles.
        occupied: ``nonzero_bytes(presence)``.
        own: presence of the agent's population, on all four tiles.
    """
    strange = nonzero_bytes(presence ^ own) & occupied
    kinds = (occupied >> 7) + (strange >> 7)
    if config.npc_slots > 0:
        # The excess of a presence over those of the populations turns 2 into 3 or more. No byte borrows from
        # the next, because with NPCs the highest bit of each presence is free, and is set here. It remains
        # set for NPCs.
        beyond = (presence | HIGH_BITS) - (config.populations + 1) * ONES
        npc = (beyond >> 7) & ONES
        kinds += npc * (NPC - STRANGER) + (beyond & (npc * 0x7F))
    return kinds


@triton.jit
def _windows(
    world, words, near, slots, chunks, config: tl.constexpr, layout: tl.constexpr, lanes: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the windows, and in ``near`` one bit per cell, set if it has an occupant; zeros for dead agents.

    Order-free: an agent's windows are written by one program, and each byte by one lane."""
    SIDE: tl.constexpr = 2 * config.vision + 1
    WORDS: tl.constexpr = lanes.words
    LENGTH: tl.constexpr = 4 * WORDS
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    here = tile_of(world, being, living, config)

    lane = tl.arange(0, lanes.padded)[None, :]
    column = lane % lanes.per_row * LENGTH
    cells = tl.minimum(SIDE - column, LENGTH)
    corner = (lane // lanes.per_row - config.vision) * config.width + column - config.vision
    # A realm's plane may start anywhere within a word.
    plane = realm * (config.height * config.width)
    first_byte = here[:, None] + (corner + (plane & 3).to(tl.int32))
    seen = living[:, None] & (lane < lanes.used)
    pointer: tl.constexpr = tl.pointer_type(tl.uint32)
    materials = (world.material + (plane & ~3)).to(pointer)
    presences = (world.presence + (plane & ~3)).to(pointer)
    material = unaligned_words(materials, first_byte, cells, seen, WORDS)
    presence = unaligned_words(presences, first_byte, cells, seen, WORDS)

    own = ((slot // config.population_size + 1).to(tl.uint32) * ONES)[:, None]
    grounds = ()
    kinds = ()
    bits = tl.zeros_like(presence[0])
    for k in tl.static_range(WORDS):
        in_window = first_bytes(cells - 4 * k)
        grounds = grounds + (material[k] & in_window,)  # type: ignore[assignment]
        occupied = nonzero_bytes(presence[k]) & in_window
        kinds = kinds + (kinds_of(presence[k], occupied, own, config) & in_window,)  # type: ignore[assignment]
        bits |= high_bits(occupied) << (4 * k)

    written = inside[:, None] & (lane < lanes.written)
    word = tl.arange(0, WORDS)[None, None, :]
    into = words + (agent * layout.words)[:, None, None] + (lane * WORDS)[:, :, None] + word
    wide = written[:, :, None] & (word >= 0)
    grounds = tl.reshape(interleaved(grounds, WORDS), [BLOCK, lanes.padded, WORDS])
    tl.store(into + layout.material, grounds.to(tl.int32, bitcast=True), mask=wide)
    kinds = tl.reshape(interleaved(kinds, WORDS), [BLOCK, lanes.padded, WORDS])
    tl.store(into + layout.occupant, kinds.to(tl.int32, bitcast=True), mask=wide)
    # Without this hint, the layout of the whole kernel would follow this store, and the wide ones would pass
    # through shared memory.
    place = tl.max_contiguous(agent[:, None] * lanes.padded + lane, [1, 1])
    tl.store(near + place, bits.to(tl.int16), mask=inside[:, None] & (lane >= 0))


def write_windows(world: World, records: Tensor, layout: ObservationLayout) -> Tensor:
    """Writes the windows of all agents to their records, and returns which of their cells have an occupant.

    Args:
        world: the world.
        records: [R, A, bytes] uint8, contiguous.
        layout: layout of the records.

    Returns:
        [R, A, lanes] int16, a workspace: bit c of lane l is set if cell 16 * l + c of the window has an
        occupant, counting rows of 16 or 32 cells. ``lanes`` is a power of two; unused lanes are 0.
    """
    cfg = world.config
    lanes = lanes_of(layout)
    near = world.workspace("near", (world.realms, cfg.slots, lanes.padded), torch.int16)
    cut = over_slots(world.realms, cfg.slots, agents_per_program(2 * lanes.padded * lanes.words))
    fields = layout.fields
    launch(
        _windows, cut.programs, fields_of(_Fields, world), records.view(torch.int32), near, cut.slots,
        cut.chunks, config=fields_of(_Config, cfg),
        layout=_Layout(layout.bytes // 4, fields["material"].offset // 4, fields["occupant"].offset // 4),
        lanes=lanes, BLOCK=cut.block,
    )  # fmt: skip
    return near


def lanes_of(layout: ObservationLayout) -> _Lanes:
    """Returns the division of a window into lanes, each at most ``LANE_BITS`` cells of a row."""
    length = min(layout.pitch, LANE_BITS)
    per_row = layout.pitch // length
    used = layout.window * per_row
    written = (layout.bytes - layout.fields["occupant"].offset) // length
    return _Lanes(length // 4, per_row, used, written, triton.next_power_of_2(written))
