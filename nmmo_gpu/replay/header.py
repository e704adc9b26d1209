"""The header of a replay, with everything that a viewer needs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.serialize import CLASS, to_plain
from nmmo_gpu.config.systems import System
from nmmo_gpu.content import GEAR, MATERIALS, SKILLS, WORKS, Material
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.columns import Column, columns
from nmmo_gpu.replay.format import MAX_COLUMNS, MAX_WIDTH, VERSION
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import STYLES
from nmmo_gpu.world.state import causes

FORMAT = "nmmo-gpu replay"
USED_UP = {Material.FOREST: Material.SCRUB, Material.ORE_ROCK: Material.STONE}


def header(config: EnvConfig, realm: int, title: str, heads: dict[str, int] | None = None) -> dict[str, Any]:
    """The header as plain JSON; its fields are those of docs/replay-format.md.

    Args:
        realm: its number among all realms.
        heads: choices of each head in column ``probability``; None if the policy is not recorded.

    Raises ReplayError if fields or heads of systems exceed the limits of the format."""
    world, heads = config.world, heads or {}
    recorded = columns(world, sum(heads.values()))
    _check_limits(recorded)
    extended, content = world.extended, world.content
    npcs, first = [], world.slots
    for kind, count in zip(content.npcs, world.npc_counts, strict=False):
        npcs.append({
            "name": kind.name, "health": kind.health, "level": kind.level, "hunts": kind.hunts,
            "first": first, "count": count,
        })  # fmt: skip
        first += count
    return {
        "format": FORMAT,
        "version": VERSION,
        "software": f"nmmo-gpu {_version()}",
        "title": title,
        "realm": realm,
        "height": world.height,
        "width": world.width,
        "border": world.border,
        "agents": world.slots,
        "entities": world.entities,
        "populations": world.populations,
        "vision": world.vision,
        "nearest": world.nearest,
        "reach": list(world.reach),
        "immune_ticks": world.immune_ticks,
        "maxima": {
            "health": None if world.skills else world.max_health,
            "food": world.max_food,
            "water": world.max_water,
        },
        "materials": [
            {"name": kind.name, "color": list(kind.color), "walkable": kind.walkable}
            for kind in (MATERIALS[material] for material in Material)
        ],
        "used_up": [int(USED_UP.get(material, material)) for material in Material],
        "causes": [cause.name.lower() for cause in causes(world)],
        "styles": list(STYLES),
        "moves": [list(move) for move in MOVES],
        "skills": list(SKILLS) if extended else [],
        "works": list(WORKS) if extended else [],
        "prices": list(content.prices) if extended else [],
        "words": world.tokens,
        "items": [{"name": item.name, "gear": item.gear} for item in content.items] if extended else [],
        "gear": {name: list(world.tables.gear[k]) for k, name in enumerate(GEAR)} if extended else {},
        "npcs": npcs,
        "heads": heads,
        "columns": [
            {"name": c.name, "type": c.type, "of": c.of, "width": c.width, "delta": c.delta, "scale": c.scale}
            for c in recorded
        ],
        "systems": [_system(system, world) for system in world.systems],
        "config": to_plain(config),
    }


def _system(system: System, world: WorldConfig) -> dict[str, Any]:
    """What a viewer needs of a system, whose class it does not know."""
    settings = to_plain(system)
    kind = settings.pop(CLASS)
    fields = [
        {
            "name": name, "about": spec.about, "low": spec.low, "high": spec.high, "light": spec.light,
            "shape": list(spec.shape),
        }
        for name, spec in system.observation(world).items()
    ]  # fmt: skip
    edits = type(system).edit_observation is not System.edit_observation
    return {"name": system.name, "class": kind, "settings": settings, "edits": edits, "fields": fields}


def _check_limits(listed: tuple[Column, ...]) -> None:
    """Raises ReplayError for columns that no reader would accept."""
    for column in listed:
        if column.width > MAX_WIDTH:
            remedy = "record without the policy" if column.name == "probability" else "divide the field"
            raise ReplayError(
                f"column {column.name} has {column.width} numbers per agent, but a recording holds at most "
                f"{MAX_WIDTH}; {remedy}."
            )
    if len(listed) > MAX_COLUMNS:
        raise ReplayError(
            f"there are {len(listed)} columns, but a recording holds at most {MAX_COLUMNS}; join fields of "
            "the systems to larger ones."
        )


def _version() -> str:
    try:
        return version("nmmo-gpu")
    except PackageNotFoundError:
        return "(not installed)"
