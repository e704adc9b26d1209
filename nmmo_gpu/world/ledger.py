"""The ledger: checks that all goods are accounted for."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import GOLD
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.errors import WorldError
from nmmo_gpu.world.events import INFLOWS, Flow
from nmmo_gpu.world.state import World


def holdings(world: World) -> Tensor:
    """[R, items + 1] int64: number of each item, and last of gold: held by living agents, or in open
    offers."""
    tables = world.config.tables
    alive = world.agents(world.alive)
    held = (world.inventory.long() * alive[..., None]).sum(1)
    gold = (world.gold * alive).sum(1)
    items = len(tables.items)
    offer = world.offer.long() * alive
    lots = tensor(tables.lot, world.device)
    # Column 0 collects the agents without an offer to sell.
    selling = torch.where(offer <= items, offer, 0)
    count = torch.zeros(world.realms, items + 1, dtype=torch.int64, device=world.device)
    count.scatter_add_(1, selling, torch.ones_like(selling))
    held += count[:, 1:] * lots
    prices = tensor(tables.prices, world.device)[world.offer_price.long()]
    gold += (prices * (offer > items)).sum(1)
    return torch.cat((held, gold[:, None]), 1)


def balance(world: World) -> Tensor:
    """[R, items + 1] int64: number of each item according to the ledger."""
    sign = tensor(tuple(1 if flow in INFLOWS else -1 for flow in Flow), world.device)
    return (world.ledger * sign).sum(2)


def book_difference(world: World) -> None:
    """Books goods that were written into the state, or out of it, as ``INITIAL`` and ``LOST``."""
    if world.config.extended:
        gap = holdings(world) - balance(world)
        world.ledger[..., Flow.INITIAL] += gap.clamp(min=0)
        world.ledger[..., Flow.LOST] += (-gap).clamp(min=0)


def check_ledger(world: World) -> None:
    """Raises WorldError if the actual holdings differ from the ledger; names realm, tick and item."""
    actual, expected = holdings(world), balance(world)
    wrong = (actual != expected).nonzero()
    if not len(wrong):
        return
    realm, item = wrong[0].tolist()
    name = (*world.config.tables.items, GOLD)[item]
    flows = ", ".join(f"{flow.name.lower()} {int(world.ledger[realm, item, flow])}" for flow in Flow)
    there, booked, tick = int(actual[realm, item]), int(expected[realm, item]), int(world.tick)
    raise WorldError(
        f"the ledger does not balance: realm {realm}, tick {tick}, {name}: there are {there}, but according "
        f"to the ledger {booked} ({flows}); {len(wrong)} accounts are wrong in total.",
        "ledger", booked, f"account for {there} of {name}", realm, tick=tick,
    )  # fmt: skip
