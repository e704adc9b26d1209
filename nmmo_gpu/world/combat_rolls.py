"""Combat of the full game: hits and misses, killers, and experience."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.content import ARMOR, CONSTITUTION, DEFENSE, GEAR, KNIFE, MAGE, RANGE, SKILLS
from nmmo_gpu.content.tables import Tables, tensor
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import PROVOKED, kind_of_slot
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import Cause, World

BARE = 64
"""Base value of attack, strength and defense, to which bonuses are added."""
STYLE_EXPERIENCE, BODY_EXPERIENCE = 3, 1
"""Experience per point of damage: in the style or in defense, and in constitution."""
LARGEST_DAMAGE = 32767
"""Maximum of ``World.damage``; larger values are clipped."""
SLOT_BITS, TIE_BITS = 24, 32
"""The top attacker has the largest key. Bits of a key from high to low: damage, random bits, slot."""


class Attacks(NamedTuple):
    """The valid attacks, [k] int64 each; one per attacker."""

    attacker: Tensor
    """Index into [R * S]."""
    victim: Tensor
    """As ``attacker``."""
    style: Tensor
    damage: Tensor
    """0 for a miss."""
    tie: Tensor
    """Random word that breaks ties."""


def fight(world: World, style: Tensor, target: Tensor) -> None:
    """Resolves all attacks at once.

    An attack is valid if its target is another living entity within the style's reach. With ``rolls``, the
    target must also not be immune, and range requires a worn knife, which is consumed. Invalid attacks have
    no effect. Damage is summed per victim before it is subtracted, so the order does not matter.

    Args:
        style: [R, S] integers; 0 melee, 1 range, 2 mage.
        target: [R, S] integers, slot in the same realm; -1 for none.
    """
    cfg = world.config
    if cfg.rolls:
        attacks = _rolled(world, style, target)
    else:
        blows = flat_blows(world, style, target)
        attacks = Attacks(*blows, _words(world, blows[0])[2])
    _count(world, attacks.attacker, Event.ATTACKS, 1)

    hits = (attacks.damage > 0) & ~world.immune().view(-1)[attacks.victim]
    hit = hits.nonzero().squeeze(1)
    attacker, victim, kind, damage, tie = (part[hit] for part in attacks)
    _count(world, attacker, Event.HITS, 1)
    _count(world, attacker, Event.DAMAGE, damage.int())

    lost, killed = wound(world, victim, damage)
    key = (damage << SLOT_BITS + TIE_BITS) | (tie << SLOT_BITS) | attacker % cfg.entities
    best = torch.full_like(world.entity, -1)
    best.view(-1).scatter_reduce_(0, victim, key, "amax")
    world.top_attacker.copy_(torch.where(best >= 0, best & (1 << SLOT_BITS) - 1, -1))

    if cfg.skills:
        _learn(world, lost, attacker, kind, damage.int())
    if cfg.npc_slots:
        _provoke(world)
        if cfg.skills:
            _reward_killers(world, killed, style)


def _within_reach(world: World, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(attacker, victim, style: [k] int64; the first two index [R * S]) of attacks on other living entities
    within reach."""
    cfg = world.config
    able = (target >= 0) & world.alive & (world.health > 0)
    attacker = able.view(-1).nonzero().squeeze(1)
    kind = style.reshape(-1)[attacker].long()
    victim = attacker - attacker % cfg.entities + target.reshape(-1)[attacker].long()
    reach = tensor(cfg.reach, world.device)[kind]
    arrives = (world.apart(attacker, victim) <= reach) & (victim != attacker) & world.alive.view(-1)[victim]
    chosen = arrives.nonzero().squeeze(1)
    return attacker[chosen], victim[chosen], kind[chosen]


def _words(world: World, attacker: Tensor) -> tuple[Tensor, ...]:
    """An attacker's random words: hit or miss, damage, and tie."""
    slots = world.config.entities
    return draw(world.seed, world.tick, Stream.STRIKE, attacker // slots, attacker % slots)[:3]


def flat_blows(world: World, style: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attacks of fixed damage, which always hit: (attacker, victim, style, damage), as in ``Attacks``. They
    drain food and water from the victim and give them to the attacker. Immunity prevents neither the drain
    nor the freeze."""
    cfg = world.config
    attacker, victim, style = _within_reach(world, style, target)
    damage = tensor(cfg.damage, world.device)[style]
    some = (damage > 0).nonzero().squeeze(1)
    attacker, victim, style, damage = attacker[some], victim[some], style[some], damage[some]
    world.chilled.view(-1)[victim[style == MAGE]] = True

    # Gains and losses are summed before they are clamped, so the order does not matter.
    drained = torch.zeros_like(world.row)
    drained.view(-1)[attacker] = damage.int()  # one attack per attacker
    drained.view(-1).index_add_(0, victim, -damage.int())
    for stock, maximum in ((world.food, cfg.max_food), (world.water, cfg.max_water)):
        stock.copy_(torch.where(drained != 0, (stock + drained).clamp_(0, maximum), stock))
    return attacker, victim, style, damage


def wound(world: World, victim: Tensor, damage: Tensor) -> tuple[Tensor, Tensor]:
    """Subtracts damage from the health of victims, and records it.

    Args:
        victim: [k] int64, index into [R * S]; may contain duplicates.
        damage: [k] integers.

    Returns:
        [R, S] int32: damage taken by each.
        [R, S] bool: entities that were killed.
    """
    # Many attackers together can do more damage than 16 bits hold.
    lost = torch.zeros_like(world.row)
    lost.view(-1).index_add_(0, victim, damage.int())
    world.damage.copy_(lost.clamp(max=LARGEST_DAMAGE))
    world.health.copy_(torch.where(lost > 0, (world.health - lost).clamp_(min=0), world.health))
    killed = world.alive & (lost > 0) & (world.health == 0)
    world.cause[killed] = Cause.COMBAT
    return lost, killed


def _rolled(world: World, style: Tensor, target: Tensor) -> Attacks:
    """Attacks with hits and damage rolled from levels and gear."""
    cfg = world.config
    worn = torch.zeros(*world.alive.shape, len(GEAR), dtype=torch.uint8, device=world.device)
    world.agents(worn).copy_(world.worn)
    worn, level = worn.view(-1, len(GEAR)).long(), world.level.view(-1, len(SKILLS)).long()
    attacker, victim, style = _within_reach(world, style, target)
    armed = (style != RANGE) | (worn[attacker, KNIFE] > 0)
    counts = (armed & ~world.immune().view(-1)[victim]).nonzero().squeeze(1)
    attacker, victim, style = attacker[counts], victim[counts], style[counts]
    _throw(world, attacker[style == RANGE])

    aim, force, tie = _words(world, attacker)
    attack_bonus, strength_bonus, defense_bonus = bonuses(cfg.tables, world.device)
    weapon = worn[attacker, style]  # for a mage this is the armor, whose bonuses are 0
    skill = level[attacker, style]
    attack = skill * (attack_bonus[style, weapon] + BARE)
    defense = level[victim, DEFENSE] * (defense_bonus[worn[victim, ARMOR]] + BARE)
    hits = torch.where(
        attack > defense,
        below(aim, 2 * (attack + 1)) < 2 * attack - defense,
        below(aim, 2 * (defense + 1)) < attack,
    )
    max_hit = (320 + (8 + skill) * (strength_bonus[style, weapon] + BARE)) // 640
    damage = torch.where(hits, 1 + below(force, max_hit), 0)
    world.chilled.view(-1)[victim[hits & (style == MAGE)]] = True
    return Attacks(attacker, victim, style, damage, tie)


def padded_bonuses(of: Tables) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """(attack, strength) bonus, each by style and rank of the worn gear; 0 for rank 0 and for ranks that do
    not exist."""
    ranks = 1 + max(map(len, of.gear))

    def by_style(bonus: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        rows = (*bonus[: len(GEAR) - 1], ())
        return tuple(row + (0,) * (ranks - len(row)) for row in rows)

    return by_style(of.attack), by_style(of.strength)


def bonuses(of: Tables, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(attack [styles, ranks + 1], strength [styles, ranks + 1], defense [ranks + 1]), int64."""
    attack, strength = padded_bonuses(of)
    return tensor(attack, device), tensor(strength, device), tensor(of.defense, device)


def _throw(world: World, attacker: Tensor) -> None:
    """Each of these attackers, all of which wear a knife, consumes one."""
    if not attacker.numel():
        return  # the content may have no knives
    realm, slot = attacker // world.config.entities, attacker % world.config.entities
    tables = world.config.tables
    item = tensor(tables.gear[KNIFE], world.device)[world.worn[realm, slot, KNIFE].long() - 1]
    world.inventory[realm, slot, item] -= 1
    ledger = world.ledger[..., Flow.USED]
    ledger.index_put_((realm, item), torch.ones_like(realm), accumulate=True)


def _count(world: World, attacker: Tensor, event: Event, amount: Tensor | int) -> None:
    """Adds to an event of the agents among the attackers, which are all different."""
    of_all = torch.zeros_like(world.row)
    of_all.view(-1)[attacker] = amount
    world.events[..., event] += world.agents(of_all)


def _learn(world: World, lost: Tensor, attacker: Tensor, style: Tensor, damage: Tensor) -> None:
    """Adds experience of agents for damage done and damage taken (``lost``: [R, S] int32). It may exceed its
    limit here; ``growth`` clamps it."""
    cfg = world.config
    agent = attacker % cfg.entities < cfg.slots
    realm, slot = attacker[agent] // cfg.entities, attacker[agent] % cfg.entities
    world.xp[realm, slot, style[agent]] += STYLE_EXPERIENCE * damage[agent]
    world.xp[realm, slot, CONSTITUTION] += BODY_EXPERIENCE * damage[agent]
    world.xp[..., DEFENSE] += STYLE_EXPERIENCE * world.agents(lost)
    world.xp[..., CONSTITUTION] += BODY_EXPERIENCE * world.agents(lost)


def _provoke(world: World) -> None:
    """NPCs that fight back target the agent that did them the most damage."""
    cfg = world.config
    kind = kind_of_slot(cfg, world.device)[cfg.slots :]
    rows = cfg.tables.npcs
    fights_back = tensor(tuple(row.hunts == PROVOKED for row in rows), world.device, torch.bool)[kind]
    aggro_ticks = tensor(tuple(row.aggro_ticks for row in rows), world.device, torch.uint8)[kind]
    top_attacker = world.top_attacker[:, cfg.slots :]
    provoked = fights_back & (top_attacker >= 0) & (top_attacker < cfg.slots)
    who = world.entity.gather(1, top_attacker.clamp(min=0).long())
    world.aggro_target.copy_(torch.where(provoked, top_attacker, world.aggro_target))
    world.aggro_entity.copy_(torch.where(provoked, who, world.aggro_entity))
    world.aggro_ticks.copy_(torch.where(provoked, aggro_ticks, world.aggro_ticks))


def _reward_killers(world: World, killed: Tensor, style: Tensor) -> None:
    """Adds experience for an NPC's killer, in the style of its attack. An attacker kills at most one
    entity."""
    cfg = world.config
    npc = killed.clone()
    world.agents(npc).zero_()
    realm, slot = npc.nonzero().unbind(1)
    killer = world.top_attacker[realm, slot].long()
    agent = (killer < cfg.slots).nonzero().squeeze(1)
    realm, slot, killer = realm[agent], slot[agent], killer[agent]
    worth = tensor(tuple(row.experience for row in cfg.tables.npcs), world.device, torch.int32)
    world.xp[realm, killer, style[realm, killer].long()] += worth[kind_of_slot(cfg, world.device)[slot]]
