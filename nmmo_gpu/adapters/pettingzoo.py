"""PettingZoo: one realm as a parallel environment, in which agents are born and die for good."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Dict, MultiDiscrete
from numpy.typing import NDArray
from torch import Tensor

from nmmo_gpu.adapters.spaces import action_space, observation_space
from nmmo_gpu.config import EnvConfig, replace
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
Told = dict[str, dict[str, Array]]
Infos = dict[str, dict[str, Any]]


class ParallelEnv(pettingzoo.ParallelEnv[str, dict[str, Array], Array]):  # type: ignore[misc]
    """One realm, one tick a step. Agents are called ``agent_<entity id>``, and no name is used twice.

    In the step in which an agent dies, its ``terminations`` entry is True, its reward is its last, its info
    names the cause, and its observation is all zeros (``alive`` too): the dead see nothing. From then on its
    name is in no dict and not in ``agents``, and never comes back. PettingZoo's tests and conversions want
    that last observation. With ``observe_death=False`` it is left out, so that a name that is missing among
    the observations means a death, as in Neural MMO v1.

    A newborn is first told of in the step in which it is born, with reward 0, and acts in the next.

    What an endless world cannot do as PettingZoo has it:

    - There is no ``possible_agents``: nobody knows who will ever be born. PettingZoo allows that where agents
      are generated, and its API test warns of it. ``max_num_agents`` is how many can live at a time.
    - An episode ends for nobody but the dead: ``truncations`` are always False, and the world goes on
      when ``agents`` is empty for a moment (which only a tiny world is); ``step({})`` lets time pass.
    - All agents share one observation space and one action space, the same objects: seeding an agent's space
      seeds everybody's, those of the unborn included.
    - ``reset`` begins a new world rather than turning back this one.
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
        """Makes the terrain; nobody lives there before ``reset``.

        Args:
            config: a preset's name, with ``settings`` as for ``nmmo_gpu.make``; or a whole config, of which
                ``settings`` replace fields. ``realms`` is 1.
            render_mode: "rgb_array" for ``render``, or None.
            observe_death: whether the dying get a last observation.

        Raises ConfigError for settings that cannot work, or more realms than one.
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
        """The environment beneath; another one after each reset but the first."""
        self.render_mode = render_mode
        self.observe_death = observe_death
        self.agents: list[str] = []
        self._slots: dict[str, int] = {}
        world_config = self.native.config.world
        self._spaces = observation_space(world_config), action_space(world_config)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Told, Infos]:
        """Begins a world: (observations, infos) of its first agents.

        Args:
            seed: of terrain and dice. Without one, the config's at first, later one more than the last.
            options: ignored.
        """
        if seed is None:
            seed = self.native.config.seed + self.native.begun
        if self.native.begun or seed != self.native.config.seed:
            self.native = Env(dataclasses.replace(self.native.config, seed=int(seed)))
        self.native.reset()
        self._count()
        return self._observations(self._slots), self._infos(self._slots)

    def step(
        self, actions: dict[str, Array]
    ) -> tuple[Told, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """One tick.

        Args:
            actions: of some or all of ``agents``: an integer for each head, as ``action_space`` has them. Who
                is left out idles.

        Returns:
            observations: of every agent that lived before the tick or lives after it, as are the others. The
                arrays are the caller's: later steps do not write into them.
            rewards: for this tick.
            terminations: the agent has died.
            truncations: always False.
            infos: ``entity`` (id), ``population``, ``lifetime`` (ticks; of the dead, how often it acted),
                ``explored`` (tiles) and ``cause`` (of death: "none", "lava", "hunger", "thirst", "combat").

        Raises ActionError, before anything has changed, for actions that do not fit, or of who does not live.
        """
        if not self.native.begun:
            raise UsageError("step() was called before reset(); call env.reset() first.")
        _, reward, died, _, _ = self.native.step(self._choices(actions))
        reported = dict(self._slots)
        self._count()
        reported |= self._slots
        pay, dead = reward[0].tolist(), died[0].tolist()
        return (
            self._observations(reported if self.observe_death else self._slots),
            {agent: pay[slot] for agent, slot in reported.items()},
            {agent: dead[slot] for agent, slot in reported.items()},
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
        """What anybody sees: a Dict with an entry for every field of the observation."""
        return self._spaces[0]

    def action_space(self, agent: str) -> MultiDiscrete[np.int64]:
        """What anybody can do: a choice for each head."""
        return self._spaces[1]

    @property
    def possible_agents(self) -> list[str]:
        """Not there: AttributeError, so that ``hasattr`` says no."""
        raise AttributeError(
            "possible_agents cannot be listed: the world is endless, and so are its agents' names; "
            "agents lists the living, and max_num_agents bounds their number."
        )

    @property
    def max_num_agents(self) -> int:
        """How many agents can live at a time."""
        return self.native.config.world.slots

    def _count(self) -> None:
        """Notes who lives, in the order of slots."""
        world = self.native.world
        slots = world.agents(world.alive)[0].nonzero().squeeze(1)
        self._slots = {
            f"agent_{entity}": slot
            for entity, slot in zip(world.entity[0, slots].tolist(), slots.tolist(), strict=True)
        }
        self.agents = list(self._slots)

    def _observations(self, who: dict[str, int]) -> Told:
        records = self.native.records[0, list(who.values())].cpu()
        fields = {name: view.numpy() for name, view in self.native.layout.views(records).items()}
        fields = {name: f.view(np.int8) if f.dtype == np.bool_ else f for name, f in fields.items()}
        # With the dots a field without a shape is an array as well, not a scalar.
        return {agent: {name: f[i, ...] for name, f in fields.items()} for i, agent in enumerate(who)}

    def _infos(self, who: dict[str, int]) -> Infos:
        world, slots = self.native.world, list(who.values())
        columns = (world.entity, world.age, world.explored, world.cause)
        numbers = torch.stack([column[0, slots].long() for column in columns], 1).tolist()
        return {
            agent: {
                "entity": entity,
                "population": slot // world.config.population_size,
                "lifetime": age,
                "explored": explored,
                "cause": Cause(cause).name.lower(),
            }
            for (agent, slot), (entity, age, explored, cause) in zip(who.items(), numbers, strict=True)
        }

    def _choices(self, actions: dict[str, Array]) -> Tensor:
        """[1, A, heads] int64: the choices of all slots, from those of some agents."""
        heads, sizes = self.native.action_heads, np.array(self.native.action_sizes)
        chosen = np.zeros((1, self.max_num_agents, len(heads)), np.int64)
        for agent, action in actions.items():
            if agent not in self._slots:
                raise ActionError(
                    f"actions[{agent!r}]: nobody of that name lives now; choose from env.agents."
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
