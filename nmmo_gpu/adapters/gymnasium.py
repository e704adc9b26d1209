"""Gymnasium: every slot as a sub-environment of one vector environment, or one slot as an environment.

Importing this module registers both as ``nmmo_gpu/Law-v0``, ``nmmo_gpu/Chaos-v0`` and ``nmmo_gpu/Full-v0``:

    envs = gymnasium.make_vec("nmmo_gpu.adapters.gymnasium:nmmo_gpu/Chaos-v0", num_envs=256, births=-1)

where the part before the colon names the module to import, because Gymnasium does not load plugins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from nmmo_gpu.adapters.spaces import action_space, arrays, observation_space, shaped
from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import Bounds, checked
from nmmo_gpu.config.seeds import MAX_SEED
from nmmo_gpu.env import Env, configure, random_actions
from nmmo_gpu.errors import ActionError, ConfigError, UsageError
from nmmo_gpu.world.device import resolve_device

GymnasiumSeed = Annotated[int, Bounds(ge=0, le=MAX_SEED)] | None
"""Gymnasium has no negative seeds."""

MAX_WAIT_TICKS = 10_000
"""Ticks for which ``SingleAgentEnv.reset`` waits for a birth in its slot."""


class VectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """All slots of all realms as sub-environments, realm by realm: slot s of realm r has index
    r * slots + s.

    Autoreset is Gymnasium's NEXT_STEP. In the step in which a slot's agent dies, ``terminated`` is True, the
    reward is the agent's last, and the observation is all zeros. In the next step the slot's action is
    ignored, the reward is 0, and the observation is the first of the slot's next agent. If no agent spawned
    in the slot, it stays empty: zeros, reward 0, not terminated, its action ignored, until an agent spawns.
    ``infos["alive"]`` says which slots hold an agent; with ``births=-1`` a slot is rarely empty for longer
    than that one step. ``truncated`` is always False.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        config: EnvConfig | str = "chaos",
        *,
        num_envs: int | None = None,
        output: Literal["numpy", "torch"] = "numpy",
        **settings: Any,
    ) -> None:
        """Checks the settings; ``reset`` creates the world.

        Args:
            config: the batch of realms, or a preset's name, to which ``settings`` are added as in
                ``nmmo_gpu.make``.
            num_envs: number of sub-environments, a multiple of the slots of a realm; replaces ``realms``.
            output: "numpy" returns arrays that belong to the caller. They are never overwritten; on a CPU
                this costs an allocation in each step. "torch" returns the environment's own tensors, on its
                device and without a copy: observations are valid until the step after the next, all other
                tensors until the next step (with NPCs, ``entity``, ``lifetime`` and ``cause`` are copies).
                Masks are bool tensors, and wrappers made for NumPy may not work with them.

        Raises ConfigError for an invalid config.
        """
        self.config = _batch(config, settings, num_envs)
        if output not in ("numpy", "torch"):
            raise ConfigError(f'output = {output!r} is unknown; choose "numpy" or "torch".')
        self.output = output
        self.device = resolve_device(self.config.device)
        self.num_envs = self.config.realms * self.config.world.slots
        self.single_observation_space = observation_space(self.config.world)
        self.single_action_space = action_space(self.config.world)
        self.native: Env | None = None
        """The underlying environment, once ``reset`` has been called."""

    # Created on demand: the bounds of a million sub-environments take gigabytes.
    @cached_property
    def observation_space(self) -> Space[Any]:  # type: ignore[override]
        """``single_observation_space``, ``num_envs`` times."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> Space[Any]:  # type: ignore[override]
        """``single_action_space``, ``num_envs`` times."""
        return batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins a world. Worlds never end, so this discards the world of an earlier ``reset``.

        Args:
            seed: of the world. By default, the config's seed for the first world, and then seeds drawn from
                ``np_random``.
            options: must be empty.

        Returns:
            observations: as ``step`` returns them.
            infos: as ``step`` returns them.
        """
        _refuse(options)
        seed = checked("seed", seed, GymnasiumSeed)
        super().reset(seed=seed)
        if seed is None and self._np_random is None:
            seed = self.config.seed
            self._np_random, self._np_random_seed = seeding.np_random(seed % (1 << 63))
        elif seed is None:
            seed = int(self.np_random.integers(1 << 63))
        self.native = None  # frees the memory of the old world before the new one is allocated
        self.native = Env(dataclasses.replace(self.config, seed=seed))
        self.native.reset(out=self._buffer(self.native))
        none_died = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        return self._observations(self.native), self._infos(self.native, none_died)

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Runs one tick.

        Args:
            actions: [num_envs, heads] integers: an array, or with output "torch" a tensor on the device.

        Returns:
            observations: ``name -> [num_envs, ...]``.
            rewards: [num_envs] float32.
            terminations: [num_envs] bool, the slot's agent has died.
            truncations: [num_envs] bool, always False.
            infos: ``alive`` (bool, the slot holds a living agent); of the slot's agent, living or just dead,
                ``entity`` (int64 id, unique within the realm and never reused), ``lifetime`` (int32 ticks)
                and ``explored`` (int32 tiles); and of agents that have just died ``cause`` (uint8,
                ``nmmo_gpu.world.state.Cause``). Each is [num_envs], and has a mask, ``_alive`` and so on,
                that is True where the value is valid.

        Raises ActionError for invalid actions, and UsageError before ``reset``.
        """
        native = _begun(self.native)
        _, reward, died, truncated, _ = native.step(self._actions(native, actions), out=self._buffer(native))
        return (
            self._observations(native),
            self._give(reward.view(-1)),
            self._give(died.view(-1)),
            self._give(truncated.view(-1)),
            self._infos(native, died.view(-1)),
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the world."""
        self.native = None

    def _actions(self, native: Env, actions: Any) -> Tensor:
        """[R, A, heads], on the device. The underlying environment checks the values."""
        if self.output == "numpy":
            numbers = np.array(actions)
            if numbers.dtype.kind not in "iu":
                raise ActionError(f"actions has dtype {numbers.dtype}; give integers, such as np.int64.")
            actions = torch.as_tensor(numbers, device=self.device)
        elif not isinstance(actions, Tensor):
            raise ActionError(f'actions is a {type(actions).__name__}; with output = "torch" give a tensor.')
        expected = (self.num_envs, len(native.action_heads))
        if tuple(actions.shape) != expected:
            raise ActionError(
                f"actions has shape {tuple(actions.shape)}; give {expected}: sub-environments, "
                f"({', '.join(native.action_heads)})."
            )
        per_realm: Tensor = actions.reshape(self.config.realms, self.config.world.slots, -1)
        return per_realm

    def _buffer(self, native: Env) -> Tensor | None:
        """A new buffer for an observation that the caller keeps; None to use the environment's own."""
        if self.output == "torch" or self.device.type != "cpu":
            return None
        return torch.empty_like(native.records)

    def _observations(self, native: Env) -> dict[str, Any]:
        records = native.records.flatten(0, 1)
        if self.output == "torch":
            return shaped(native.layout.views(records))
        return arrays(native.layout.views(records.cpu()))

    def _infos(self, native: Env, died: Tensor) -> dict[str, Any]:
        world = native.world
        alive = native.layout.views(native.records)["alive"].reshape(-1)
        known = alive | died
        infos = {}
        for name, values, where in (
            ("alive", alive, torch.ones_like(alive)),
            ("entity", world.agents(world.entity), known),
            ("lifetime", world.agents(world.age), known),
            ("explored", world.explored, known),
            ("cause", world.agents(world.cause), died),
        ):
            infos[name], infos[f"_{name}"] = self._give(values.reshape(-1)), self._give(where)
        return infos

    def _give(self, tensor: Tensor) -> Any:
        return tensor if self.output == "torch" else tensor.to("cpu", copy=True).numpy()


class SingleAgentEnv(gymnasium.Env[dict[str, Any], Any]):
    """One slot of one realm. Its agents live one after the other, and each life is an episode.

    The other slots are played by ``others``. An agent's death is its ``terminated``, with an observation of
    all zeros; ``truncated`` is always False."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        config: EnvConfig | str = "chaos",
        *,
        slot: int = 0,
        others: Callable[[Env], Tensor] = random_actions,
        **settings: Any,
    ) -> None:
        """Checks the settings; ``reset`` creates the world.

        Args:
            config: one realm, or a preset's name, to which ``settings`` are added as in ``nmmo_gpu.make``.
            slot: the slot to play.
            others: called in each tick with the underlying environment; returns [1, slots, heads] integers.
                Its action for ``slot`` is used only while that slot is empty.

        Raises ConfigError for an invalid config.
        """
        if isinstance(config, str):
            settings.setdefault("realms", 1)
        self.config = _batch(config, settings)
        world = self.config.world
        if self.config.realms != 1:
            raise ConfigError(f"realms = {self.config.realms}: one agent lives in one realm; choose 1.")
        if world.births == 0:
            raise ConfigError(
                "with births = 0 no agent spawns, so there is no agent to play; choose 1, for example."
            )
        slot = checked("slot", slot, Annotated[int, Bounds(ge=0, le=world.slots - 1)])
        resolve_device(self.config.device)
        self.slot = slot
        self.others = others
        self.observation_space = observation_space(world)
        self.action_space = action_space(world)
        self.native: Env | None = None
        """The underlying environment, once ``reset`` has been called."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the first observation of an episode.

        With a seed, and the first time (then with the config's seed), it begins a new world. Otherwise the
        world continues: if the slot's agent is alive, because the last episode was truncated, its life
        continues too; if not, ticks are played until an agent spawns in the slot.

        Args:
            seed: of terrain and random numbers.
            options: must be empty.

        Returns:
            observation: of the slot's agent.
            info: as ``step`` returns it.

        Raises UsageError if no agent spawns within ``MAX_WAIT_TICKS`` ticks, or if ``options`` is not empty.
        """
        _refuse(options)
        seed = checked("seed", seed, GymnasiumSeed)
        super().reset(seed=seed)
        if seed is not None or self.native is None:
            self.native = None
            seed = self.config.seed if seed is None else seed
            self.native = Env(dataclasses.replace(self.config, seed=seed))
            self.native.reset()
        for _ in range(MAX_WAIT_TICKS):
            if self._alive():
                break
            self.native.step(self.others(self.native))
        else:
            raise UsageError(
                f"no agent spawned in slot {self.slot} within {MAX_WAIT_TICKS} ticks; choose more births "
                "(births = -1 fills every free slot), or fewer slots."
            )
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Runs one tick.

        Args:
            action: [heads] integers.

        Returns:
            observation: of the slot's agent; zeros after its death.
            reward: for this tick.
            terminated: the agent has died.
            truncated: always False.
            info: ``entity`` (id), ``lifetime`` (ticks), ``explored`` (tiles) and ``cause`` (of death, 0 while
                alive).

        Raises ActionError for an invalid action, and UsageError if ``reset`` must be called first.
        """
        native = _begun(self.native)
        if not self._alive():
            raise UsageError("the agent is dead; call reset() for the next one.")
        action = np.asarray(action)
        if action.dtype.kind not in "iu" or action not in self.action_space:
            raise ActionError(f"action = {action!r} is not in {self.action_space}; give such integers.")
        actions = self.others(native).clone()
        actions[0, self.slot] = torch.as_tensor(action, device=native.device)
        _, reward, died, _, _ = native.step(actions)
        at = 0, self.slot
        return self._observation(), float(reward[at]), bool(died[at]), False, self._info()

    def close(self) -> None:
        """Frees the world."""
        self.native = None

    def _alive(self) -> bool:
        return bool(_begun(self.native).world.alive[0, self.slot])

    def _observation(self) -> dict[str, Any]:
        native = _begun(self.native)
        return arrays(native.layout.views(native.records[0, self.slot].to("cpu", copy=True)))

    def _info(self) -> dict[str, Any]:
        world = _begun(self.native).world
        fields = {
            "entity": world.entity, "lifetime": world.age, "explored": world.explored, "cause": world.cause,
        }  # fmt: skip
        return {name: int(field[0, self.slot]) for name, field in fields.items()}


def _batch(config: EnvConfig | str, settings: dict[str, Any], num_envs: int | None = None) -> EnvConfig:
    """The config given by the arguments."""
    if isinstance(config, str):
        if num_envs is not None and "realms" in settings:
            raise ConfigError(
                f"realms = {settings['realms']} and num_envs = {num_envs}: give only one of the two; "
                "num_envs is realms * slots."
            )
        config = configure(config, **settings)
    elif settings:
        raise ConfigError(
            f"{', '.join(settings)}: an EnvConfig already has all settings; give a preset's name, or "
            "dataclasses.replace(config, ...)."
        )
    if num_envs is None:
        return config
    slots, num_envs = config.world.slots, checked("num_envs", num_envs, int)
    if num_envs < 1 or num_envs % slots:
        raise ConfigError(
            f"num_envs = {num_envs} is not a multiple of slots = {slots}: each slot is a sub-environment, "
            f"and the slots of a realm are stepped together; choose {slots} for one realm, or "
            "set slots and populations."
        )
    return dataclasses.replace(config, realms=num_envs // slots)


def _begun(native: Env | None) -> Env:
    if native is None:
        raise UsageError("there is no world yet; call reset() first.")
    return native


def _refuse(options: dict[str, Any] | None) -> None:
    if options:
        raise UsageError(f"reset() takes no options, but got {', '.join(options)}; leave them out.")


for _preset in ("law", "chaos", "full"):
    gymnasium.register(
        f"nmmo_gpu/{_preset.capitalize()}-v0",
        entry_point=f"{__name__}:SingleAgentEnv",
        vector_entry_point=f"{__name__}:VectorEnv",
        kwargs={"config": _preset},
    )
