"""The reference page of observations and actions, made from the code so that it cannot drift from it."""

from __future__ import annotations

from collections.abc import Iterable

from nmmo_gpu.config import preset
from nmmo_gpu.env import ACTION_HEADS
from nmmo_gpu.world.content import MATERIALS
from nmmo_gpu.world.layout import ENTITY_FEATURES, SELF_FEATURES, STYLES, ObservationLayout
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.state import Cause, tensor_fields

MOVE_NAMES = {(0, 0): "stay", (0, 1): "east", (1, 0): "south", (0, -1): "west", (-1, 0): "north"}


def observation_page() -> str:
    """docs/observation.md, as Markdown."""
    rules = preset("chaos")
    layout = ObservationLayout(rules)
    lines = [
        "# What an agent sees, and what it can do",
        "",
        "*Written by `scripts/write_reference.py` from the code; sizes are those of preset `chaos`.*",
        "",
        "`env.reset()` and `env.step()` return a dict of tensors `[realms, slots, ...]`: views into one "
        f"buffer of {layout.bytes} bytes per agent (`env.records`). An empty slot's record is all zeros.",
        "",
        "| name | shape | dtype | first byte | what it holds |",
        "|---|---|---|---|---|",
    ]
    for name, field in layout.fields.items():
        dtype = str(field.dtype).removeprefix("torch.")
        shape = "[" + ", ".join(map(str, field.shape)) + "]"
        lines.append(f"| `{name}` | {shape} | {dtype} | {field.offset} | {field.about} |")
    lines += [
        "",
        f"Columns of `self`: {_numbered(SELF_FEATURES)}.",
        "",
        f"Columns of `entities`: {_numbered(ENTITY_FEATURES)}. Offsets are in tiles, south and east "
        "positive; an age above 127 shows as 127.",
        "",
        "Materials: " + _numbered(kind.name for kind in MATERIALS.values()) + ".",
        "",
        "## Actions",
        "",
        f"`[realms, slots, {len(ACTION_HEADS)}]` integers: {', '.join(ACTION_HEADS)}.",
        "",
        f"- move: {_numbered(MOVE_NAMES[move] for move in MOVES)}",
        f"- style: {_numbered(STYLES)}",
        f"- target: 0 nobody, k the k-th row of `entities`, up to {rules.nearest}",
        "",
        "## What a step tells besides",
        "",
        f"`info['cause']`: {_numbered(cause.name.lower() for cause in Cause)}. `info['entity']`, "
        "`info['lifetime']` and `info['explored']` are those of the slot's agent, dead or alive.",
        "",
        "## The world's state",
        "",
        "`env.world` is a dataclass of tensors; R realms, A slots, H x W tiles. Its docstrings say more.",
        "",
        "| field | shape | dtype |",
        "|---|---|---|",
    ]
    for state in tensor_fields():
        shape = "[" + ", ".join(state.metadata["shape"].split()) + "]"
        dtype = str(state.metadata["dtype"]).removeprefix("torch.")
        lines.append(f"| `{state.name}` | {shape} | {dtype} |")
    return "\n".join(lines) + "\n"


def _numbered(names: Iterable[str]) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(names))
