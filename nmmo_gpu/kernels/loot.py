"""Loot in one kernel; twin of ``nmmo_gpu.world.loot``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content.tables import Tables, tensor
from nmmo_gpu.kernels.combat_rolls import add
from nmmo_gpu.kernels.inventory import room
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.random import below, draw
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world import loot as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_Fields = namedtuple(
    "_Fields",
    "seed tick alive cause top_attacker inventory gold offer offer_price offer_left events dead_totals "
    "ledger npc_kills aggro_target aggro_entity aggro_ticks",
)
_Tables = namedtuple("_Tables", "weight lot prices kind_of drops")
"""Weights, lots, prices, the kind of each slot, and ``drop_table``."""
_Config = namedtuple("_Config", "events items most_drops capacity npcs")
"""``events``: event counters per agent."""

STREAM, COMBAT = tl.constexpr(int(Stream.DROP)), tl.constexpr(int(Cause.COMBAT))
AGENTS_KILLED, EVENTS = tl.constexpr(int(Event.AGENTS_KILLED)), tl.constexpr(len(Event))
DROPPED, LOST, FLOWS = tl.constexpr(int(Flow.DROPPED)), tl.constexpr(int(Flow.LOST)), tl.constexpr(len(Flow))
DROPS, CHANCE_SHIFT = tl.constexpr(rule.DROPS), tl.constexpr(rule.CHANCE_SHIFT)


@triton.jit
def _loot(world, tables, slots, chunks, agents, kinds, config: tl.constexpr, BLOCK: tl.constexpr):
    """Each victim's program distributes its goods.

    Order-free: dead entities are written by their own programs. A killer, which does not die, is written only
    by its victim's program, because it kills at most one entity. Ledger and counts are atomic additions of
    integers."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    death_cause = tl.load(world.cause + entity, mask=inside, other=0).to(tl.int32)
    if tl.max(death_cause, 0) > 0:
        dead = death_cause > 0
        killer = tl.load(world.top_attacker + entity, mask=death_cause == COMBAT, other=-1)
        heir = (killer >= 0) & (killer < agents)
        of_killer = realm * slots + killer
        heir = heir & (tl.load(world.cause + of_killer, mask=heir, other=1) == 0)
        heir = heir & (tl.load(world.alive + of_killer, mask=heir, other=0) != 0)
        to = realm * agents + killer

        space = tl.maximum(room(world, to, heir, tables.weight, config.capacity, config.items), 0)
        account = world.ledger + realm * (config.items + 1) * FLOWS
        body = dead & (slot < agents)
        if tl.max(body.to(tl.int32), 0) > 0:
            own = realm * agents + slot
            inherits = body & heir
            wish = tl.load(world.offer + own, mask=body, other=0).to(tl.int32)
            bid = tl.load(world.offer_price + own, mask=body & (wish > config.items), other=0).to(tl.int32)
            money = tl.load(world.gold + own, mask=body, other=0)
            money += tl.load(tables.prices + bid, mask=body & (wish > config.items), other=0).to(tl.int64)
            tl.store(world.gold + own, tl.zeros([BLOCK], tl.int64), mask=body)
            tl.store(world.offer + own, tl.zeros([BLOCK], tl.int16), mask=body)
            tl.store(world.offer_price + own, tl.zeros([BLOCK], tl.uint8), mask=body)
            tl.store(world.offer_left + own, tl.zeros([BLOCK], tl.int16), mask=body)
            add(world.gold + to, money, inherits)
            wasted = tl.sum(tl.where(inherits, 0, money), 0)
            tl.atomic_add(account + config.items * FLOWS + LOST, wasted, sem="relaxed")
            add(world.events + to * config.events + AGENTS_KILLED, tl.full([BLOCK], 1, tl.int32), inherits)

            left = space
            for i in range(config.items):
                have = tl.load(world.inventory + own * config.items + i, mask=body, other=0)
                have += tl.where(body & (wish == i + 1), tl.load(tables.lot + i), 0)
                tl.store(world.inventory + own * config.items + i, tl.zeros([BLOCK], tl.int32), mask=body)
                heavy = tl.load(tables.weight + i)
                taken = tl.where(heavy > 0, tl.minimum(have, left), have)
                taken = tl.where(inherits, taken, 0)
                left -= taken * heavy
                add(world.inventory + to * config.items + i, taken, inherits & (taken > 0))
                wasted = tl.sum((have - taken).to(tl.int64), 0)
                tl.atomic_add(account + i * FLOWS + LOST, wasted, sem="relaxed")
            for e in range(config.events):
                done = tl.load(world.events + own * config.events + e, mask=body, other=0).to(tl.int64)
                total = world.dead_totals + realm * config.events + e
                tl.atomic_add(total, tl.sum(done, 0), sem="relaxed")

        if config.npcs:
            prey = dead & (slot >= agents)
            if tl.max(prey.to(tl.int32), 0) > 0:
                kind = tl.load(tables.kind_of + slot, mask=prey, other=0).to(tl.int32)
                one = tl.full([BLOCK], 1, tl.int64)
                tl.atomic_add(world.npc_kills + realm * kinds + kind, one, mask=prey, sem="relaxed")
                npc = realm * (slots - agents) + slot - agents
                tl.store(world.aggro_target + npc, tl.full([BLOCK], -1, tl.int32), mask=prey)
                tl.store(world.aggro_entity + npc, tl.full([BLOCK], -1, tl.int64), mask=prey)
                tl.store(world.aggro_ticks + npc, tl.zeros([BLOCK], tl.uint8), mask=prey)

                prey = prey & heir
                add(world.events + to * config.events + EVENTS + kind, one, prey)
                for place in range(config.most_drops):
                    at = tables.drops + (kind * config.most_drops + place) * 4
                    item = tl.load(at, mask=prey, other=0)
                    minimum = tl.load(at + 1, mask=prey, other=1)
                    maximum = tl.load(at + 2, mask=prey, other=1)
                    chance = tl.load(at + 3, mask=prey, other=0)
                    happens, many, _, _ = draw(world, STREAM, realm, slot * DROPS + place)
                    falls = prey & ((happens >> CHANCE_SHIFT).to(tl.int32) < chance)
                    amount = minimum + below(many, maximum - minimum + 1)
                    thing = falls & (item < config.items)
                    heavy = tl.load(tables.weight + item, mask=thing, other=0)
                    amount = tl.where(heavy > 0, tl.minimum(amount, space), amount)
                    space -= tl.where(heavy > 0, amount, 0)
                    # An item may be dropped twice, so it is added atomically.
                    bag = world.inventory + to * config.items
                    tl.atomic_add(bag + item, amount, mask=thing, sem="relaxed")
                    many_more = amount.to(tl.int64)
                    coins = falls & (item == config.items)
                    tl.atomic_add(world.gold + to, many_more, mask=coins, sem="relaxed")
                    tl.atomic_add(account + item * FLOWS + DROPPED, many_more, mask=falls, sem="relaxed")


def drop_table(tables: Tables, device: torch.device) -> tuple[Tensor, int]:
    """Returns ([kinds, n, 4] int32: item, minimum, maximum, chance in 65536ths, 0 after the last drop; n)."""
    longest = max((len(row.drops) for row in tables.npcs), default=0)
    rows = tuple(row.drops + ((0, 1, 1, 0),) * (longest - len(row.drops)) for row in tables.npcs)
    return tensor(rows, device, torch.int32), longest


def loot(world: World) -> None:
    """See ``nmmo_gpu.world.loot.loot``."""
    cfg, device = world.config, world.device
    tables = cfg.tables
    cut = over_slots(*world.alive.shape)
    drops, most_drops = drop_table(tables, device)
    goods = (tensor(column, device, torch.int32) for column in (tables.weight, tables.lot, tables.prices))
    config = fields_of(
        _Config, cfg, events=world.events.shape[2], items=len(tables.items), most_drops=most_drops,
        npcs=cfg.npc_slots > 0,
    )  # fmt: skip
    launch(
        _loot, cut.programs, fields_of(_Fields, world), _Tables(*goods, kind_of_slot(cfg, device), drops),
        cut.slots, cut.chunks, cfg.slots, len(tables.npcs), config=config, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
