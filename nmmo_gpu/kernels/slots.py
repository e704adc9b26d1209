"""Indices of the slots that a program processes, and positions of entities."""

import triton
import triton.language as tl


@triton.jit
def my_slots(slots, chunks, BLOCK: tl.constexpr):
    """Returns (realm: int64 scalar, slot: [BLOCK] int32, agent: [BLOCK] int64 index into [R * slots], inside:
    [BLOCK] bool) of this program, for fields with ``slots`` elements per realm; see
    ``nmmo_gpu.kernels.launch.Slots``."""
    program = tl.program_id(0)
    realm = (program // chunks).to(tl.int64)
    slot = (program % chunks) * BLOCK + tl.arange(0, BLOCK)
    return realm, slot, realm * slots + slot, slot < slots


@triton.jit
def my_agents(slots, chunks, NPCS: tl.constexpr, BLOCK: tl.constexpr):
    """Like ``my_slots``, for agents only: ``slots`` of them per realm, followed by ``NPCS`` other slots.

    Returns (realm, slot, agent: [BLOCK] int64 index into [R * A], being: index into [R * S], inside)."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    return realm, slot, agent, agent + realm * NPCS, inside


@triton.jit
def position(world, entity, here):
    """Returns (row, column) of entities (indices into [R * S]), [...] int32; 0 where ``here`` is false."""
    return tl.load(world.row + entity, mask=here, other=0), tl.load(world.col + entity, mask=here, other=0)


@triton.jit
def tile_of(world, entity, here, config: tl.constexpr):
    """Returns [...] int32: tiles within the realm of entities (indices into [R * S]); 0 if not ``here``."""
    row, col = position(world, entity, here)
    return row * config.width + col
