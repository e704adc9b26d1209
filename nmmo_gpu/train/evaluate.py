"""Playing without learning: how long agents live, and what they die of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.economy import economy_counts_on_host, economy_metrics
from nmmo_gpu.train.metrics import Tally
from nmmo_gpu.train.run import load_policy
from nmmo_gpu.train.trinity import Decision, Sword

Actor = Callable[[Env], Tensor]
"""Chooses [R, A, heads] actions from the environment's newest observation."""

LIFETIMES = 10
"""A measurement lasts at least this many mean lifetimes."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured."""

    ticks: int
    """Length of the measured stretch, ticks."""
    summary: dict[str, float]
    """As ``Tally.summary``; in the full game also ``nmmo_gpu.train.economy.economy_metrics``."""

    @property
    def lifetime(self) -> float:
        """Agent-steps lived / deaths; infinite if nobody died."""
        return self.summary.get("lifetime/mean", float("inf"))


def evaluate(
    config: EnvConfig,
    actor: Callable[[Env], Actor] | None = None,
    max_ticks: int = 20_000,
    warmup: int = 200,
    shortest: int = 0,
) -> Evaluation:
    """Plays a fresh world with an actor, random actions by default.

    First ``warmup`` ticks, and as long again as mean lifetimes call for, are played and not counted: a
    world that has just begun holds only the young. Then at least 10 mean lifetimes and ``shortest`` ticks
    are measured, or until ``max_ticks`` in all.
    """
    if warmup < 1:
        raise ConfigError(f"warmup = {warmup} plays nothing; choose 1 tick or more.")
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
    before = economy_counts_on_host(env.world)
    measured = 0
    while True:
        play(warmup)
        played, measured = played + warmup, measured + warmup
        summary = tally.summary()
        enough = max(shortest, LIFETIMES * summary.get("lifetime/mean", float("inf")))
        if measured >= enough or played >= max_ticks:
            if before:
                lived = round(summary["agent_steps"])
                summary |= economy_metrics(
                    config.world, before, economy_counts_on_host(env.world), lived, config.realms
                )
            return Evaluation(measured, summary)


class PolicyActor:
    """Chooses by a checkpoint's policies."""

    def __init__(
        self, stored: Checkpoint, env: Env, memory: Tensor | None = None, sword: type[Sword] = Sword
    ) -> None:
        """Loads the policies.

        Args:
            memory: [R * A, hidden] to go on with, of a recurrent policy; none if not given.
            sword: the class that the run was trained with, or one with the same network.

        Raises CheckpointError if the checkpoint's network is another class than the Sword's."""
        self.sword = sword(dataclasses.replace(stored.config, env=env.config, record=()), env.device)
        load_policy(self.sword, stored)
        with torch.no_grad():
            self._weights = self.sword.policy.weights()
        agents = env.config.realms * env.config.world.slots
        self._memory = self.sword.policy.initial_state(agents, env.device) if memory is None else memory
        self._before: tuple[Tensor, Decision] | None = None

    def __call__(self, env: Env) -> Tensor:
        """[R, A, heads] actions, from the environment's newest observation."""
        memory = self._memory
        if memory is not None:
            # Whoever was born since has no memory, and the dead have no use for theirs.
            memory = memory * (env.world.agents(env.world.age) > 1).reshape(-1, 1)
        with self.sword.policy.using(self._weights):
            decision = self.sword.decide(env.records, env.world, memory)
        self._before, self._memory = (env.records, decision), decision.memory
        return decision.actions

    def policy_trace(self, env: Env, realms: Tensor) -> PolicyTrace:
        """What it thought when it chose the last actions, before they are carried out; see
        ``Sword.policy_trace``."""
        assert self._before is not None, "it has not chosen yet"
        return self.sword.policy_trace(self._before[0], env.world, self._before[1], realms)


def policy_actor(stored: Checkpoint, sword: type[Sword] = Sword) -> Callable[[Env], PolicyActor]:
    """An actor with a checkpoint's policies; ``sword`` and errors as for ``PolicyActor``."""
    return lambda env: PolicyActor(stored, env, sword=sword)


HELD_OUT_SEED = 1_000_003
"""Added to a run's seed for evaluation, so that generated maps are ones it was not trained on."""


def as_v1_ran(config: EnvConfig, **changes: Any) -> EnvConfig:
    """The world that a policy was trained in, with v1's single birth a tick, on other maps and dice.

    ``changes`` replace further fields, such as ``maps`` for files in place of generated terrain."""
    fresh: dict[str, Any] = {
        "seed": config.seed + HELD_OUT_SEED,
        "maps": (),
        "shared_map": False,
        "realms": 16,
        "world": dataclasses.replace(config.world, births=1),
        "check_actions": False,
        "backend": "auto",  # a policy trained on a GPU can be played anywhere
    }
    return dataclasses.replace(config, **(fresh | changes))


def slots_kept_full(config: EnvConfig) -> EnvConfig:
    """The same with every free slot refilled at once."""
    return dataclasses.replace(config, world=dataclasses.replace(config.world, births=-1))


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
"""Columns of ``economy_row``: names in ``Evaluation.summary`` that are added up."""


def economy_row(name: str, evaluation: Evaluation) -> list[str]:
    """Cells for a table: name, lifetime, then ``ECONOMY``: sum of levels and pieces worn per agent, gold and
    its Gini coefficient; all others per 1000 agent-steps. ``hunted``: NPCs killed by agents."""
    summary = dict(evaluation.summary)
    summary["hunted"] = sum(value for key, value in summary.items() if key.endswith(" kills"))
    cells = [sum(summary[key] for key in keys) for keys in ECONOMY.values()]
    return [name, f"{evaluation.lifetime:.1f}", *(f"{cell:.2f}" for cell in cells)]


def table_row(name: str, evaluation: Evaluation) -> list[str]:
    """Cells for a table: name, mean, median, 90th percentile, alive, then shares of the causes of death."""
    summary = evaluation.summary
    if "lifetime/mean" not in summary:
        return [name, f"> {evaluation.ticks}", *["-"] * 7]
    causes = [f"{100 * summary[f'deaths/{cause}']:.1f} %" for cause in ("lava", "hunger", "thirst", "combat")]
    return [
        name,
        f"{evaluation.lifetime:.1f}",
        f"{summary['lifetime/median']:.0f}",
        f"{summary['lifetime/90th percentile']:.0f}",
        f"{summary['population/alive per realm']:.1f}",
        *causes,
    ]
