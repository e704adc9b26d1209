"""One tick of every realm: the phases of the rules and of the systems, in order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import PhaseSpec, System, phase_specs, state_specs
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.phases import PHASES, Phase, PhaseFunction
from nmmo_gpu.world.state import World


@dataclass(frozen=True)
class Call:
    """A call of a tick: a phase, or a stretch of phases that a backend runs together."""

    name: str
    """Name of the phase, ``<system>.<method>`` for one of a system, or names joined by +."""
    run: PhaseFunction
    """``run(world, *actions)``; a tuple that it returns replaces the actions."""
    takes: tuple[str, ...]
    """Heads whose actions it takes."""
    stock: bool
    """Whether it is a phase of the rules."""


def step(
    world: World, backend: Backend, move: Tensor, style: Tensor, target: Tensor, work: Tensor | None = None,
    trade: Tensor | None = None, price: Tensor | None = None, token: Tensor | None = None,
    others: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Runs one tick in place. All agents act simultaneously on their observations of the last tick's end.

    Choices of empty slots are ignored. The choices of all heads but the first three are those of
    ``nmmo_gpu.world.actions.action_heads``.

    Args:
        world: the world.
        backend: implementation of the phases (``nmmo_gpu.world.backend``).
        move: [R, A] int64, 0 to 4. ``move``, ``style`` and ``target`` can also be the results of
            ``backend.decode``.
        style: [R, A] int64, 0 to 2.
        target: [R, A] int64, slot in the same realm; -1 for no target.
        work: [R, A] integers; None if no agent works.
        trade: [R, A] integers; None if no agent trades.
        price: [R, A] integers; None if no agent trades.
        token: [R, A] integers; None if no agent speaks.
        others: [R, A] integers each, choices of the heads of systems by name; zeros by default.

    Returns:
        style: [R, S] integers, NPCs included; valid until the next tick.
        target: [R, S] integers, likewise.
    """
    chosen = {"work": work, "trade": trade, "price": price, "token": token, **(others or {})}
    actions = {"move": move, "style": style, "target": target}
    actions |= {name: choice for name, choice in chosen.items() if choice is not None}
    for call in calls(world.config, backend):
        for name in call.takes:
            if name not in actions:
                actions[name] = torch.zeros_like(world.agents(world.age))
        result = call.run(world, *(actions[name] for name in call.takes))
        if result is not None:
            actions.update(zip(call.takes, result, strict=True))
    world.tick += 1
    return actions["style"], actions["target"]


@functools.cache
def calls(config: WorldConfig, backend: Backend) -> tuple[Call, ...]:
    """The calls of a tick, in order: one per phase, except that the longest stretches that a backend runs
    together are one call.

    Raises ConfigError if a system's phase names a phase or a head that does not exist, or replaces one that
    another system replaces."""
    phases = list(_phases(config, backend))
    planned: list[Call] = []
    while phases:
        best = 0
        for stretch in () if config.extended else backend.stretches:
            length = len(stretch.names)
            same = all(
                call.stock and call.name == name and call.run is function
                for call, name, function in zip(phases, stretch.names, stretch.functions, strict=False)
            )
            if same and best < length <= len(phases):
                best, call = length, Call("+".join(stretch.names), stretch.run, stretch.takes, True)
        planned.append(call if best else phases[0])
        del phases[: best or 1]
    return tuple(planned)


def _phases(config: WorldConfig, backend: Backend) -> Iterator[Call]:
    """All phases of a tick, one by one."""
    placed = _placed(config)
    initialize = births(config)
    if initialize:
        yield Call("mark_births", mark_births, (), False)
    born = False
    newborns = "npc_births" if config.npc_slots else "spawning"

    def of_systems(place: str, phase: Phase) -> Iterator[Call]:
        """The phases of systems at a place. Before the first one after the births, state is initialized: an
        earlier call would interrupt a stretch for nothing."""
        nonlocal initialize
        for call in placed.get((place, phase.name), ()):
            if born and initialize:
                yield Call("births", initialize, (), False)
                initialize = None
            yield call

    for phase in PHASES:
        yield from of_systems("before", phase)
        if ("instead of", phase.name) in placed:
            yield from of_systems("instead of", phase)
        elif phase.when(config):
            yield Call(phase.name, getattr(backend, phase.name, phase.run), phase.takes, True)
        born |= phase.name == newborns
        yield from of_systems("after", phase)
    if initialize:
        yield Call("births", initialize, (), False)


def _placed(config: WorldConfig) -> dict[tuple[str, str], list[Call]]:
    """The phases of systems, by their place in the list."""
    names, heads = [phase.name for phase in PHASES], action_heads(config)
    placed: dict[tuple[str, str], list[Call]] = {}
    for system in config.systems:
        for spec in phase_specs(system):
            where = f"system {type(system).__name__}: {spec.method}"
            if spec.of not in names:
                raise ConfigError(
                    f"{where} runs {spec.place} {spec.of!r}, which is not a phase; choose one of "
                    f"{', '.join(names)}."
                )
            missing = [name for name in spec.takes if name not in heads and name not in spec.optional]
            if missing:
                raise ConfigError(
                    f"{where} takes {missing[0]!r}, which is not a head of these rules ({', '.join(heads)}); "
                    "rename the parameter, or give it a default."
                )
            calls = placed.setdefault((spec.place, spec.of), [])
            if calls and spec.place == "instead of":
                raise ConfigError(f"{where} replaces {spec.of}, as does {calls[0].name}; use one of the two.")
            calls.append(_call(system, spec, heads))
    return placed


def _call(system: System, spec: PhaseSpec, heads: Mapping[str, int]) -> Call:
    takes = tuple(name for name in spec.takes if name in heads)
    method, what = getattr(system, spec.method), f"system {type(system).__name__}: {spec.method}"

    def run(world: World, *actions: Tensor) -> object:
        result = method(world, **dict(zip(takes, actions, strict=True)))
        if result is None:
            return None
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(takes):
            raise ConfigError(
                f"{what} returns {len(results)} values, and takes {len(takes)} actions; return None, or a "
                "tensor for each."
            )
        for name, given, made in zip(takes, actions, results, strict=True):
            _check_returned(what, name, given, made, world)
        return results

    return Call(f"{system.name}.{spec.method}", run, takes, False)


def _check_returned(what: str, name: str, given: Tensor, made: object, world: World) -> None:
    """Raises ConfigError unless actions that a system returns can be used by the next phases. Their range is
    checked on a CPU only, because reading values stalls a GPU."""
    if not isinstance(made, Tensor) or made.shape != given.shape or made.dtype not in INTEGERS:
        found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise ConfigError(f"{what} returns {name} as {found}; give integers of shape {tuple(given.shape)}.")
    if world.static_shapes or not made.numel():
        return
    low, high = 0, action_heads(world.config)[name] - 1
    if name == "target":
        low, high = -1, world.config.entities - 1
    least, most = (int(end) for end in torch.aminmax(made))
    if least < low or most > high:
        raise ConfigError(f"{what} returns {name} from {least} to {most}; give {low} to {high}.")


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Dtypes of actions."""


def _births_before(world: World) -> Tensor:
    """[R] int64: scratch tensor for the number of births before this tick."""
    return world.workspace("births before", (world.realms,), torch.int64)


def mark_births(world: World) -> None:
    """Notes which entities exist, for ``births``."""
    _births_before(world).copy_(world.next_entity)


def births(config: WorldConfig) -> PhaseFunction | None:
    """The function that initializes the state of systems for entities born since ``mark_births``; None if
    there is no such state."""
    fills = [
        (system.name, name, spec.at_birth, spec.shape.split()[1] == "A")
        for system in config.systems
        for name, spec in state_specs(system, config).items()
        if spec.at_birth is not None
    ]
    if not fills:
        return None

    def initialize(world: World) -> None:
        newborn = world.entity >= _births_before(world)[:, None]
        for system, name, value, of_agents in fills:
            tensor, born = world.systems[system][name], world.agents(newborn) if of_agents else newborn
            tensor.masked_fill_(born.view(*born.shape, *[1] * (tensor.dim() - 2)), value)

    return initialize
