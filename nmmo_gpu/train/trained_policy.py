"""Plays environments with the policies of a run."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError, UsageError
from nmmo_gpu.replay.columns import PolicyTrace
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.output import mask_logits
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import load_weights
from nmmo_gpu.train.sampling import most_likely
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity import Decision, Sword, trinity_of
from nmmo_gpu.train.trinity.classes import Part
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

CPU = torch.device("cpu")


def load_policy(
    path: str | PathLike[str], trinity: Part | Sequence[Part] | None = None, greedy: bool = False,
    device: str | torch.device | None = None,
) -> TrainedPolicy:  # fmt: skip
    """Loads the policies of a run::

        policy = nmmo_gpu.load_policy("runs/chaos")
        env = nmmo_gpu.make("chaos", realms=4)
        env.reset()
        for tick in range(1000):
            env.step(policy(env))

    Args:
        path: folder of the run, or its checkpoint file.
        trinity: the custom classes that the run was made with, of which the Sword and its network matter: a
            ``Trinity``, a subclass of Sword or of ``torch.nn.Module``, or several of these. None for a run
            without custom classes. The checkpoint names its classes, but they are not imported by that name.
        greedy: choose the most likely action of every head that is possible, in place of a sample.
        device: where the weights are kept, and the only device of environments to play. None to play on the
            device of each environment.

    Returns:
        Chooses the actions of an environment, as ``TrainedPolicy`` describes.

    Raises CheckpointError if the checkpoint cannot be read, names other classes, or has tensors other than
    theirs; ConfigError for an unknown device, and as ``nmmo_gpu.train.trinity.trinity_of`` does."""
    parts = () if trinity is None else tuple(trinity) if isinstance(trinity, (list, tuple)) else (trinity,)
    stored = checkpoint.load(Path(path), CPU, policy_only=True)
    return TrainedPolicy(stored, trinity_of(*parts).sword, greedy, device)


class TrainedPolicy:
    """The policies of a run: ``policy(env)`` returns actions for the newest observation of an environment.

    The environment can have other realms, seeds, births and maps than the training, but no other rules. Each
    population of the environment is played by the same population of the run; ``as_population`` changes this.

    Every environment is played by a Sword of its own, which keeps the recurrent state of its agents. Several
    environments can be played in turn, and do not influence each other. The recurrent state of a slot becomes
    zero when its agent changes. Call the policy once in every tick; a second call in the same tick returns
    the same actions. Random numbers depend only on the environment's seed, tick, realm and slot, so worlds
    can be reproduced, and torch's generators are not used.

    A copy of the policy, or one that is sent to another process, begins with zeros for all agents."""

    def __init__(
        self, stored: Checkpoint, sword: type[Sword] = Sword, greedy: bool = False,
        device: str | torch.device | None = None, any_rules: bool = False,
    ) -> None:  # fmt: skip
        """Loads the policies of a checkpoint.

        Args:
            stored: the checkpoint; only its ``policy.*`` tensors are needed.
            sword: the Sword that the run was made with.
            greedy: as for ``load_policy``.
            device: as for ``load_policy``.
            any_rules: also play environments with other rules, if their observations have the same layout.

        Raises CheckpointError if the checkpoint names other classes, or has tensors other than theirs."""
        self.config = stored.config
        """The settings of the run."""
        self.greedy = checked("greedy", greedy, bool)
        self.device = None if device is None else resolve_device(str(device))
        """The device to play on; None for that of each environment."""
        self._any_rules, self._sword = any_rules, sword
        weights = {name: t for name, t in stored.tensors.items() if name.startswith("policy.")}
        weights = {name: t.to(self.device or CPU) for name, t in weights.items()}
        self._stored = dataclasses.replace(stored, tensors=weights)
        # Refuses an unsuitable checkpoint now, not when it plays.
        anywhere = dataclasses.replace(self.config.env, device="cpu", backend="torch", maps=())
        loaded = self._loaded(anywhere, CPU)
        self.heads = loaded.choices()
        """``name -> number of choices`` of the heads of the policies, in order (``Sword.choices``)."""
        self._mappable = isinstance(loaded.policy, Policy)
        self._players: WeakKeyDictionary[Env, _Player] = WeakKeyDictionary()

    def __call__(self, env: Env) -> Tensor:
        """Returns the actions of all agents for the newest observation.

        Args:
            env: the environment, after its ``reset``.

        Returns:
            [R, A, heads] int64, on ``env.device``. Actions of empty slots are in range, and ignored.

        Raises ConfigError if the environment has other rules than the training, or another device than
        ``device``; UsageError before ``env.reset()``."""
        if not env.begun:
            raise UsageError("the policy was called before env.reset(); call env.reset() once, first.")
        return self._player(env).act(env)

    def reset(self, env: Env | None = None, state: Tensor | None = None) -> None:
        """Forgets the recurrent states of the agents of an environment, so that they continue with zeros.

        Args:
            env: the environment; None for all environments.
            state: [R * A, hidden] float32, the states with which the agents of ``env`` continue instead.

        Raises UsageError for ``state`` without ``env``; other errors as a call of the policy."""
        if env is None:
            if state is not None:
                raise UsageError("reset(state=...) needs the environment of these agents; give it as env.")
            self._players.clear()
            return
        self._players.pop(env, None)
        if state is not None:
            self._player(env).remember(env.world, state)

    def as_population(self, source: int) -> TrainedPolicy:
        """Returns a policy that plays every population as one of the run's populations.

        Args:
            source: number of the population of the run.

        Raises ConfigError if there is no such population, or if the network is not a subclass of
        ``nmmo_gpu.train.policy.Policy``, whose tensors have the populations as their first dimension."""
        source, populations = checked("source", source, int), self.config.env.world.populations
        if not 0 <= source < populations:
            raise ConfigError(f"source = {source} is not a population; choose from 0 to {populations - 1}.")
        if not self._mappable:
            raise ConfigError(
                f"the network {self._stored.classes.network} is not a subclass of "
                "nmmo_gpu.train.policy.Policy, so the weights of a population are unknown; play each "
                "population as itself."
            )
        tensors = {
            name: t[source : source + 1].expand_as(t).contiguous() for name, t in self._stored.tensors.items()
        }
        stored = dataclasses.replace(self._stored, tensors=tensors)
        return TrainedPolicy(stored, self._sword, self.greedy, self.device, self._any_rules)

    def sword(self, env: Env) -> Sword:
        """Returns the Sword that plays an environment; errors as a call of the policy."""
        return self._player(env).sword

    def policy_trace(self, env: Env, realms: Tensor) -> PolicyTrace:
        """Returns the probabilities and values behind the last actions, for recordings.

        Args:
            env: the environment, not stepped since the actions were chosen.
            realms: [k] int64, the realms to record.

        Raises UsageError if no actions were chosen, and as ``Sword.policy_trace`` does."""
        player = self._player(env)
        if player.decided is None:
            raise UsageError("no actions of this environment have been chosen yet; call the policy, first.")
        records, decision = player.decided
        return player.sword.policy_trace(records, env.world, decision, realms)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_players": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_players": WeakKeyDictionary()}

    def _player(self, env: Env) -> _Player:
        """Returns the player of an environment; it is made in the first call."""
        player = self._players.get(env)
        if player is None:
            if not self._any_rules:
                check_rules(self.config.env.world, env.config.world)
            if self.device is not None and self.device != env.device:
                raise ConfigError(
                    f"device = {str(self.device)!r}, but the environment is on {env.device}; load the policy "
                    "with its device, or without one."
                )
            sword = self._loaded(env.config, env.device)
            player = self._players[env] = _Player(sword, self.greedy, env.world)
        return player

    @default_modes()
    def _loaded(self, env: EnvConfig, device: torch.device) -> Sword:
        """Returns a Sword with the weights, for an environment on a device; torch's generators keep their
        states."""
        config = dataclasses.replace(self.config, env=env, record=())
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            sword = self._sword(config, device)
        with torch.no_grad():
            load_weights(sword, self._stored)
        return sword


def check_rules(trained: WorldConfig, played: WorldConfig) -> None:
    """Raises ConfigError, which lists the differences, if a policy was trained with rules other than those of
    the world that it is to play; ``births`` may differ."""
    names = [field.name for field in dataclasses.fields(WorldConfig) if field.name != "births"]
    pairs = {name: (getattr(trained, name), getattr(played, name)) for name in names}
    differing = [
        f"{name} = {reprlib.repr(was)}, here {reprlib.repr(now)}"
        for name, (was, now) in pairs.items()
        if was != now
    ]
    if differing:
        raise ConfigError(
            f"the policy was trained with rules other than those of this world ({'; '.join(differing)}); "
            "choose the preset and options that it was trained with."
        )


class _Player:
    """The Sword that plays one environment, and the recurrent states of its agents."""

    @default_modes()
    @torch.no_grad()
    def __init__(self, sword: Sword, greedy: bool, world: World) -> None:
        self.sword = sword
        self._most_likely = _MostLikely() if greedy else None
        if self._most_likely is not None:
            sword.training_backend = dataclasses.replace(
                sword.training_backend, choose=None, sample=self._most_likely
            )
        self._weights = sword.policy.weights()
        self.decided: tuple[Tensor, Decision] | None = None
        """The newest records, and the decision for them."""
        self.remember(world, sword.policy.initial_state(world.agents(world.alive).numel(), world.device))

    @default_modes()
    @torch.no_grad()
    def remember(self, world: World, state: Tensor | None) -> None:
        """Begins with these recurrent states of a world's agents; None for a policy without."""
        self._before = self._after = state
        self._tick = torch.full_like(world.tick, -1)
        self._entity = world.agents(world.entity).clone()

    @default_modes()
    @torch.no_grad()
    def act(self, env: Env) -> Tensor:
        """Returns the actions for an environment's newest observation."""
        state = self._recalled(env.world)
        with self.sword.policy.using(self._weights):
            decision = self.sword.decide(env.records, env.world, state)
        if self._most_likely is not None:
            self._most_likely.check_called(self.sword)
        self.decided, self._after = (env.records, decision), decision.state
        return decision.actions

    def _recalled(self, world: World) -> Tensor | None:
        """Returns the recurrent states before the tick's decision: zeros for agents that are new in their
        slots. In a second call for a tick, these are the states before the first."""
        if self._before is None or self._after is None:
            return None
        entity = world.agents(world.entity)
        known = (entity == self._entity).reshape(-1, 1)
        self._before = torch.where(world.tick == self._tick, self._before, self._after) * known
        self._tick, self._entity = world.tick.clone(), entity.clone()
        return self._before


class _MostLikely:
    """``TrainingBackend.sample`` for greedy policies."""

    def __init__(self) -> None:
        self._called = False

    def __call__(
        self,
        records: Tensor,
        index: Tensor,
        logits: Tensor,
        draws: Tensor,
        layout: ObservationLayout,
        auto: bool,
    ) -> tuple[Tensor, Tensor]:
        """Returns (choices [P, B, heads] int64, their joint log-probability [P, B]).

        Args:
            records: [rows, bytes] uint8.
            index: [P, B] int64, the rows of each population.
            logits: [P, B, n] float32, not masked.
            draws: ignored.
            layout: layout of the records.
            auto: whether the policies target automatically."""
        self._called = True
        views = layout.views(records[index])
        return most_likely(mask_logits(logits, views, "auto" if auto else "learned"))

    def check_called(self, sword: Sword) -> None:
        """Raises UsageError if ``decide`` has chosen actions in another way."""
        if not self._called:
            raise UsageError(
                f"greedy = True has no effect on {type(sword).__name__}.decide() with a "
                f"{type(sword.policy).__name__}, as it does not call training_backend.sample; play without "
                "greedy."
            )
        self._called = False
