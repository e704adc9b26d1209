"""What happened in the world since the last look, summed up on its device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmmo_gpu.world.state import Cause, World

LIFETIME_BINS = 8192
"""Lifetimes are counted exactly below this many ticks; longer ones share the last bin."""


def count(
    world: World, acted: Tensor, attacks: Tensor, sums: Tensor, causes: Tensor, lifetimes: Tensor
) -> None:
    """Adds the tick just done to a tally's tensors.

    Args:
        acted: [R, A] bool, who lived at its start. attacks: [R, A] bool, who tried to attack.
        sums: [names] int64, as ``Tally.NAMES``. causes: [causes] int64, deaths.
        lifetimes: [bins] int64, the last one for all that are longer.
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
    """Counts over ticks and deaths. Sums are kept on the device; ``summary`` reads them, once."""

    def __init__(self, device: torch.device, counter: Callable[..., None] = count) -> None:
        """Begins with nothing; ``counter`` is ``count``, or a twin of it."""
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
        """Counts the tick just done; see ``count``."""
        self.counter(world, acted, attacks, self.sums, self.causes, self.lifetimes)

    def state(self) -> dict[str, Tensor]:
        """The counts by name, for checkpoints."""
        return {"lifetimes": self.lifetimes, "sums": self.sums, "causes": self.causes}

    def reset(self) -> None:
        """Starts again from nothing."""
        for tensor in self.state().values():
            tensor.zero_()

    def summary(self) -> dict[str, float]:
        """Numbers by name, read from the device; see ``summarise``."""
        return summarise(self.state())


def summarise(counts: dict[str, Tensor]) -> dict[str, float]:
    """Numbers by name from a tally's tensors; those about deaths are missing if nobody died.

    ``lifetime/mean`` is agent-steps lived / deaths, which does not forget those still alive, as the
    mean over the dead alone would."""
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
        for cause in list(Cause)[1:]:
            result[f"deaths/{cause.name.lower()}"] = causes[cause] / deaths
    return result


def quantile(histogram: Tensor, share: float) -> int:
    """The smallest bin up to which at least ``share`` of a [bins] histogram lies."""
    cumulative = histogram.cumsum(0)
    return int((cumulative < cumulative[-1] * share).sum())
