"""Small worlds for the viewer's browser tests, and what a page must show of them. The expected contents come
from the world itself, independent of the viewer's code.

``python -m viewer.worlds FOLDER`` in ``tests`` writes them for viewer/tests/browser/worlds.tests.ts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from viewer.fixtures import FULL, ODD, REALM, record

from nmmo_gpu.content import GEAR, MATERIALS, SKILLS, Material
from nmmo_gpu.env import Env
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STYLES
from nmmo_gpu.world.state import causes

TICKS, CHUNK = 60, 16
PANELS = 6
"""Interval in ticks between expected contents of panels."""


def write(folder: Path) -> None:
    """Writes NAME.replay and NAME.json of each world."""
    folder.mkdir(parents=True, exist_ok=True)
    chaos = {**ODD, "slots": 36}
    full = {**FULL, "slots": 24}
    _write(folder / "chaos", "chaos", **chaos)
    _write(folder / "full", "full", mixed=True, maps=True, prepare=_enrich, **full)


def _write(path: Path, preset: str, **settings: Any) -> None:
    env, told = record(path, preset, TICKS, CHUNK, heads="all", more=_more, **settings)
    config = env.config.world
    told |= {
        "height": config.height, "width": config.width, "slots": config.slots, "vision": config.vision,
        "populations": config.populations, "chunk": CHUNK, "styles": list(STYLES),
        "moves": [list(move) for move in MOVES],
        "materials": [{"name": MATERIALS[m].name, "color": list(MATERIALS[m].color)} for m in Material],
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(told | _counts(env, told["ticks"])))


def _enrich(env: Env) -> None:
    """Gives every agent items to sell and gold to buy with."""
    env.world.inventory[:] = 2
    env.world.gold[:] = 300


def _more(env: Env) -> dict[str, Any]:
    world, config = env.world, env.config.world
    more: dict[str, Any] = {"material": world.material[REALM].flatten().tolist()}
    if int(world.tick) % PANELS == 0:
        living = world.alive[REALM].nonzero().flatten().tolist()
        some = living[:3] + [slot for slot in living if slot >= config.slots][:2]
        more["panels"] = [_panel(env, slot) for slot in some]
    return more


def _panel(env: Env, slot: int) -> dict[str, Any]:
    """Returns the texts and numbers in the panel of an agent or an NPC."""
    world, config = env.world, env.config.world
    content = config.content

    def of(name: str) -> Any:
        return getattr(world, name)[REALM, slot].tolist()

    agent = slot < config.slots
    if not agent:
        kinds = np.repeat(np.arange(len(config.npc_counts)), config.npc_counts)
        kind = content.npcs[kinds[slot - config.slots]]
        who, max_health = kind.name.capitalize(), kind.health
    else:
        who = "Agent"
        max_health = of("level")[SKILLS.index("constitution")] if config.skills else config.max_health
    material = MATERIALS[Material(int(world.material[REALM, of("row"), of("col")]))].name
    facts = {
        "age": _ticks(of("age")),
        "position": f"row {of('row')}, column {of('col')} ({material.replace('orerock', 'ore rock')})",
        "frozen": f"for {_ticks(of('freeze'))}" if of("freeze") else "no",
        "damage taken": str(of("damage") or "none"),
        "slot": str(slot),
    }
    meters = {"health": f"{of('health')} / {max_health}"}
    panel: dict[str, Any] = {"slot": slot, "title": f"{who} {of('entity')}", "facts": facts, "meters": meters}
    if agent:
        meters |= {
            "food": f"{of('food')} / {config.max_food}", "water": f"{of('water')} / {config.max_water}",
        }  # fmt: skip
    if config.extended:
        panel["skills"] = dict(zip(SKILLS, of("level"), strict=True))
    if config.extended and agent:
        held = zip(content.items, of("inventory"), strict=True)
        panel["inventory"] = {item.name: count for item, count in held if count}
        ranks = zip(range(len(GEAR)), of("worn"), strict=True)
        worn = [content.items[config.tables.gear[sort][rank - 1]].name for sort, rank in ranks if rank]
        facts |= {
            "gold": f"{of('gold'):,}", "wears": ", ".join(worn) or "nothing", "offer": _offer(env, slot),
        }  # fmt: skip
    return panel


def _offer(env: Env, slot: int) -> str:
    world, content = env.world, env.config.world.content
    offer = int(world.offer[REALM, slot])
    if not offer:
        return "none"
    side, item = divmod(offer - 1, len(content.items))
    price = content.prices[int(world.offer_price[REALM, slot])]
    left = _ticks(int(world.offer_left[REALM, slot]))
    return f"{('sell', 'buy')[side]} {content.items[item].name} for {price} gold, {left} left"


def _ticks(count: int) -> str:
    return "1 tick" if count == 1 else f"{count:,} ticks"


def _counts(env: Env, ticks: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the curves and maps over all ticks."""
    config = env.config.world
    agents = slice(0, config.slots)

    def column(name: str) -> NDArray[np.int64]:
        """Returns a column as [ticks, agents]."""
        return np.array([tick["columns"][name] for tick in ticks])[:, agents]

    alive, cause, age, entity = column("alive") > 0, column("cause"), column("age"), column("entity")
    place = column("row") * config.width + column("col")
    population = np.broadcast_to(np.arange(config.slots) // config.population_size, alive.shape)
    new = alive[1:] & (~alive[:-1] | (entity[1:] != entity[:-1]))
    died = cause > 0
    lifetimes = [float(age[t][died[t]].mean()) if died[t].any() else None for t in range(len(ticks))]

    def grid(where: NDArray[np.bool_], p: int) -> list[int]:
        chosen = where & ((population == p) | (p < 0))
        return np.bincount(place[chosen], minlength=config.height * config.width).tolist()

    groups = range(-1, config.populations)
    counts = {
        "population": [(alive & (population == p)).sum(1).tolist() for p in range(config.populations)],
        "deaths": [(died & (cause == c)).sum(1).tolist() for c in causes(config)],
        "births": [0, *new.sum(1).tolist()],
        "lifetime": lifetimes,
        "usedUp": {
            MATERIALS[kind].name: [
                sum(tick["material"][tile] != base for tile, base in enumerate(ground) if base == kind)
                for tick in ticks
            ]
            for ground in [env.world.base[REALM].flatten().tolist()]
            for kind in (Material.FOREST, Material.ORE_ROCK)
        },
        "visits": {str(p): grid(alive, p) for p in groups},
        "danger": {str(p): grid(died, p) for p in groups},
        "prices": [],
    }
    if config.extended:
        prices = (None, *config.content.prices)
        quotes = np.array([tick["columns"]["quotes"] for tick in ticks]).reshape(len(ticks), -1, 3)
        counts["prices"] = [[prices[last] for last in item] for item in quotes[:, :, 2].T.tolist()]
    return counts


if __name__ == "__main__":
    write(Path(sys.argv[1]))
