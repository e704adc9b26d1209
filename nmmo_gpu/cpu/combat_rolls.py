"""Combat of the full game as compiled loops; twin of ``nmmo_gpu.world.combat_rolls``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import ARMOR, CONSTITUTION, DEFENSE, KNIFE, MAGE, RANGE
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import PROVOKED, kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_FightFields = namedtuple(
    "_FightFields",
    "seed tick alive row col age health food water damage chilled cause top_attacker entity level worn "
    "inventory xp events ledger aggro_target aggro_entity aggro_ticks",
)
_FightConfig = namedtuple("_FightConfig", "slots reach damage immune_ticks rolls skills max_food max_water")
_FightTables = namedtuple(
    "_FightTables", "attack strength defense knives kind_of hunts aggro_ticks experience"
)
"""Bonuses of attack and strength by style and rank and of defense by rank, the item of each rank of knives,
the kind of each slot, and properties of each kind."""
_Sums = namedtuple("_Sums", "lost best drained")
"""[S], of one realm: losses of health (0 between realms), the key of the top attacker (-1 between realms),
and losses of food and water (0 between realms)."""

COMBAT, STREAM = int(Cause.COMBAT), int(Stream.STRIKE)
BARE, LARGEST_DAMAGE = rule.BARE, rule.LARGEST_DAMAGE
STYLE_EXPERIENCE, BODY_EXPERIENCE = rule.STYLE_EXPERIENCE, rule.BODY_EXPERIENCE
SLOT_BITS, DAMAGE_SHIFT = rule.SLOT_BITS, rule.SLOT_BITS + rule.TIE_BITS
SLOT_MASK = (1 << SLOT_BITS) - 1
ATTACKS, HITS, DAMAGE, USED = int(Event.ATTACKS), int(Event.HITS), int(Event.DAMAGE), int(Flow.USED)
CPU = torch.device("cpu")


@compiled(inline="always")
def _roll(world, tables, r, a, v, style, weapon, agents):
    """(damage of an attack by ``a`` on ``v``, word for ties); the damage is 0 if it misses."""
    armor = np.int64(world.worn[r, v, ARMOR]) if v < agents else 0
    aim, force, tie, _ = draw(world, STREAM, r, a)
    skill = np.int64(world.level[r, a, style])
    attack = skill * (tables.attack[style, weapon] + BARE)
    defense = np.int64(world.level[r, v, DEFENSE]) * (tables.defense[armor] + BARE)
    if attack > defense:
        hits = below(aim, 2 * (attack + 1)) < 2 * attack - defense
    else:
        hits = below(aim, 2 * (defense + 1)) < attack
    done = np.int64(0)
    if hits:
        most = (320 + (8 + skill) * (tables.strength[style, weapon] + BARE)) // 640
        done = 1 + below(force, most)
    return done, tie


@compiled(inline="always")
def _strike(world, sums, style, target, tables, config, r, a):
    """The attack of ``a``, if any; returns whether it drains food and water."""
    agents = config.slots
    v = target[r, a]
    if v < 0 or v == a or not world.alive[r, a] or not world.alive[r, v] or world.health[r, a] <= 0:
        return False
    s = style[r, a]
    distance = max(abs(world.row[r, a] - world.row[r, v]), abs(world.col[r, a] - world.col[r, v]))
    if distance > config.reach[s]:
        return False
    immune = v < agents and world.age[r, v] < config.immune_ticks
    if config.rolls:
        weapon = np.int64(world.worn[r, a, s]) if a < agents and s != MAGE else 0
        if immune or (s == RANGE and weapon == 0):
            return False
        if s == RANGE:
            knife = tables.knives[weapon - 1]
            world.inventory[r, a, knife] -= 1
            world.ledger[r, knife, USED] += 1
        done, tie = _roll(world, tables, r, a, v, s, weapon, agents)
    else:
        done = np.int64(config.damage[s])
        if done == 0:
            return False
        tie = draw(world, STREAM, r, a)[2]
        sums.drained[v] += done
        sums.drained[a] -= done
    if s == MAGE and done > 0:
        world.chilled[r, v] = True
    if a < agents:
        world.events[r, a, ATTACKS] += 1
    if done > 0 and not immune:
        sums.lost[v] += done
        sums.best[v] = max(sums.best[v], (done << DAMAGE_SHIFT) | (np.int64(tie) << SLOT_BITS) | a)
        if a < agents:
            world.events[r, a, HITS] += 1
            world.events[r, a, DAMAGE] += done
            if config.skills:
                world.xp[r, a, s] += STYLE_EXPERIENCE * done
                world.xp[r, a, CONSTITUTION] += BODY_EXPERIENCE * done
    return not config.rolls


@compiled
def _drain(world, drained, config, r):
    """Food and water that attackers took from their victims, in combat without rolls."""
    for a in range(len(drained)):
        if drained[a] != 0:
            world.food[r, a] = min(max(world.food[r, a] - drained[a], 0), config.max_food)
            world.water[r, a] = min(max(world.water[r, a] - drained[a], 0), config.max_water)
            drained[a] = 0


@compiled(inline="always")
def _wound(world, sums, style, tables, config, r, v):
    """The losses of ``v``, and what follows from them."""
    agents = config.slots
    done = sums.lost[v]
    who = sums.best[v] & SLOT_MASK
    sums.lost[v] = 0
    sums.best[v] = -1
    world.damage[r, v] = min(done, LARGEST_DAMAGE)
    world.health[r, v] = max(world.health[r, v] - done, 0)
    world.top_attacker[r, v] = who
    killed = world.health[r, v] == 0
    if killed:
        world.cause[r, v] = COMBAT
    if v < agents:
        if config.skills:
            world.xp[r, v, DEFENSE] += STYLE_EXPERIENCE * done
            world.xp[r, v, CONSTITUTION] += BODY_EXPERIENCE * done
        return
    if who >= agents:
        return
    kind = tables.kind_of[v]
    if tables.hunts[kind] == PROVOKED:
        world.aggro_target[r, v - agents] = who
        world.aggro_entity[r, v - agents] = world.entity[r, who]
        world.aggro_ticks[r, v - agents] = tables.aggro_ticks[kind]
    if killed and config.skills:
        world.xp[r, who, style[r, who]] += tables.experience[kind]


@compiled
def _fight(world, style, target, tables, config, low, high):
    slots = world.alive.shape[1]
    lost, drained = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    sums = _Sums(lost, np.full(slots, -1, np.int64), drained)
    for r in range(low, high):
        world.damage[r, :] = 0
        world.top_attacker[r, :] = -1
        drains = False
        for a in range(slots):
            drains |= _strike(world, sums, style, target, tables, config, r, a)
        if drains:
            _drain(world, drained, config, r)
        for v in range(slots):
            if lost[v] > 0:
                _wound(world, sums, style, tables, config, r, v)


@cache
def _tables(config: WorldConfig) -> _FightTables:
    tables = config.tables
    attack, strength, defense = (bonus.numpy() for bonus in rule.bonuses(tables, CPU))
    hunts, aggro_ticks, experience = (
        np.array([getattr(kind, name) for kind in tables.npcs], np.int64)
        for name in ("hunts", "aggro_ticks", "experience")
    )
    knives, kind_of = np.array(tables.gear[KNIFE], np.int64), kind_of_slot(config, CPU).numpy()
    return _FightTables(attack, strength, defense, knives, kind_of, hunts, aggro_ticks, experience)


def arguments(world: World, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_fight``, except the range of realms."""
    cfg = world.config
    fields, config = arrays_of(_FightFields, world), fields_of(_FightConfig, cfg)
    return fields, style.numpy(), target.numpy(), _tables(cfg), config


def fight(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat_rolls.fight``."""
    fixed = arguments(world, style, target)
    parallel(_fight, [(*fixed, *piece) for piece in realm_slices(world.realms)])
