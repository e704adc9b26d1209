"""A page on the systems of a config: their settings, and what they add to observations, actions and state."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, cast

from nmmo_gpu.adapters.observation_page import field_table
from nmmo_gpu.adapters.spaces import observation_space
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.class_names import class_name
from nmmo_gpu.config.systems import System, phase_specs, state_range, state_specs
from nmmo_gpu.world.observation_layout import ObservationLayout


def systems_page(config: WorldConfig) -> str:
    """Markdown with a section for each system of a config; empty if it has none."""
    sections = [_section(system, config) for system in config.systems]
    return "\n".join(line for section in sections for line in section)


def _section(system: System, config: WorldConfig) -> list[str]:
    settings = [f"{f.name} = {getattr(system, f.name)!r}" for f in dataclasses.fields(cast(Any, system))]
    lines = [
        f"## {system.name}",
        "",
        f"`{class_name(type(system))}`, {', '.join(settings) or 'no settings'}.",
    ]
    lines += ["", inspect.cleandoc(type(system).__doc__ or ""), ""]
    heads = system.actions(config)
    names = [f"{system.name}.{name}" for name in system.observation(config)]
    names += [f"{head}_mask" for head in heads]
    if names:
        lines += [*field_table(ObservationLayout(config), observation_space(config), names), ""]
    if heads:
        lines += ["| head | choices | what they do |", "|---|---|---|"]
        lines += [f"| `{name}` | {head.choices} | {head.about} |" for name, head in heads.items()] + [""]
    if state := state_specs(system, config):
        lines += ["| state | shape | dtype | range | what it holds |", "|---|---|---|---|---|"]
        for name, spec in state.items():
            shape, dtype = ", ".join(spec.shape.split()), str(spec.dtype).removeprefix("torch.")
            low, high = state_range(spec)
            known = f"{low} to {high}" if spec.high is not None else f"{low} and more"
            lines.append(f"| `{system.name}.{name}` | [{shape}] | {dtype} | {known} | {spec.about} |")
        lines += [""]
    if phases := phase_specs(system):
        lines += ["Phases: " + ", ".join(f"`{p.method}` {p.place} {p.of}" for p in phases) + ".", ""]
    return lines
