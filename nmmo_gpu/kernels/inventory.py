"""Inventories, for kernels; twin of ``nmmo_gpu.world.inventory``."""

import triton
import triton.language as tl


@triton.jit
def room(agent, here, inventory, offer, weights, capacity, ITEMS: tl.constexpr):
    """[...] int32: free inventory units of agents; undefined where ``here`` is false.

    Args:
        agent: index into [R * A]. inventory: [R, A, items] int32. offer: [R, A] int16.
        weights: [items] int32.
    """
    code = tl.load(offer + agent, mask=here, other=0).to(tl.int32)
    about = tl.where(code > ITEMS, code - ITEMS, code) - 1
    space = capacity - tl.load(weights + about, mask=code > 0, other=0)
    for i in range(ITEMS):
        space -= tl.load(inventory + agent * ITEMS + i, mask=here, other=0) * tl.load(weights + i)
    return space
