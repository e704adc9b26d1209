"""The named rule sets."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from nmmo_gpu.config.world import MAX_SIDE, WorldConfig
from nmmo_gpu.content import WORKS
from nmmo_gpu.errors import ConfigError

Config = TypeVar("Config")

PRESETS: dict[str, WorldConfig] = {
    "law": WorldConfig(reach=(1, 4, 4), damage=(0, 0, 0)),
    "chaos": WorldConfig(),
    "full": WorldConfig(
        reach=(1, 4, 4), skills=True, works=WORKS[1:], rolls=True, npcs=True, exchange=True, tokens=8
    ),
    "million": WorldConfig(height=MAX_SIDE, width=MAX_SIDE, slots=1 << 20, births=-1, spawn="anywhere"),
}
"""The named rule sets. ``law`` is v1 without damage, ``chaos`` is v1 with damage, ``full`` has all systems of
the full game, and ``million`` is ``chaos`` for a million agents in one realm, with 64 tiles per agent."""


def preset(name: str, **overrides: Any) -> WorldConfig:
    """The preset's rules, with some fields replaced.

    Raises ConfigError for an unknown preset or field, or for values that cannot work together."""
    if name not in PRESETS:
        raise ConfigError(f"preset = {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **overrides)


def replace(config: Config, **overrides: Any) -> Config:
    """Like ``dataclasses.replace``, but raises ConfigError for an unknown field and lists the known ones."""
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in overrides:
        if name not in known:
            raise ConfigError(
                f"{name} = {overrides[name]!r}: {type(config).__name__} has no such field; "
                f"it has {', '.join(known)}."
            )
    replaced: Config = dataclasses.replace(config, **overrides)  # type: ignore[type-var]
    return replaced
