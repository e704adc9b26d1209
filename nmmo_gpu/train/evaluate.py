"""Evaluation without learning: lifetimes and causes of death."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import Bounds, checked
from nmmo_gpu.config.seeds import offset_seed
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.metrics import Tally
from nmmo_gpu.train.trained_policy import TrainedPolicy
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.train.world_metrics import world_counts_on_host, world_metrics

Actor = Callable[[Env], Tensor]
"""Returns [R, A, heads] actions for the environment's newest observation."""

LIFETIMES = 10
"""A measurement lasts at least this many mean lifetimes."""


@dataclass(frozen=True)
class Evaluation:
    """The result of ``evaluate``."""

    ticks: int
    """Length of the measurement in ticks."""
    summary: dict[str, float]
    """Metrics of ``Tally.summary``; also those of ``nmmo_gpu.train.world_metrics``."""

    @property
    def lifetime(self) -> float:
        """Mean lifetime: agent-steps / deaths; infinite without deaths."""
        return self.summary.get("lifetime/mean", float("inf"))


def evaluate(
    config: EnvConfig,
    actor: Callable[[Env], Actor] | None = None,
    max_ticks: int = 20_000,
    warmup: int = 200,
    shortest: int = 0,
) -> Evaluation:
    """Plays a new world and measures it.

    A new world holds only young agents, so the first ticks are not counted: multiples of ``warmup``, until at
    least 2 mean lifetimes have passed. The measurement then lasts at least 10 mean lifetimes and ``shortest``
    ticks, unless ``max_ticks`` is reached first.

    Args:
        config: the world.
        actor: returns an actor for an environment; None for random actions.
        max_ticks: limit on the total number of ticks.
        warmup: ticks played at a time.
        shortest: minimum length of the measurement in ticks.

    Raises ConfigError if a number of ticks is not an integer, or out of range."""
    warmup = checked("warmup", warmup, Annotated[int, Bounds(ge=1)])
    max_ticks = checked("max_ticks", max_ticks, Annotated[int, Bounds(ge=1)])
    shortest = checked("shortest", shortest, Annotated[int, Bounds(ge=0)])
    warmup = min(warmup, max(1, max_ticks // 2))
    env = Env(config)
    env.reset()
    act = actor(env) if actor else random_actions
    tally = Tally(env.device)

    def play(ticks: int) -> None:
        for _ in range(ticks):
            acted = env.world.agents(env.world.alive).clone()
            actions = act(env)
            env.step(actions)
            tally.add(env.world, acted, actions[..., 2] > 0)

    play(warmup)
    played = warmup
    while True:
        lifetime = tally.summary().get("lifetime/mean", float("inf"))
        if played >= min(2 * lifetime, max_ticks / 2):
            break
        play(warmup)
        played += warmup
    tally.reset()
    before = world_counts_on_host(env.world)
    measured = 0
    while True:
        play(warmup)
        played, measured = played + warmup, measured + warmup
        summary = tally.summary()
        enough = max(shortest, LIFETIMES * summary.get("lifetime/mean", float("inf")))
        if measured >= enough or played >= max_ticks:
            if before:
                lived = round(summary["agent_steps"])
                summary |= world_metrics(
                    config.world, before, world_counts_on_host(env.world), lived, config.realms
                )
            return Evaluation(measured, summary)


def policy_actor(stored: Checkpoint, sword: type[Sword] = Sword) -> Callable[[Env], TrainedPolicy]:
    """Returns an actor with a checkpoint's policies, for ``evaluate``. It also plays under rules other than
    those of the training, if the observations have the same layout.

    Args:
        stored: the checkpoint.
        sword: as for ``TrainedPolicy``, whose errors are raised."""
    policy = TrainedPolicy(stored, sword, any_rules=True)
    return lambda env: policy


HELD_OUT_SEED = 1_000_003
"""Added to a run's seed for evaluation, so that the generated maps differ from the training maps."""


def as_v1_ran(config: EnvConfig, **changes: Any) -> EnvConfig:
    """Returns the config of a policy's world with one birth per tick, as in v1, and held-out maps and seed.

    ``changes`` replace further fields, such as ``maps`` to use files instead of generated terrain."""
    fresh: dict[str, Any] = {
        "seed": offset_seed(config.seed, HELD_OUT_SEED),
        "maps": (),
        "shared_map": False,
        "realms": 16,
        "world": dataclasses.replace(config.world, births=1),
        "check_actions": False,
        "backend": playing_backend(config.backend),
    }
    return dataclasses.replace(config, **(fresh | changes))


def slots_kept_full(config: EnvConfig) -> EnvConfig:
    """Returns the same config, with every free slot refilled at once."""
    return dataclasses.replace(config, world=dataclasses.replace(config.world, births=-1))


def playing_backend(backend: str) -> Literal["auto", "torch"]:
    """Returns the backend to play with what another backend has trained, anywhere: the fastest one, but only
    torch if the training was to use only torch."""
    return "torch" if backend == "torch" else "auto"


ECONOMY = {
    "levels": ("level/total",),
    "fished": ("events/fished",),
    "mined": ("events/mined",),
    "cooked": ("events/cooked",),
    "smithed": ("events/smithed",),
    "eaten": ("events/eaten",),
    "wear": ("worn/sword", "worn/knife", "worn/armor"),
    "traded": ("events/sold",),
    "kills": ("events/agents killed",),
    "hunted": ("hunted",),
    "gold": ("wealth/gold",),
    "gini": ("wealth/gini",),
}
"""Columns of ``economy_row``: each is the sum of the named entries of ``Evaluation.summary``."""


def economy_row(name: str, evaluation: Evaluation) -> list[str]:
    """Returns the cells of a table row: name, mean lifetime, then the columns of ``ECONOMY``.

    Levels, pieces worn and gold are means per agent, ``gini`` is the Gini coefficient of gold, and all others
    are counts per 1000 agent-steps; ``hunted`` counts NPCs killed by agents."""
    summary = dict(evaluation.summary)
    summary["hunted"] = sum(value for key, value in summary.items() if key.endswith(" kills"))
    cells = [sum(summary[key] for key in keys) for keys in ECONOMY.values()]
    return [name, _lifetime_cell(evaluation), *(f"{cell:.2f}" for cell in cells)]


def _lifetime_cell(evaluation: Evaluation) -> str:
    """Returns the mean lifetime; without deaths only a bound, and nothing if no agent lived."""
    if "lifetime/mean" in evaluation.summary:
        return f"{evaluation.lifetime:.1f}"
    return f"> {evaluation.ticks}" if evaluation.summary["agent_steps"] else "-"


def table_row(name: str, evaluation: Evaluation) -> list[str]:
    """Returns the cells of a table row: name; mean, median and 90th percentile of lifetimes; agents alive per
    realm; shares of the causes of death."""
    summary = evaluation.summary
    if "lifetime/mean" not in summary:
        return [name, _lifetime_cell(evaluation), *["-"] * 7]
    causes = [f"{100 * summary[f'deaths/{cause}']:.1f} %" for cause in ("lava", "hunger", "thirst", "combat")]
    return [
        name,
        _lifetime_cell(evaluation),
        f"{summary['lifetime/median']:.0f}",
        f"{summary['lifetime/90th percentile']:.0f}",
        f"{summary['population/alive per realm']:.1f}",
        *causes,
    ]
