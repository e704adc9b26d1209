"""Inventories, for kernels; twin of ``nmmo_gpu.world.inventory``."""

import triton
import triton.language as tl


@triton.jit
def room(world, agent, here, weight, capacity, ITEMS: tl.constexpr):
    """Returns [...] int32: free inventory units of agents; undefined where ``here`` is false.

    Args:
        world: fields ``offer`` and ``inventory``.
        agent: [...] int64, index into [R * A].
        here: [...] bool.
        weight: [items] int32.
        capacity: units that an inventory holds.
        ITEMS: number of items.
    """
    code = tl.load(world.offer + agent, mask=here, other=0).to(tl.int32)
    about = tl.where(code > ITEMS, code - ITEMS, code) - 1
    space = capacity - tl.load(weight + about, mask=code > 0, other=0)
    for i in range(ITEMS):
        space -= tl.load(world.inventory + agent * ITEMS + i, mask=here, other=0) * tl.load(weight + i)
    return space
