"""Scripted policies: baselines and opponents for trained policies.

Each is a function of an environment that returns [R, A, heads] int64 actions, like ``random_actions``. It has
no memory and uses only the newest observations. Ties are broken by the world's own counter-based draws, so a
seed reproduces a game. Only living agents are computed, so a call synchronizes the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import SKILLS, WORKS, Material, walkable_table
from nmmo_gpu.env import Env, Observation, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES, STRANGER, STYLES
from nmmo_gpu.world.random import Stream

SEARCH_RADII = 2
"""Length limit of paths, in steps, as a multiple of the vision."""

SPARE = 8
"""Ticks of food and water that a hunter must have left on arrival at the nearest source of either; with
less, it forages."""

NEVER = 1 << 20
"""Greater than every score."""


def forager(env: Env) -> Tensor:
    """[R, A, heads] int64: goes to food or water, whichever it will lack first, by the shortest visible path.
    It stays at the shore while it has enough, and goes straight on if it sees no source of what it needs. It
    never steps on lava and never fights. If works are enabled, it fishes, cooks, and eats when hungry or
    hurt."""
    return _play(env, hunts=False)


def hunter(env: Env) -> Tensor:
    """[R, A, heads] int64: a forager that approaches the weakest neighbor while it has food and water to
    spare, and always attacks the weakest neighbor in reach, in the style with the most damage. It never
    attacks its own population, nor an entity with more health than both itself and a newborn agent (such as
    goblins and bears at first)."""
    return _play(env, hunts=True)


POLICIES: dict[str, Callable[[Env], Tensor]] = {
    "random": random_actions, "forager": forager, "hunter": hunter,
}  # fmt: skip
"""All scripted policies by name, and random actions."""


def actor(name: str) -> Callable[[Env], Callable[[Env], Tensor]]:
    """One of ``POLICIES`` for ``nmmo_gpu.train.evaluate.evaluate``; ConfigError for an unknown name."""
    if name not in POLICIES:
        raise ConfigError(f"{name!r} is not a scripted policy; choose one of {', '.join(POLICIES)}.")
    return lambda env: POLICIES[name]


class _Hunt(NamedTuple):
    """The attacks and goals of n hunters."""

    style: Tensor
    """[n] int64"""
    target: Tensor
    """[n] int64: row of the entity table, from 1; 0 for none."""
    ground: Tensor
    """[n, window, window] bool: cells from which the weakest neighbor can be attacked; empty without one."""


def _play(env: Env, hunts: bool) -> Tensor:
    config, world = env.config.world, env.world
    records = env.records.flatten(0, 1)
    living = env.layout.views(records)["alive"].nonzero().squeeze(1)
    obs = env.layout.views(records[living])
    own = dict(zip(SELF_FEATURES, obs["self"].int().unbind(-1), strict=True))
    realm, slot = living // config.slots, living % config.slots
    random_bits = env.backend.draw(world.seed, world.tick, Stream.POLICY, realm, slot)[0]

    chosen: dict[str, Tensor] = {}
    hunt = _hunt(config, obs, own) if hunts and (config.rolls or any(config.damage)) else None
    if hunt is not None:
        chosen |= {"style": hunt.style, "target": hunt.target}
    chosen["move"] = _move(config, obs, own, hunt, random_bits)
    if config.works:
        chosen["work"] = _work(config, obs, own)
    actions = torch.zeros(len(records), len(env.action_heads), dtype=torch.int64, device=records.device)
    for column, head in enumerate(env.action_heads):
        if head in chosen:
            actions[living, column] = chosen[head]
    return actions.view(env.config.realms, config.slots, -1)


def _move(
    config: WorldConfig, obs: Observation, own: dict[str, Tensor], hunt: _Hunt | None, random_bits: Tensor
) -> Tensor:
    """[n] int64: the first step of the shortest path to the goal."""
    vision, device = config.vision, random_bits.device
    offsets = torch.tensor(MOVES, device=device, dtype=torch.int64)
    rows, cols = _grid(vision, device)
    safe = walkable_table(device)
    safe[Material.LAVA] = False
    safe = safe[obs["material"].long()]
    free = safe & (obs["occupant"] == 0)
    free[:, vision, vision] = True
    open_ = _bits(free)

    heading = own["heading_row"][:, None], own["heading_col"][:, None]
    ahead = heading[0][..., None] * rows + heading[1][..., None] * cols == vision
    goals = [
        _bits(obs["material"] == Material.FOREST),
        _spread(_bits(obs["material"] == Material.WATER)),
        _bits(ahead),
        _bits(torch.maximum(rows.abs(), cols.abs()) == vision).expand_as(open_),
    ]
    if hunt is not None:
        goals.append(_bits(hunt.ground))
    steps = _steps(torch.stack(goals) & open_, open_, vision)
    to_food, to_water, to_edge_ahead, *_ = near = steps[..., 0]
    food, water, onward, anywhere, prey = range(5)

    # Food is eaten only when none of it is wasted. Agents that can fish eat forest only when they need it.
    fishes = {"fish", "cook", "eat"} <= set(config.works)
    hungry = own["food"] <= (config.heal_above if fishes else config.max_food - config.forage)
    food_left, water_left = own["food"] - to_food, own["water"] - to_water
    goal = torch.where(hungry & (food_left < water_left), food, water)
    far = SEARCH_RADII * vision
    if hunt is not None:
        spare = torch.minimum(food_left, water_left) >= SPARE
        goal = torch.where(spare & (near[prey] < far), prey, goal)
    lost = near.gather(0, goal[None]).squeeze(0) == far
    goal = torch.where(lost, torch.where(to_edge_ahead < far, onward, anywhere), goal)

    steps = steps[goal, torch.arange(len(goal), device=device, dtype=torch.int64)]
    straight = (offsets[:, 0] == heading[0]) & (offsets[:, 1] == heading[1])
    tie = random_bits[:, None] >> torch.arange(0, 2 * len(MOVES), 2, device=device, dtype=torch.int64) & 3
    allowed = obs["move_mask"] & safe[:, vision + offsets[:, 0], vision + offsets[:, 1]]
    return (8 * steps - 4 * straight + tie).masked_fill(~allowed, NEVER).argmin(1)


def _hunt(config: WorldConfig, obs: Observation, own: dict[str, Tensor]) -> _Hunt:
    """The target and style of this tick's attack, and the neighbor to approach."""
    device = obs["self"].device
    line = torch.arange(len(obs["self"]), device=device, dtype=torch.int64)
    health = obs["entities"][..., ENTITY_FEATURES.index("health")].int()
    prey = (obs["entity_kind"] >= STRANGER) & (health <= own["health"].clamp(min=config.max_health)[:, None])
    rank = health * config.nearest + torch.arange(config.nearest, device=device, dtype=torch.int64)
    reach = torch.tensor(config.reach, device=device, dtype=torch.int64)
    damage = torch.tensor(config.damage, device=device, dtype=torch.int64).expand(len(line), -1)
    if config.rolls:
        damage = obs["levels"][:, : len(STYLES)].int()
    power = damage * (config.vision + 1) + reach

    in_reach = obs["target_mask"][:, :, 1:] & prey[:, None]
    victim = rank.masked_fill(~in_reach.any(1), NEVER).argmin(1)
    style = power.masked_fill(~in_reach[line, :, victim], -1).argmax(1)
    struck = in_reach[line, style, victim]

    # The masks show a throwing knife only for targets in reach, so it is ignored from afar.
    melee_or_mage = torch.tensor(
        [not config.rolls or style != "range" for style in STYLES], device=device, dtype=torch.bool
    )
    wanted = reach[power.masked_fill(~melee_or_mage, -1).argmax(1)]
    weakest = rank.masked_fill(~prey, NEVER).argmin(1)
    row, col = obs["entities"][line, weakest, :2].int()[..., None, None].unbind(1)
    rows, cols = _grid(config.vision, device)
    ground = torch.maximum((rows - row).abs(), (cols - col).abs()) <= wanted[:, None, None]
    return _Hunt(style, (victim + 1) * struck, ground & prey.any(1)[:, None, None])


def _work(config: WorldConfig, obs: Observation, own: dict[str, Tensor]) -> Tensor:
    """[n] int64: eats if it should and can, else cooks if it can, else fishes if it can."""
    hungry = own["food"] <= config.max_food - config.forage
    hurt = own["health"] <= obs["levels"][:, SKILLS.index("constitution")] - 2
    eat, cook, fish = (WORKS.index(name) for name in ("eat", "cook", "fish"))
    work = obs["work_mask"][:, fish] * fish
    work = torch.where(obs["work_mask"][:, cook], cook, work)
    return torch.where(obs["work_mask"][:, eat] & (hungry | hurt), eat, work)


def _grid(vision: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(rows [window, 1], columns [window]) of a window's cells, from its center."""
    axis = torch.arange(-vision, vision + 1, device=device, dtype=torch.int64)
    return axis[:, None], axis


def _bits(cells: Tensor) -> Tensor:
    """[..., window] int32, one bit per column, of [..., window, window] bool cells. An operation on a window
    then works on a word at a time; 31 columns, the maximum, fit."""
    column = torch.arange(cells.shape[-1], dtype=torch.int32, device=cells.device)
    return (cells << column).sum(-1, dtype=torch.int32)


def _spread(rows: Tensor) -> Tensor:
    """The cells (as ``_bits``) and their four neighbors; a bit beyond the last column may also be set."""
    wide = rows | rows << 1 | rows >> 1
    wide[..., 1:] |= rows[..., :-1]
    wide[..., :-1] |= rows[..., 1:]
    return wide


def _steps(goals: Tensor, free: Tensor, vision: int) -> Tensor:
    """[goals, n, 5] int32: steps from the destination of each of ``MOVES`` to the nearest cell of each goal;
    the search limit if there is no path.

    Args:
        goals: [goals, n, window], cells as ``_bits``; all of them are free.
        free: [n, window], cells as ``_bits``.
        vision: how far an agent sees, tiles.
    """
    row, col = (torch.tensor(MOVES, dtype=torch.int32, device=goals.device) + vision).unbind(1)
    steps = torch.zeros(*goals.shape[:2], len(MOVES), dtype=torch.int32, device=goals.device)
    for _ in range(SEARCH_RADII * vision):
        steps += 1 - (goals[..., row] >> col & 1)
        goals = _spread(goals) & free
    return steps
