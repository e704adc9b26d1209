"""Statistics of a society of the full game: levels, goods, trades, kills, wealth."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import GEAR, SKILLS
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.events import INFLOWS, Flow, event_names
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.state import World

TOTALS = ("events", "ledger", "trades", "npc_kills")
"""Cumulative counts; metrics use their differences between two reports."""


def economy_counts(world: World) -> dict[str, Tensor]:
    """Returns the state of all realms together, on their device, without a sync; {} without the full game.

    Returns:
        living: [] int64, number of living agents.
        levels: [skills] int64, sums over living agents.
        worn: [gear] int64, pieces worn by living agents.
        gold: [] int64, total of living agents, including their open bids.
        gini: [] float32, sum over living agents of the Gini coefficient of gold in their realm, 0 (equal
            shares) to 1.
        npcs: [kinds] int64, living NPCs.
        events: [events] int64, total so far.
        ledger: [items + 1, flows] int64, total so far.
        trades: [items, 2] int64, total so far.
        npc_kills: [kinds] int64, total so far.
    """
    cfg = world.config
    if not cfg.extended:
        return {}
    alive = world.agents(world.alive)
    levels = world.agents(world.level) * alive[..., None]
    wealth = world.gold + _bids(world)
    npcs = torch.zeros(len(cfg.npc_counts), dtype=torch.int64, device=world.device)
    if cfg.npc_slots:
        living = world.alive[:, cfg.slots :].sum(0)
        npcs.index_add_(0, kind_of_slot(cfg, world.device)[cfg.slots :], living)
    return {
        "living": alive.sum(),
        "levels": levels.sum((0, 1), dtype=torch.int64),
        "worn": ((world.worn > 0) & alive[..., None]).sum((0, 1)),
        "gold": (wealth * alive).sum(),
        "gini": (gini(wealth, alive) * alive.sum(1)).sum(),
        "npcs": npcs,
        "events": (world.events * alive[..., None]).sum((0, 1), dtype=torch.int64) + world.dead_totals.sum(0),
        "ledger": world.ledger.sum(0),
        "trades": world.trades.sum(0),
        "npc_kills": world.npc_kills.sum(0),
    }


def gini(wealth: Tensor, alive: Tensor) -> Tensor:
    """Returns the Gini coefficient of the wealth of living agents in each realm, [R] float32.

    The result is never negative, and 0 in a realm without wealth. With sorted wealth x_1 <= ... <= x_n, it is
    (2 sum i x_i - (n + 1) sum x_i) / (n sum x_i) (Gini 1912, in the form of Dixon et al. 1987).

    Args:
        wealth: [R, A] integers.
        alive: [R, A] bool."""
    # Dead agents get wealth -1, which sorts them to the front, and then 0, so they add nothing.
    owned = torch.where(alive, wealth, -1).sort(1).values.clamp(min=0)
    n, total = alive.sum(1), owned.sum(1)
    slots = alive.shape[1]
    rank = torch.arange(1, slots + 1, device=owned.device, dtype=torch.int64) - (slots - n)[:, None]
    excess = 2 * (rank * owned).sum(1) - (n + 1) * total
    return excess.to(torch.float32) / (n * total).clamp(min=1)


def _bids(world: World) -> Tensor:
    tables = world.config.tables
    bids = world.offer > len(tables.items)
    return bids * tensor(tables.prices, world.device)[world.offer_price.long()]


def economy_metrics(
    config: WorldConfig, before: dict[str, Tensor], now: dict[str, Tensor], agent_steps: int, realms: int
) -> dict[str, float]:
    """Returns metrics by name, computed from two ``economy_counts`` on the CPU.

    Rates are per 1000 agent-steps between the two. Items that were not traded have no price.

    Args:
        config: rules of the world.
        before: counts at the start.
        now: counts at the end.
        agent_steps: agent-steps between the two.
        realms: number of realms."""
    grown = {name: (now[name] - before[name]).tolist() for name in TOTALS}
    living, thousand = max(1, int(now["living"])), max(1, agent_steps) / 1000
    tables = config.tables
    result = {
        "wealth/gold": int(now["gold"]) / living,
        "wealth/gini": float(now["gini"]) / living,
        "level/total": int(now["levels"].sum()) / living,
    }
    for skill, total in zip(SKILLS, now["levels"].tolist(), strict=True):
        result[f"level/{skill}"] = total / living
    for gear, total in zip(GEAR, now["worn"].tolist(), strict=True):
        result[f"worn/{gear}"] = total / living
    for name, count in zip(event_names(config), grown["events"], strict=True):
        result[f"events/{name}"] = count / thousand
    for item, name in enumerate(tables.items):
        moved = grown["ledger"][item]
        result[f"made/{name}"] = moved[Flow.MADE] / thousand
        trades, paid = grown["trades"][item]
        result[f"trades/{name}"] = trades / thousand
        if trades:
            result[f"price/{name}"] = paid / trades
    gold = grown["ledger"][tables.gold]
    result["wealth/gold in"] = sum(gold[flow] for flow in INFLOWS) / thousand
    result["wealth/gold lost"] = gold[Flow.LOST] / thousand
    for kind, alive, npc_kills in zip(
        config.content.npcs if config.npcs else (), now["npcs"].tolist(), grown["npc_kills"], strict=False
    ):  # without NPCs, npc_kills may be longer than the list of kinds
        result[f"npcs/{kind.name}"] = alive / realms
        result[f"killed/{kind.name}"] = npc_kills / thousand
    return result
