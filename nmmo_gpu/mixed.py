"""Several policies in the same realms, chosen by population."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from nmmo_gpu import scripted
from nmmo_gpu.config.bounds import Bounds, checked
from nmmo_gpu.env import INTEGERS, Env
from nmmo_gpu.errors import ActionError, ConfigError

Player = Callable[[Env], Tensor]
"""Returns [R, A, heads] integer actions for an environment's newest observation."""


class Mixed:
    """Different policies for the populations of an environment::

        policy = nmmo_gpu.Mixed({0: trained, (1, 2): "forager"}, default="random")
        env.step(policy(env))

    It is a function of an environment, like the policies that it consists of. All of them see the same
    observation, and one that plays several populations is called once."""

    def __init__(
        self, policies: Mapping[int | tuple[int, ...] | range, str | Player],
        default: str | Player | None = None,
    ) -> None:  # fmt: skip
        """Checks all that is known without an environment.

        Args:
            policies: for a population, or a tuple or range of populations, a function of an environment that
                returns [R, A, heads] integer actions, or the name of one of ``nmmo_gpu.scripted.POLICIES``.
            default: the policy of all other populations; None if there are no others.

        Raises ConfigError if a population has two policies or is not a number from 0, or if a policy is
        neither a function nor a known name."""
        self.policies: dict[int, Player] = {}
        """The policies by population, without the default."""
        for key, policy in policies.items():
            player = _player(policy)
            for population in _populations(key):
                if population in self.policies:
                    raise ConfigError(f"population {population} has two policies; give it one.")
                self.policies[population] = player
        self.default = None if default is None else _player(default)
        """The policy of all other populations."""

    def __call__(self, env: Env) -> Tensor:
        """Returns the actions of all agents for the newest observation.

        Args:
            env: the environment, after its ``reset``.

        Returns:
            [R, A, heads] int64, on ``env.device``: for each agent the actions that the policy of its
                population chooses for it.

        Raises ConfigError if a population with a policy does not exist, or one without exists and there is no
        default; ActionError if a policy returns actions of another shape, dtype or device."""
        world = env.config.world
        size, shape = world.population_size, (env.config.realms, world.slots, len(env.action_heads))
        mixed = torch.empty(shape, dtype=torch.int64, device=env.device)
        for player, populations in self._assigned(world.populations):
            actions = _checked(player(env), shape, env.device, populations[0])
            for population in populations:
                slots = slice(population * size, (population + 1) * size)
                mixed[:, slots] = actions[:, slots]
        return mixed

    def _assigned(self, populations: int) -> list[tuple[Player, list[int]]]:
        """Returns each policy once, with the populations that it plays."""
        unknown = [population for population in self.policies if population >= populations]
        if unknown:
            raise ConfigError(
                f"population = {unknown[0]} does not exist here; choose from 0 to {populations - 1}."
            )
        missing = [str(population) for population in range(populations) if population not in self.policies]
        if missing and self.default is None:
            raise ConfigError(
                f"the populations {', '.join(missing)} have no policy; give each one, or give a default."
            )
        assigned: dict[int, tuple[Player, list[int]]] = {}
        for population in range(populations):
            player = self.policies.get(population, self.default)
            assert player is not None, "checked above"
            assigned.setdefault(id(player), (player, []))[1].append(population)
        return list(assigned.values())


def _player(policy: Any) -> Player:
    """Returns the function of a policy, or of its name."""
    if isinstance(policy, str) and policy in scripted.POLICIES:
        return scripted.POLICIES[policy]
    if isinstance(policy, str) or not callable(policy):
        raise ConfigError(
            f"{policy!r} is not a policy; give a function of an environment, such as one from "
            f"nmmo_gpu.load_policy, or one of the names {', '.join(scripted.POLICIES)}."
        )
    player: Player = policy
    return player


def _populations(key: Any) -> list[int]:
    """Returns the populations that a key of ``policies`` names."""
    named = key if isinstance(key, (tuple, range)) else (key,)
    return [checked("population", population, Annotated[int, Bounds(ge=0)]) for population in named]


def _checked(actions: Any, shape: tuple[int, ...], device: torch.device, population: int) -> Tensor:
    """Returns a policy's actions. Raises ActionError unless they are integers of this shape on this
    device."""
    if not isinstance(actions, Tensor):
        found = f"a {type(actions).__name__}"
    elif tuple(actions.shape) == shape and actions.device == device and actions.dtype in INTEGERS:
        return actions
    else:
        found = f"{actions.dtype} {tuple(actions.shape)} on {actions.device}"
    raise ActionError(
        f"the policy of population {population} returned {found}; return integers {shape} on {device}."
    )
