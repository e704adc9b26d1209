"""How many slots of each population a rollout computes where shapes are static.

A rollout with static shapes computes a fixed number of slots of each population, living agents first. Births
during a rollout cannot be known before it. In the worst case they all belong to one population, and fill it
even at one birth per tick and realm: only the number of all slots is certain to be enough. Therefore the
number is a forecast, the device counts the living, and a rollout in which a population had more of them is
repeated with all slots (``nmmo_gpu.train.trinity.God``)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SHARES = 16
"""Numbers of columns are multiples of 1 / ``SHARES`` of all slots, so that a few graphs are enough."""

RESERVE = 64
"""A forecast is larger than the trend by 1 / ``RESERVE`` of all slots."""


class Living(NamedTuple):
    """Largest numbers of living agents of a population in a rollout."""

    first: int
    """Before the first tick."""
    last: int
    """After the last tick."""
    most: int
    """At any time."""


def count_living(alive: Tensor, after: Tensor, populations: int) -> Tensor:
    """Returns [3] int64 for ``Living``, on the device.

    Args:
        alive: [T, R * A] bool, before each tick.
        after: [R, A] bool, after the last tick.
        populations: number of populations.
    """
    slots = after.shape[1]
    grouped = [part.reshape(-1, after.shape[0], populations, slots // populations) for part in (alive, after)]
    counts = torch.cat([part.sum((1, 3)) for part in grouped]).amax(1)  # [T + 1]
    return torch.stack((counts[0], counts[-1], counts.max()))


def columns_for(living: Living, slots: int) -> int:
    """Returns the number of columns for the rollout after one in which ``living`` were counted.

    Args:
        living: counts of the last rollout.
        slots: slots of a population in all realms, the maximum of the result."""
    forecast = living.most + max(0, living.last - living.first) + slots // RESERVE + 1
    share = -(-slots // SHARES)
    return min(slots, -(-forecast // share) * share)


def column_choices(slots: int) -> list[int]:
    """Returns all possible results of ``columns_for``, in ascending order."""
    share = -(-slots // SHARES)
    return sorted({min(slots, k * share) for k in range(1, SHARES + 1)})
