"""The reference page of observations and actions, generated from the code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gymnasium.spaces import Box, Dict, Space

from nmmo_gpu.adapters.spaces import action_space, observation_space
from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import MATERIALS, SKILLS, WORKS
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.events import event_names
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import (
    ENTITY_ATTRIBUTES,
    ENTITY_FEATURES,
    GOODS_FEATURES,
    OFFER_FEATURES,
    SELF_FEATURES,
    STYLES,
    ObservationLayout,
)
from nmmo_gpu.world.state import Cause, stock_fields

MOVE_NAMES = {(0, 0): "stay", (0, 1): "east", (1, 0): "south", (0, -1): "west", (-1, 0): "north"}

SYSTEMS = (
    "## Systems",
    "",
    "Systems that users add (`WorldConfig.systems`) append to all of this:",
    "",
    "- a field `<system>.<name>` for each entry of `System.observation`, such as `daylight.light`, with the "
    "declared dtype, shape and range;",
    "- a head for each entry of `System.actions`, after those of the rules, in the order of the systems, "
    "and its mask, the field `<head>_mask`, in which choice 0 is always set;",
    "- the state tensors `<system>.<name>`: `env.world.systems[system][name]`.",
    "",
    "In the record, the fields of systems follow those of the rules and precede `material` and `occupant`: "
    "first the int16 fields, from an even byte on, then the fields of one byte, each in the order of "
    "the systems, then the masks. A learner that copies only the first `env.layout.header_bytes` bytes of a "
    "record has them all. They are zero for an empty slot.",
    "",
    "`nmmo_gpu.adapters.systems_page.systems_page(config)` returns such tables for the systems of a config.",
)


def observation_page() -> str:
    """docs/observation.md, as Markdown."""
    config, full = preset("chaos"), preset("full")
    layout, full_layout = ObservationLayout(config), ObservationLayout(full)
    lines = [
        "# What an agent sees, and what it can do",
        "",
        "*Generated from the code by `scripts/write_reference.py`; sizes are those of preset `chaos`.*",
        "",
        "`env.reset()` and `env.step()` return a dict of tensors `[realms, slots, ...]`: views into one "
        f"buffer of {layout.bytes} bytes per agent (`env.records`). An empty slot's record is all zeros. "
        "The adapters' spaces (`nmmo_gpu.adapters.spaces`) have the same fields and bounds.",
        "",
        *field_table(layout, observation_space(config)),
        "",
        f"The rows of `material` and `occupant` are {layout.pitch} bytes apart in the record, so that "
        "kernels read and write whole words; the tensors are views without the padding, and so are not "
        "contiguous.",
        "",
        f"Columns of `self`, with their bounds: "
        f"{_columns(SELF_FEATURES, observation_space(config)['self'])}.",
        "",
        f"Columns of `entities`: {_columns(ENTITY_FEATURES, observation_space(config)['entities'])}. Offsets "
        "are in tiles, south and east positive; an age above 127 is reported as 127.",
        "",
        "Materials: " + _numbered(kind.name for kind in MATERIALS.values()) + ".",
        "",
        "## Actions",
        "",
        f"`[realms, slots, {len(action_heads(config))}]` integers: {_choices(config)}.",
        "",
        f"- move: {_numbered(MOVE_NAMES[move] for move in MOVES)}",
        f"- style: {_numbered(STYLES)}",
        f"- target: 0 none, k the k-th row of `entities`, up to {config.nearest}",
        "",
        *_full_game(full, full_layout),
        "",
        *SYSTEMS,
        "",
        "## What a step returns in addition",
        "",
        f"`info['cause']`: {_numbered(cause.name.lower() for cause in Cause)}. `info['entity']`, "
        "`info['lifetime']` and `info['explored']` are those of the slot's agent, dead or alive.",
        "",
        "## The world's state",
        "",
        "`env.world` is a dataclass of tensors. There are R realms, H x W tiles, A slots of agents, N slots "
        "of NPCs, and S slots in total, agents first. The fields of the full game are empty without it. "
        "With it, F is A and E is S; I is the number of items, B = I + 1 (gold is last), K the number of NPC "
        "kinds and V the number of event kinds. See the docstrings for details.",
        "",
        "| field | shape | dtype |",
        "|---|---|---|",
    ]
    for state in stock_fields():
        shape = "[" + ", ".join(state.shape.split()) + "]"
        dtype = str(state.dtype).removeprefix("torch.")
        lines.append(f"| `{state.name}` | {shape} | {dtype} |")
    lines += ["", f"Columns of `events`: {_numbered(event_names(full))}."]
    return "\n".join(lines) + "\n"


def _full_game(config: WorldConfig, layout: ObservationLayout) -> list[str]:
    known, content, items = action_heads(config), config.content, len(config.content.items)
    space = observation_space(config)
    return [
        "## In preset `full`",
        "",
        f"A record has {layout.bytes} bytes and these fields. Fields of the same name are as above, except "
        "that the entities include NPCs. The masks of work, trade and price, and of tokens, exist if these "
        "systems are on; the other new fields exist if any system of the full game is on.",
        "",
        *field_table(layout, space),
        "",
        f"Columns of `entity_attributes`: {_columns(ENTITY_ATTRIBUTES, space['entity_attributes'])}. "
        "npc_kind is 0 for an agent, and "
        f"{', '.join(f'{1 + k} for a {kind.name}' for k, kind in enumerate(content.npcs))}; worn gear is "
        "given by its rank among the gear of its kind, 0 for none.",
        "",
        f"Columns of `levels`: {_numbered(SKILLS)}. Of `goods`: {_columns(GOODS_FEATURES, space['goods'])}. "
        f"Of `offer`: {_columns(OFFER_FEATURES, space['offer'])}; side is 1 for selling, 2 for buying; item "
        "and price count from 1.",
        "",
        f"Items: {_numbered(item.name for item in content.items)}.",
        "",
        f"Prices in gold, counted from 0: {', '.join(map(str, content.prices))}.",
        "",
        "Masks are exact: a choice that a mask allows has an effect, unless another agent interferes, and a "
        "choice that it forbids would have no effect. For offers, the masks assume that an open offer is "
        "withdrawn first.",
        "",
        f"`[realms, slots, {len(known)}]` integers: {_choices(config)}. The first three are as above.",
        "",
        f"- work: {_numbered(WORKS)}",
        f"- trade: 0 nothing, 1 to {items} sell item 0 to {items - 1}, {items + 1} to {2 * items} buy item 0 "
        f"to {items - 1}, {2 * items + 1} withdraw the open offer",
        f"- price: 0 to {known['price'] - 1}; used when selling or buying. `price_mask` has one row for no "
        "trade, one for selling and one for buying",
        f"- token: 0 silence, 1 to {known['token'] - 1}",
    ]


def field_table(layout: ObservationLayout, space: Dict, names: Iterable[str] | None = None) -> list[str]:
    """A table of a record's fields: all, or those of some names."""
    lines = ["| name | shape | dtype | bounds | first byte | what it holds |", "|---|---|---|---|---|---|"]
    for name in layout.fields if names is None else names:
        field, numbers = layout.fields[name], space[name]
        bounds = f"{numbers.low.min()} to {numbers.high.max()}" if isinstance(numbers, Box) else ""
        dtype = str(field.dtype).removeprefix("torch.")
        shape = "[" + ", ".join(map(str, field.shape)) + "]"
        lines.append(f"| `{name}` | {shape} | {dtype} | {bounds} | {field.offset} | {field.about} |")
    return lines


def _columns(names: tuple[str, ...], space: Space[Any]) -> str:
    """Numbered names with the bounds of the last axis of a Box."""
    assert isinstance(space, Box)
    low, high = (bound.reshape(-1, len(names))[0] for bound in (space.low, space.high))
    return _numbered(f"{name} ({a} to {b})" for name, a, b in zip(names, low, high, strict=True))


def _choices(config: WorldConfig) -> str:
    """The heads with their numbers of choices, as ``action_space`` has them."""
    sizes = action_space(config).nvec.tolist()
    return ", ".join(f"{name} ({n})" for name, n in zip(action_heads(config), sizes, strict=True))


def _numbered(names: Iterable[str]) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(names))
