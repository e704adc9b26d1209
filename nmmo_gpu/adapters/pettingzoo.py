"""PettingZoo: one realm as a parallel environment, in which agents spawn and die permanently."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Dict, MultiDiscrete
from numpy.typing import NDArray
from torch import Tensor

from nmmo_gpu.adapters.spaces import action_space, observation_space, shaped
from nmmo_gpu.config import EnvConfig, replace
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.config.seeds import Seed, offset_seed
from nmmo_gpu.env import Env, make
from nmmo_gpu.errors import ActionError, ConfigError, UsageError
from nmmo_gpu.replay.picture import draw_realm
from nmmo_gpu.world.state import Cause

try:
    import pettingzoo  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        'nmmo_gpu.adapters.pettingzoo needs PettingZoo; install it with: pip install "nmmo-gpu[adapters]"'
    ) from error

Array = NDArray[Any]
Observations = dict[str, dict[str, Array]]
Infos = dict[str, dict[str, Any]]


class ParallelEnv(pettingzoo.ParallelEnv[str, dict[str, Array], Array]):  # type: ignore[misc]
    """One realm, one tick per step. Agents are named ``agent_<entity id>``, and names are never reused.

    In the step in which an agent dies, its ``terminations`` entry is True, its reward is its last, its info
    names the cause, and its observation is all zeros (including ``alive``). After that its name is not in any
    dict and not in ``agents``. PettingZoo's tests and conversions require this last observation. With
    ``observe_death=False`` it is omitted, so that a name that is missing among the observations means a
    death, as in Neural MMO v1.

    A newborn agent is first reported in the step in which it spawns, with reward 0, and acts in the next.

    Differences from PettingZoo's conventions, because the world never ends:

    - There is no ``possible_agents``, because future agents are not known. PettingZoo allows this if agents
      are generated, and its API test warns about it. ``max_num_agents`` is the maximum number of living
      agents.
    - Episodes end only by death: ``truncations`` are always False, and the world continues
      when ``agents`` is empty for a moment (which happens only in tiny worlds); ``step({})`` advances it.
    - All agents share one observation space object and one action space object: seeding one agent's space
      seeds those of all agents, including agents that have not spawned yet.
    - ``reset`` begins a new world; it does not rewind the current one.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "nmmo_gpu_v0", "render_modes": ["rgb_array"], "render_fps": 4, "is_parallelizable": True,
    }  # fmt: skip

    def __init__(
        self,
        config: EnvConfig | str = "chaos",
        *,
        render_mode: str | None = None,
        observe_death: bool = True,
        **settings: Any,
    ) -> None:
        """Makes the terrain; the world has no agents before ``reset``.

        Args:
            config: a preset's name, with ``settings`` as for ``nmmo_gpu.make``; or a complete config, in
                which ``settings`` replace fields. ``realms`` is 1.
            render_mode: "rgb_array" for ``render``, or None.
            observe_death: whether agents that die get a last observation.

        Raises ConfigError for invalid settings, or more than one realm.
        """
        given = config.realms if isinstance(config, EnvConfig) else 1
        realms = settings.setdefault("realms", given)
        if realms != 1:
            raise ConfigError(
                f"realms = {realms}: PettingZoo's agents share one world; choose realms = 1 and one "
                "ParallelEnv for each world, or step many realms together with nmmo_gpu.make."
            )
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f'render_mode = {render_mode!r} is unknown; choose "rgb_array" or None.')
        self.native = (
            Env(replace(config, **settings)) if isinstance(config, EnvConfig) else make(config, **settings)
        )
        """The underlying environment; each reset but the first replaces it."""
        self.render_mode = render_mode
        self.observe_death = observe_death
        self.agents: list[str] = []
        self._slots: dict[str, int] = {}
        world_config = self.native.config.world
        self._spaces = observation_space(world_config), action_space(world_config)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Begins a world and returns (observations, infos) of its first agents.

        Args:
            seed: of the terrain and all random numbers. By default, the config's seed for the first world,
                and then the last seed plus one.
            options: ignored.

        Raises ConfigError if the seed is not an integer of 64 bits.
        """
        if seed is None:
            seed = offset_seed(self.native.config.seed, self.native.begun)
        seed = checked("seed", seed, Seed)
        if self.native.begun or seed != self.native.config.seed:
            self.native = Env(dataclasses.replace(self.native.config, seed=seed))
        self.native.reset()
        self._update_agents()
        return self._observations(self._slots), self._infos(self._slots)

    def step(
        self, actions: dict[str, Array]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Runs one tick. The results have entries for all agents alive before the tick or after it.

        Args:
            actions: for some or all of ``agents``: an integer for each head, as in ``action_space``. Agents
                without an entry do nothing.

        Returns:
            observations: arrays that later steps do not overwrite.
            rewards: rewards of this tick.
            terminations: whether the agent has died.
            truncations: always False.
            infos: ``entity`` (id), ``population``, ``lifetime`` (ticks; at death, the number of times the
                agent acted), ``explored`` (tiles) and ``cause`` (of death: "none", "lava", "hunger",
                "thirst", "combat").

        Raises ActionError for invalid actions, or actions of agents that are not alive, before any state
        changes."""
        if not self.native.begun:
            raise UsageError("step() was called before reset(); call env.reset() first.")
        _, reward, died, _, _ = self.native.step(self._choices(actions))
        reported = dict(self._slots)
        self._update_agents()
        reported |= self._slots
        rewards, terminations = reward[0].tolist(), died[0].tolist()
        return (
            self._observations(reported if self.observe_death else self._slots),
            {agent: rewards[slot] for agent, slot in reported.items()},
            {agent: terminations[slot] for agent, slot in reported.items()},
            dict.fromkeys(reported, False),
            self._infos(reported),
        )

    def render(self) -> NDArray[np.uint8]:
        """[10 * height, 10 * width, 3] uint8: the realm from above (``nmmo_gpu.replay.picture``)."""
        if self.render_mode is None:
            raise UsageError(
                'render() draws nothing without a mode; make the environment with render_mode="rgb_array".'
            )
        return np.array(draw_realm(self.native.world))

    def observation_space(self, agent: str) -> Dict:
        """What each agent observes: a Dict with an entry for every field of the observation."""
        return self._spaces[0]

    def action_space(self, agent: str) -> MultiDiscrete[np.int64]:
        """What each agent can choose: one choice per head."""
        return self._spaces[1]

    @property
    def possible_agents(self) -> list[str]:
        """Not available: raises AttributeError, so that ``hasattr`` returns False."""
        raise AttributeError(
            "possible_agents cannot be listed: the world is endless, and new agents get new names; "
            "agents lists the living agents, and max_num_agents limits their number."
        )

    @property
    def max_num_agents(self) -> int:
        """Maximum number of living agents."""
        return self.native.config.world.slots

    def _update_agents(self) -> None:
        """Updates the living agents, in the order of slots."""
        world = self.native.world
        slots = world.agents(world.alive)[0].nonzero().squeeze(1)
        self._slots = {
            f"agent_{entity}": slot
            for entity, slot in zip(world.entity[0, slots].tolist(), slots.tolist(), strict=True)
        }
        self.agents = list(self._slots)

    def _observations(self, slots: dict[str, int]) -> Observations:
        records = self.native.records[0, list(slots.values())].cpu()
        fields = {name: view.numpy() for name, view in shaped(self.native.layout.views(records)).items()}
        fields = {name: f.view(np.int8) if f.dtype == np.bool_ else f for name, f in fields.items()}
        # The ellipsis makes a field without a shape an array instead of a scalar.
        return {agent: {name: f[i, ...] for name, f in fields.items()} for i, agent in enumerate(slots)}

    def _infos(self, slots: dict[str, int]) -> Infos:
        world, index = self.native.world, list(slots.values())
        columns = (world.entity, world.age, world.explored, world.cause)
        numbers = torch.stack([column[0, index].long() for column in columns], 1).tolist()
        return {
            agent: {
                "entity": entity,
                "population": slot // world.config.population_size,
                "lifetime": age,
                "explored": explored,
                "cause": Cause(cause).name.lower(),
            }
            for (agent, slot), (entity, age, explored, cause) in zip(slots.items(), numbers, strict=True)
        }

    def _choices(self, actions: dict[str, Array]) -> Tensor:
        """[1, A, heads] int64: the choices of all slots, from those of some agents."""
        heads, sizes = self.native.action_heads, np.array(self.native.action_sizes)
        chosen = np.zeros((1, self.max_num_agents, len(heads)), np.int64)
        for agent, action in actions.items():
            if agent not in self._slots:
                raise ActionError(
                    f"actions[{agent!r}]: no living agent has this name; choose from env.agents."
                )
            row = np.asarray(action)
            if row.shape != sizes.shape or row.dtype.kind not in "iu":
                raise ActionError(
                    f"actions[{agent!r}] has shape {row.shape} and dtype {row.dtype}; give {len(heads)} "
                    f"integers: {', '.join(heads)}."
                )
            wrong = ((row < 0) | (row >= sizes)).nonzero()[0]
            if wrong.size:
                head = wrong[0]
                raise ActionError(
                    f"actions[{agent!r}][{head}] ({list(heads)[head]}) = {row[head]} is out of range; choose "
                    f"a value from 0 to {sizes[head] - 1}."
                )
            chosen[0, self._slots[agent]] = row
        return torch.from_numpy(chosen).to(self.native.device)
