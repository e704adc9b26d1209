"""Inventories, for compiled loops; twin of ``nmmo_gpu.world.inventory``."""

from nmmo_gpu.cpu.compile import compiled


@compiled(inline="always")
def room(inventory, offer, weights, capacity, r, a):
    """Returns the free inventory units of agent ``a`` of realm ``r`` (int64).

    Args:
        inventory: [R, A, items] int32.
        offer: [R, A] int16.
        weights: [items] int64.
        capacity: units that an inventory holds.
        r: realm.
        a: agent slot.
    """
    items = weights.shape[0]
    space = capacity
    for i in range(items):
        space -= inventory[r, a, i] * weights[i]
    about = offer[r, a]
    if about > 0:
        space -= weights[about - 1 if about <= items else about - 1 - items]
    return space
