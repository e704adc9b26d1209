"""A tax on sales at the exchange, which all living agents of the realm share.

nmmo-gpu train full --system examples/systems/trade_tax.py:TradeTax --trade-tax.percent 20
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nmmo_gpu.content.tables import tensor
from nmmo_gpu.systems import Bounds, Event, StateSpec, System, World, WorldConfig, phase, refuse


@dataclass(frozen=True)
class TradeTax(System):
    """Sellers pay a share of their revenue. Gold is neither created nor lost."""

    percent: Annotated[int, Bounds(ge=0, le=100)] = 10
    """Share of the revenue, in percent, rounded down."""

    counters = ("gold taxed",)

    def validate(self, config: WorldConfig) -> None:
        if not config.exchange:
            refuse(self, "percent", "needs the exchange", "choose preset full, or exchange = True")

    def state(self, config: WorldConfig) -> dict[str, StateSpec]:
        return {
            "gold": StateSpec("R A", torch.int64, "gold, with that of open bids, before the exchange opened"),
            "sold": StateSpec("R A", torch.int32, "sales before the exchange opened"),
        }

    @phase(before="exchange")
    def open(self, world: World) -> None:
        own, tables = self.own(world), world.config.tables
        # A bid that ends in this exchange gives its gold back, which is not revenue.
        bids = world.offer > len(tables.items)
        prices = tensor(tables.prices, world.device)
        own["gold"].copy_(world.gold + bids * prices[world.offer_price.long()])
        own["sold"].copy_(world.events[..., Event.SOLD])

    @phase(after="exchange")
    def tax(self, world: World) -> None:
        own, living = self.own(world), world.agents(world.alive)
        sold = world.events[..., Event.SOLD] > own["sold"]
        revenue = torch.where(sold & living, (world.gold - own["gold"]).clamp(min=0), 0)
        due = revenue * self.percent // 100
        world.gold.sub_(due).add_(self.shares(due.sum(1, keepdim=True), living))
        self.count(world, "gold taxed", due)

    def shares(self, total: Tensor, living: Tensor) -> Tensor:
        """[R, A] int64: equal shares of ``total`` [R, 1] for the living; the first slots get the
        remainder."""
        number = living.sum(1, keepdim=True).clamp(min=1)
        place = living.cumsum(1) - 1
        return torch.where(living, total // number + (place < total % number), 0)
