"""``nmmo-gpu eval``: compares the lifetimes of a checkpoint's policies with scripted and random policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from nmmo_gpu import scripted
from nmmo_gpu.config import PRESETS
from nmmo_gpu.config.bounds import Bounds, check_fields
from nmmo_gpu.config.seeds import Seed
from nmmo_gpu.config.systems import System
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train import evaluate as evaluation
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.trinity import trinity_named


@dataclass(frozen=True)
class EvalConfig:
    """Evaluates policies under v1's conditions (one birth per tick), and with the slots kept full."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of the run, or a checkpoint file; or a preset, to evaluate only untrained policies."""
    scripted: tuple[Literal["forager", "hunter"], ...] = ()
    """Scripted policies to evaluate as well."""
    realms: Annotated[int, Bounds(ge=1)] | None = None
    """Number of realms; by default 16, or the number of the training run if that is smaller."""
    seed: Seed | None = None
    """Seed of maps and random numbers; by default not the run's seed, so that the maps are new."""
    maps: tuple[str, ...] = ()
    """Tiled .tmx files to use instead of generated terrain."""
    max_ticks: Annotated[int, Bounds(ge=1)] = 20_000
    """Maximum number of ticks, even if ten mean lifetimes have not passed."""
    full: bool = True
    """Also evaluate with the slots kept full."""
    device: str = "auto"
    """Device to run on."""
    trinity: tuple[str, ...] = ()
    """Custom classes of the run, each as module:Class or file.py:Class: Sword, or its network."""
    systems: Annotated[tuple[System, ...], tyro.conf.Suppress] = ()
    """Systems to add to the preset, from ``--system``."""

    def __post_init__(self) -> None:
        check_fields(self)


def evaluate(options: EvalConfig) -> None:
    """Evaluates each policy, and prints a table of the lifetimes."""
    actors: dict[str, Callable[[Env], evaluation.Actor]] = {}
    if options.run in PRESETS:
        config = train_preset(options.run).env
        config = replace(config, world=replace(config.world, systems=options.systems))
    else:
        if options.systems:
            raise ConfigError(
                f"--system adds a system to a preset, but {options.run} is a run, which has the systems that "
                "it was trained with; give --import instead, with the same module or file."
            )
        stored = checkpoint.load(Path(options.run), torch.device("cpu"))
        config = stored.config.env
        actors["trained"] = evaluation.policy_actor(stored, trinity_named(options.trinity).sword)
    for name in (*options.scripted, "random"):
        actors[name] = scripted.actor(name)
    realms = options.realms or min(16, config.realms)
    changes: dict[str, Any] = {"realms": realms, "device": options.device}
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.maps:
        changes["maps"] = options.maps
    world = evaluation.as_v1_ran(config, **changes)
    settings = {"lifetimes as v1 ran: one birth a tick": world}
    if options.full:
        settings["lifetimes with the slots kept full"] = evaluation.slots_kept_full(world)
    console = Console(soft_wrap=True)
    for title, env in settings.items():
        # No edge, so that the longest row fits in 80 columns.
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False)
        for column in ("", "mean", "median", "90 %", "alive", "lava", "hunger", "thirst", "combat"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        for name, actor in actors.items():
            played = evaluation.evaluate(env, actor, options.max_ticks)
            table.add_row(*evaluation.table_row(f"{name}, {played.ticks} ticks", played))
        console.print(table)
        console.print()
    fresh = (
        " These worlds are new: their maps and random numbers differ from those of the training."
        if "trained" in actors
        else ""
    )
    console.print("mean: lifetime, agent-steps lived / deaths." + fresh)
