"""Observation: the view of every living agent at the end of the tick."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.content import KNIFE, RANGE, walkable_table
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_goods import entity_attributes, observe_goods
from nmmo_gpu.world.observation_layout import EMPTY, FRIEND, NPC, STRANGER, ObservationLayout
from nmmo_gpu.world.state import World

WORD_BITS = 62
"""Bits used of each int64 word of a set of cells; the sign bit is not used."""

ONES, LOW_BITS = 0x0101010101010101, 0x7F7F7F7F7F7F7F7F
"""A word with 1 in each of its eight bytes, and one with all bits but the highest of each."""


@cache
def ring_order(vision: int) -> tuple[tuple[int, int], ...]:
    """(row, column) offsets of the window's cells by Chebyshev distance, ties row by row."""
    side = range(-vision, vision + 1)
    return tuple(sorted(((r, c) for r in side for c in side), key=lambda rc: (max(map(abs, rc)), rc)))


@cache
def _tables(vision: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(rank of each window cell in ring order [window^2], offset by rank [window^2, 2]), int64."""
    order = torch.tensor(ring_order(vision), device=device, dtype=torch.int64)
    window = 2 * vision + 1
    rank = torch.empty(window * window, dtype=torch.int64, device=device)
    rank[(order[:, 0] + vision) * window + order[:, 1] + vision] = torch.arange(
        len(order), device=device, dtype=torch.int64
    )
    return rank, order


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """Writes every agent's record, and the slots of its entity rows. Dead agents get zeros and no rows.

    Args:
        records: [R, A, bytes] uint8, contiguous, in the layout of ``ObservationLayout``. Fully overwritten.
        seen: [R, A, nearest] int32: slot of each row of ``entities``; -1 for none. Fully overwritten.
    """
    living = world.agents(world.alive).reshape(-1).nonzero().squeeze(1)
    rows, slots = records.view(-1, records.shape[-1]), seen.view(-1, seen.shape[-1])
    if living.numel() == rows.shape[0]:
        _observe(world, living, rows, slots)
        return
    compact, who = (
        rows.new_zeros(living.numel(), rows.shape[1]),
        slots.new_empty(living.numel(), slots.shape[1]),
    )
    _observe(world, living, compact, who)
    rows.zero_()
    slots.fill_(-1)
    rows[living] = compact
    slots[living] = who


def _observe(world: World, agent: Tensor, records: Tensor, seen: Tensor) -> None:
    """Observes for the agents ([n] int64, index into [R * A]) into records [n, bytes], seen [n, nearest]."""
    cfg = world.config
    layout = ObservationLayout(cfg)
    layout.clear_padding(records)
    out = layout.views(records)
    entity = entities_of(world, agent)
    tile = world.tile()[entity]
    population = (agent % cfg.slots) // cfg.population_size

    corner = tile - cfg.vision * (cfg.width + 1)
    out["material"].copy_(_windows(world.material, cfg.window, corner))
    cells = cfg.window * cfg.window
    presence = tile.new_zeros(len(agent), -(-cells // 8)).view(torch.uint8)
    presence[:, :cells] = _windows(world.presence, cfg.window, corner).view(len(agent), cells)
    # Eight cells at a time: 0 if empty, 1 for a friend, 2 for a stranger: the sum of two comparisons.
    octets = presence.view(torch.int64)
    occupied = _nonzero_bytes(octets)
    kind = occupied + (occupied & _nonzero_bytes(octets ^ ((population + 1) * ONES)[:, None]))
    if cfg.npcs:
        # An NPC's presence exceeds those of the populations, and the excess turns 2 into 3 or more.
        kind.view(torch.uint8).add_(presence.clamp(min=cfg.populations) - cfg.populations)
    out["occupant"].copy_(kind.view(torch.uint8)[:, :cells].view(-1, cfg.window, cfg.window))
    out["alive"].fill_(True)

    _observe_self(world, agent, entity, out["self"])
    distance = _observe_entities(world, agent, tile, occupied, out, seen)
    _observe_moves(world, entity, tile, out["move_mask"])
    _observe_targets(world, agent, distance, seen, out)
    if cfg.extended:
        observe_goods(world, agent, out)


def entities_of(world: World, agent: Tensor) -> Tensor:
    """Indices into [R * S] from indices into [R * A]; the same without NPCs."""
    npcs = world.config.npc_slots
    return agent + agent // world.config.slots * npcs if npcs else agent


def _windows(plane: Tensor, window: int, corner: Tensor) -> Tensor:
    """[n, window, window]: the squares of a [R, H, W] plane with the given upper left corners ([n] int64).

    Indexes a view of all possible squares, which is about twice as fast as computing the index of every
    cell."""
    width = plane.shape[-1]
    squares = plane.numel() - (window - 1) * (width + 1)
    return plane.as_strided((squares, window, window), (1, width, 1))[corner]


def _nonzero_bytes(words: Tensor) -> Tensor:
    """1 in each byte that is not zero in the int64 words, 0 in the others.

    Adding all low bits carries into a byte's highest bit if any low bit is set, and no further."""
    return ((((words & LOW_BITS) + LOW_BITS) | words) >> 7) & ONES


@cache
def _offsets(device: torch.device) -> Tensor:
    return torch.tensor(MOVES, dtype=torch.int16, device=device)


def _observe_self(world: World, agent: Tensor, entity: Tensor, out: Tensor) -> None:
    cfg = world.config
    columns = (
        world.age.clamp(max=torch.iinfo(torch.int16).max),
        world.health, world.food, world.water, world.row, world.col, world.freeze, world.damage,
        world.immune(),
    )  # fmt: skip
    for i, column in enumerate(columns):
        out[:, i] = column.view(-1)[entity]
    out[:, len(columns)] = (agent % cfg.slots) // cfg.population_size
    out[:, len(columns) + 1 :] = _offsets(world.device)[world.heading.view(-1)[entity].long()]


def _observe_entities(
    world: World, agent: Tensor, tile: Tensor, occupied: Tensor, out: dict[str, Tensor], seen: Tensor
) -> Tensor:
    """Fills the entity tables; returns [n, nearest] int64 Chebyshev distances (of rows that exist).

    ``occupied``: [n, words] int64, one byte per cell of the window, 1 where the tile is occupied."""
    cfg = world.config
    n, cells = agent.numel(), cfg.window * cfg.window
    rank_of_cell, offset_of_rank = _tables(cfg.vision, world.device)

    # The neighbors as a set of ring ranks per agent: a few words of bits. Most cells are empty, so a word is
    # examined only if it is not zero.
    octet = occupied.nonzero()
    byte = occupied[octet[:, 0], octet[:, 1]].view(torch.uint8).view(-1, 8).nonzero()
    viewer = octet[byte[:, 0], 0]
    rank = rank_of_cell[octet[byte[:, 0], 1] * 8 + byte[:, 1]]
    # The agent itself, in the center, is not included: rank 0 is left out.
    viewer, rank = viewer[rank > 0], rank[rank > 0]
    words = -(-cells // WORD_BITS)
    near = torch.zeros(n * words, dtype=torch.int64, device=agent.device)
    near.index_add_(0, viewer * words + rank // WORD_BITS, 1 << (rank % WORD_BITS))  # all bits differ
    near = near.view(n, words)

    # Take the lowest bit, `nearest` times.
    ranks = torch.zeros(n, cfg.nearest, dtype=torch.int64, device=agent.device)
    line = torch.arange(n, device=agent.device, dtype=torch.int64)
    for k in range(cfg.nearest):
        word = (near != 0).to(torch.uint8).argmax(1)
        bits = near[line, word]
        lowest = bits & -bits
        # A power of two is exact in float64, and frexp returns its exponent.
        place = torch.frexp(lowest.double())[1] - 1
        ranks[:, k] = torch.where(bits != 0, word * WORD_BITS + place, 0)  # rank 0, the agent, means none
        near[line, word] = bits ^ lowest

    exists = ranks > 0
    offset = offset_of_rank[ranks]
    at = tile[:, None] + offset[..., 0] * cfg.width + offset[..., 1]
    slot = world.occupant.view(-1)[at] - 1
    seen.copy_(torch.where(exists, slot, -1))
    who = (agent // cfg.slots * cfg.entities)[:, None] + slot
    out["entities"].copy_(_public_stats(world)[who].view(torch.int8).view(n, cfg.nearest, 8))
    out["entities"][..., 0] = offset[..., 0]
    out["entities"][..., 1] = offset[..., 1]
    out["entities"].mul_(exists[..., None])
    if cfg.extended:
        out["entity_attributes"].copy_(entity_attributes(world)[who].view(torch.int8).view(n, cfg.nearest, 8))
        out["entity_attributes"].mul_(exists[..., None])
    shown = world.presence.view(-1)[at].short()
    own = 1 + (agent % cfg.slots) // cfg.population_size
    kind = torch.where(shown == own[:, None], FRIEND, STRANGER)
    kind = torch.where(shown > cfg.populations, shown + (NPC - cfg.populations - 1), kind)
    out["entity_kind"].copy_(torch.where(exists, kind, EMPTY))
    return offset.abs().amax(-1).masked_fill_(~exists, cfg.vision + 1)


def _public_stats(world: World) -> Tensor:
    """[R * S] int64: the public attributes of all entities, eight int8 packed so that one look-up reads all.

    The first two bytes stay empty for the offsets, which depend on the observer."""
    empty = torch.zeros_like(world.health)
    columns = (empty, empty, world.age, world.health, world.food, world.water, world.freeze, world.damage)
    card = torch.stack([column.clamp(max=127).to(torch.int8) for column in columns], -1)
    return card.view(-1, 8).view(torch.int64).squeeze(1)


def _observe_moves(world: World, entity: Tensor, tile: Tensor, out: Tensor) -> None:
    cfg = world.config
    steps = torch.tensor([dr * cfg.width + dc for dr, dc in MOVES[1:]], device=tile.device, dtype=torch.int64)
    goal = tile[:, None] + steps
    free = walkable_table(world.device)[world.material.view(-1)[goal].long()]
    free &= world.occupant.view(-1)[goal] == 0
    out[:, 0] = True
    out[:, 1:] = free & (world.freeze.view(-1)[entity] == 0)[:, None]


def _observe_targets(
    world: World, agent: Tensor, distance: Tensor, seen: Tensor, out: dict[str, Tensor]
) -> None:
    """Styles and targets that combat would accept: flat attacks need damage; rolled attacks need a target
    that is not immune, and range a knife to throw."""
    cfg = world.config
    fair = torch.ones_like(distance, dtype=torch.bool)
    if cfg.rolls:
        who = (agent // cfg.slots * cfg.entities)[:, None] + seen.clamp(min=0)
        fair = ~world.immune().view(-1)[who]
    for style, (reach, damage) in enumerate(zip(cfg.reach, cfg.damage, strict=True)):
        within = fair & (distance <= (reach if damage or cfg.rolls else -1))
        if cfg.rolls and style == RANGE:
            within &= (world.worn.flatten(0, 1)[agent, KNIFE] > 0)[:, None]
        out["target_mask"][:, style, 0] = True
        out["target_mask"][:, style, 1:] = within
        out["style_mask"][:, style] = within.any(1) | (style == 0)
