"""Inventories, for kernels; twin of ``nmmo_gpu.world.inventory``."""

import triton
import triton.language as tl


@triton.jit
def room(world, agent, here, weight, capacity, ITEMS: tl.constexpr):
    """[...] int32: free inventory units of agents; undefined where ``here`` is false.

    Args:
        world: with offer and inventory. agent: index into [R * A]. weight: [items] int32.
    """
    code = tl.load(world.offer + agent, mask=here, other=0).to(tl.int32)
    about = tl.where(code > ITEMS, code - ITEMS, code) - 1
    space = capacity - tl.load(weight + about, mask=code > 0, other=0)
    for i in range(ITEMS):
        space -= tl.load(world.inventory + agent * ITEMS + i, mask=here, other=0) * tl.load(weight + i)
    return space
