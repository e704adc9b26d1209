"""Evaluation without learning: lifetimes and causes of death."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import Bounds, checked
from nmmo_gpu.config.seeds import offset_seed
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.economy import economy_counts_on_host, economy_metrics
from nmmo_gpu.train.metrics import Tally
from nmmo_gpu.train.run import load_policy
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity import Decision, Sword

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
    """Metrics of ``Tally.summary``; in the full game also of ``nmmo_gpu.train.economy.economy_metrics``."""

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
    """Chooses actions with a checkpoint's policies."""

    @default_modes()
    def __init__(
        self, stored: Checkpoint, env: Env, state: Tensor | None = None, sword: type[Sword] = Sword
    ) -> None:
        """Loads the policies.

        Args:
            stored: the checkpoint.
            env: the environment to play.
            state: [R * A, hidden], initial recurrent state of a recurrent policy; None for zeros.
            sword: the class that the run was trained with, or one with the same network.

        Raises CheckpointError if the checkpoint's network class is not the Sword's."""
        self.sword = sword(dataclasses.replace(stored.config, env=env.config, record=()), env.device)
        load_policy(self.sword, stored)
        with torch.no_grad():
            self._weights = self.sword.policy.weights()
        agents = env.config.realms * env.config.world.slots
        self._state = self.sword.policy.initial_state(agents, env.device) if state is None else state
        self._before: tuple[Tensor, Decision] | None = None

    def __call__(self, env: Env) -> Tensor:
        """Returns [R, A, heads] actions for the environment's newest observation."""
        state = self._state
        if state is not None:
            # Agents born in the last tick start with a zero recurrent state.
            state = state * (env.world.agents(env.world.age) > 1).reshape(-1, 1)
        with self.sword.policy.using(self._weights):
            decision = self.sword.decide(env.records, env.world, state)
        self._before, self._state = (env.records, decision), decision.state
        return decision.actions

    def policy_trace(self, env: Env, realms: Tensor) -> PolicyTrace:
        """Returns the policy outputs behind the last actions; call it before they are carried out.

        See ``Sword.policy_trace``."""
        assert self._before is not None, "no actions have been chosen yet"
        return self.sword.policy_trace(self._before[0], env.world, self._before[1], realms)


def policy_actor(stored: Checkpoint, sword: type[Sword] = Sword) -> Callable[[Env], PolicyActor]:
    """Returns an actor with a checkpoint's policies; ``sword`` and errors as for ``PolicyActor``."""
    return lambda env: PolicyActor(stored, env, sword=sword)


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
        "backend": "auto",  # a policy trained on a GPU can be played anywhere
    }
    return dataclasses.replace(config, **(fresh | changes))


def slots_kept_full(config: EnvConfig) -> EnvConfig:
    """Returns the same config, with every free slot refilled at once."""
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
