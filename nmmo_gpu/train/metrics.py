"""Statistics of lifetimes, deaths and actions, accumulated on the world's device."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nmmo_gpu.world.state import Cause, World

LIFETIME_BINS = 8192
"""Number of bins of the histogram of lifetimes, 1 tick each; longer lifetimes share the last bin."""


def count(
    world: World, acted: Tensor, attacks: Tensor, sums: Tensor, causes: Tensor, lifetimes: Tensor
) -> None:
    """Adds the last tick to a tally's tensors.

    Args:
        world: the world after the tick.
        acted: [R, A] bool, agents alive at the start of the tick.
        attacks: [R, A] bool, agents that tried to attack.
        sums: [names] int64, in the order of ``Tally.NAMES``.
        causes: [causes] int64, deaths by cause.
        lifetimes: [bins] int64, histogram; the last bin includes all longer lifetimes.
    """
    alive, cause, age = (world.agents(field) for field in (world.alive, world.cause, world.age))
    died = acted & (cause > 0)
    lifetime = age[died].long()
    parts = (
        torch.full_like(world.tick[0], world.realms),
        acted.sum(),
        lifetime.sum(),
        world.explored[died].sum(),
        (world.agents(world.food) * alive).sum(),
        (world.agents(world.water) * alive).sum(),
        (world.agents(world.health) * alive).sum(),
        (attacks & acted).sum(),
        world.agents(world.damage).sum(),
        alive.sum(),
    )
    sums += torch.stack(parts)
    one = torch.ones_like(lifetime)
    lifetimes.index_add_(0, lifetime.clamp(max=lifetimes.numel() - 1), one)
    causes.index_add_(0, cause[died].long(), one)


class Tally:
    """Counts over ticks and deaths. The counts stay on the device until ``summary`` reads them."""

    def __init__(self, device: torch.device, counter: Callable[..., None] = count) -> None:
        """Starts at zero; ``counter`` is ``count`` or an equivalent of it."""
        self.counter = counter
        self.lifetimes = torch.zeros(LIFETIME_BINS, dtype=torch.int64, device=device)
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.int64, device=device)
        self.causes = torch.zeros(len(Cause), dtype=torch.int64, device=device)

    NAMES = (
        "realm_ticks",
        "acted",
        "lifetime",
        "explored",
        "food",
        "water",
        "health",
        "attacks",
        "damage",
        "alive",
    )

    def add(self, world: World, acted: Tensor, attacks: Tensor) -> None:
        """Adds the last tick; see ``count``."""
        self.counter(world, acted, attacks, self.sums, self.causes, self.lifetimes)

    def state(self) -> dict[str, Tensor]:
        """Returns the counts by name, for checkpoints."""
        return {"lifetimes": self.lifetimes, "sums": self.sums, "causes": self.causes}

    def reset(self) -> None:
        """Sets all counts to zero."""
        for tensor in self.state().values():
            tensor.zero_()

    def summary(self) -> dict[str, float]:
        """Reads the counts from the device and returns metrics by name; see ``summarize``."""
        return summarize(self.state())


def summarize(counts: dict[str, Tensor]) -> dict[str, float]:
    """Returns metrics by name from a tally's tensors; without deaths, those about deaths are missing.

    ``lifetime/mean`` is agent-steps / deaths, which includes agents that are still alive; the mean over dead
    agents alone would not."""
    total = dict(zip(Tally.NAMES, counts["sums"].tolist(), strict=True))
    causes = counts["causes"].tolist()
    deaths = sum(causes)
    ticks = max(1, total["realm_ticks"])
    alive, acted = max(1, total["alive"]), max(1, total["acted"])
    result = {
        "population/alive per realm": total["alive"] / ticks,
        "population/deaths per tick and realm": deaths / ticks,
        "state/food": total["food"] / alive,
        "state/water": total["water"] / alive,
        "state/health": total["health"] / alive,
        "combat/attacks per step": total["attacks"] / acted,
        "combat/damage per step": total["damage"] / acted,
        "agent_steps": total["acted"],
    }
    if deaths:
        result["lifetime/mean"] = total["acted"] / deaths
        result["lifetime/mean of the dead"] = total["lifetime"] / deaths
        result["exploration/tiles per life"] = total["explored"] / deaths
        for name, share in (("median", 0.5), ("90th percentile", 0.9)):
            result[f"lifetime/{name}"] = float(quantile(counts["lifetimes"], share))
        for cause in list(Cause)[1 : Cause.OTHER + bool(causes[Cause.OTHER])]:
            result[f"deaths/{cause.name.lower()}"] = causes[cause] / deaths
    return result


def quantile(histogram: Tensor, share: float) -> int:
    """Returns the first bin at which the cumulative [bins] histogram reaches ``share`` of its total."""
    cumulative = histogram.cumsum(0)
    return int((cumulative < math.ceil(int(cumulative[-1]) * share)).sum())
