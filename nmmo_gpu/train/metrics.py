"""What happened in the world since the last look, summed up on its device."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.state import Cause, World

LIFETIME_BINS = 8192
"""Lifetimes are counted exactly below this many ticks; longer ones share the last bin."""


class Tally:
    """Counts over ticks and deaths. Sums are kept on the device; ``summary`` reads them, once."""

    def __init__(self, device: torch.device) -> None:
        self.lifetimes = torch.zeros(LIFETIME_BINS, dtype=torch.int64, device=device)
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.int64, device=device)
        self.causes = torch.zeros(len(Cause), dtype=torch.int64, device=device)

    NAMES = (
        "ticks",
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
        """Counts the tick just done.

        Args:
            acted: [R, A] bool, who lived at its start. attacks: [R, A] bool, who tried to attack."""
        died = acted & (world.cause > 0)
        lifetime = world.age[died].long()
        alive = world.alive
        parts = (
            torch.ones_like(world.tick[0]),
            acted.sum(),
            lifetime.sum(),
            world.explored[died].sum(),
            (world.food * alive).sum(),
            (world.water * alive).sum(),
            (world.health * alive).sum(),
            (attacks & acted).sum(),
            world.damage.sum(),
            alive.sum(),
        )
        self.sums += torch.stack(parts)
        one = torch.ones_like(lifetime)
        self.lifetimes.index_add_(0, lifetime.clamp(max=LIFETIME_BINS - 1), one)
        self.causes.index_add_(0, world.cause[died].long(), one)

    def state(self) -> dict[str, Tensor]:
        """The counts by name, for checkpoints."""
        return {"lifetimes": self.lifetimes, "sums": self.sums, "causes": self.causes}

    def reset(self) -> None:
        """Starts again from nothing."""
        for tensor in self.state().values():
            tensor.zero_()

    def summary(self, realms: int) -> dict[str, float]:
        """Numbers by name; those about deaths are missing if nobody died.

        ``lifetime/mean`` is agent-steps lived / deaths, which does not forget those still alive, as the
        mean over the dead alone would."""
        total = dict(zip(self.NAMES, self.sums.tolist(), strict=True))
        causes = self.causes.tolist()
        deaths = sum(causes)
        ticks = max(1, total["ticks"])
        alive, acted = max(1, total["alive"]), max(1, total["acted"])
        result = {
            "population/alive per realm": total["alive"] / ticks / realms,
            "population/deaths per tick and realm": deaths / ticks / realms,
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
                result[f"lifetime/{name}"] = float(quantile(self.lifetimes, share))
            for cause in list(Cause)[1:]:
                result[f"deaths/{cause.name.lower()}"] = causes[cause] / deaths
        return result


def quantile(histogram: Tensor, share: float) -> int:
    """The smallest bin up to which at least ``share`` of a [bins] histogram lies."""
    cumulative = histogram.cumsum(0)
    return int((cumulative < cumulative[-1] * share).sum())
