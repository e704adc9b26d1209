"""Combat of the full game as compiled loops; twin of ``nmmo_gpu.world.combat_rolls``."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.content import ARMOR, CONSTITUTION, DEFENSE, KNIFE, MAGE, RANGE
from nmmo_gpu.content.tables import Tables
from nmmo_gpu.cpu.compile import arrays_of, choices_of, compiled
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import PROVOKED, kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_FIGHT_FIELDS = (
    "alive row col age health food water damage chilled cause top_attacker entity level worn "
    "inventory xp events ledger aggro_target aggro_entity aggro_ticks"
)

COMBAT, STREAM = int(Cause.COMBAT), int(Stream.STRIKE)
BARE, LARGEST_DAMAGE = rule.BARE, rule.LARGEST_DAMAGE
STYLE_EXPERIENCE, BODY_EXPERIENCE = rule.STYLE_EXPERIENCE, rule.BODY_EXPERIENCE
SLOT_BITS, DAMAGE_SHIFT = rule.SLOT_BITS, rule.SLOT_BITS + rule.TIE_BITS
SLOT_MASK = (1 << SLOT_BITS) - 1
ATTACKS, HITS, DAMAGE, USED = int(Event.ATTACKS), int(Event.HITS), int(Event.DAMAGE), int(Flow.USED)
CPU = torch.device("cpu")


@compiled
def _fight(seed, tick, style, target, world, tables, config, low, high):
    """Runs the combat of realms ``low`` to ``high``.

    ``tables``: kind of each slot, bonuses as in ``world.combat_rolls.bonuses``, knives by rank, and
    [kinds, 3]: hunts, aggro_ticks and experience of each NPC kind."""
    (
        alive, row, col, age, health, food, water, damage, chilled, cause, top_attacker, entity, level,
        worn, inventory, xp, events, ledger, aggro_target, aggro_entity, aggro_ticks
    ) = world  # fmt: skip
    kind_of, attack_bonus, strength_bonus, defense_bonus, knives, kinds = tables
    reach, harm, rolls, skills, agents, immune_ticks, max_food, max_water = config
    slots = alive.shape[1]
    lost = np.zeros(slots, np.int32)
    best = np.full(slots, -1, np.int64)
    hurt = np.empty(slots, np.int64)
    drained = np.zeros(slots, np.int32)
    for r in range(low, high):
        damage[r, :] = 0
        top_attacker[r, :] = -1
        hurts = 0
        fought = False
        for a in range(slots):
            v = target[r, a]
            if v < 0 or v == a or not alive[r, a] or not alive[r, v] or health[r, a] <= 0:
                continue
            s = style[r, a]
            distance = max(abs(row[r, a] - row[r, v]), abs(col[r, a] - col[r, v]))
            if distance > reach[s]:
                continue
            immune = v < agents and age[r, v] < immune_ticks
            if rolls:
                weapon = np.int64(worn[r, a, s]) if a < agents and s != MAGE else 0
                if immune or (s == RANGE and weapon == 0):
                    continue
                if s == RANGE:
                    knife = knives[weapon - 1]
                    inventory[r, a, knife] -= 1
                    ledger[r, knife, USED] += 1
                armor = np.int64(worn[r, v, ARMOR]) if v < agents else 0
                aim, force, tie, _ = draw(seed, tick, STREAM, r, a)
                skill = np.int64(level[r, a, s])
                attack = skill * (attack_bonus[s, weapon] + BARE)
                defense = np.int64(level[r, v, DEFENSE]) * (defense_bonus[armor] + BARE)
                if attack > defense:
                    hits = below(aim, 2 * (attack + 1)) < 2 * attack - defense
                else:
                    hits = below(aim, 2 * (defense + 1)) < attack
                done = np.int64(0)
                if hits:
                    max_damage = (320 + (8 + skill) * (strength_bonus[s, weapon] + BARE)) // 640
                    done = 1 + below(force, max_damage)
                    if s == MAGE:
                        chilled[r, v] = True
            else:
                done = np.int64(harm[s])
                if done == 0:
                    continue
                _, _, tie, _ = draw(seed, tick, STREAM, r, a)
                drained[v] += done
                drained[a] -= done
                fought = True
                if s == MAGE:
                    chilled[r, v] = True
            if a < agents:
                events[r, a, ATTACKS] += 1
            if done == 0 or immune:
                continue
            if lost[v] == 0:
                hurt[hurts] = v
                hurts += 1
            lost[v] += done
            best[v] = max(best[v], (done << DAMAGE_SHIFT) | (np.int64(tie) << SLOT_BITS) | a)
            if a < agents:
                events[r, a, HITS] += 1
                events[r, a, DAMAGE] += done
                if skills:
                    xp[r, a, s] += STYLE_EXPERIENCE * done
                    xp[r, a, CONSTITUTION] += BODY_EXPERIENCE * done

        if fought:
            for a in range(slots):
                if drained[a] != 0:
                    food[r, a] = min(max(food[r, a] - drained[a], 0), max_food)
                    water[r, a] = min(max(water[r, a] - drained[a], 0), max_water)
                    drained[a] = 0
        for i in range(hurts):
            v = hurt[i]
            done = lost[v]
            who = best[v] & SLOT_MASK
            lost[v] = 0
            best[v] = -1
            damage[r, v] = min(done, LARGEST_DAMAGE)
            health[r, v] = max(health[r, v] - done, 0)
            top_attacker[r, v] = who
            killed = health[r, v] == 0
            if killed:
                cause[r, v] = COMBAT
            if v < agents:
                if skills:
                    xp[r, v, DEFENSE] += STYLE_EXPERIENCE * done
                    xp[r, v, CONSTITUTION] += BODY_EXPERIENCE * done
                continue
            kind = kind_of[v]
            if who >= agents:
                continue
            if kinds[kind, 0] == PROVOKED:
                aggro_target[r, v - agents] = who
                aggro_entity[r, v - agents] = entity[r, who]
                aggro_ticks[r, v - agents] = kinds[kind, 1]
            if killed and skills:
                xp[r, who, style[r, who]] += kinds[kind, 2]


@cache
def _look_ups(tables: Tables) -> tuple[Any, ...]:
    """Returns the tables of ``_fight``, except the kinds of the slots; cached."""
    kinds = np.array([(kind.hunts, kind.aggro_ticks, kind.experience) for kind in tables.npcs], np.int64)
    bonuses = (bonus.numpy() for bonus in rule.bonuses(tables, CPU))
    return (*bonuses, np.array(tables.gear[KNIFE], np.int64), kinds.reshape(-1, 3))


def arguments(world: World, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_fight``, except the range of realms."""
    cfg = world.config
    config = (
        np.array(cfg.reach), np.array(cfg.damage), cfg.rolls, cfg.skills, cfg.slots, cfg.immune_ticks,
        cfg.max_food, cfg.max_water,
    )  # fmt: skip
    tables = kind_of_slot(cfg, CPU).numpy(), *_look_ups(cfg.tables)
    fields = arrays_of(_FIGHT_FIELDS, world)
    return world.seed.numpy(), int(world.tick), *choices_of(style, target), fields, tables, config


def fight(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat_rolls.fight``."""
    fixed = arguments(world, style, target)
    parallel(_fight, [(*fixed, *piece) for piece in realm_slices(world.realms)])
