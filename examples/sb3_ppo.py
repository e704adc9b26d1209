#!/usr/bin/env python
"""Trains Stable-Baselines3's PPO on all slots at once, through the Gymnasium vector environment.

python examples/sb3_ppo.py --preset chaos --realms 2 --steps 200000

One network plays all slots of all populations. SB3's PPO has no action masks, so it also tries moves and
attacks that are not possible, and all data passes through NumPy and lists. `nmmo-gpu train` learns more, and
much faster; this example is for comparison, and for users of SB3's tools.
"""

import argparse
import math
import sys
from typing import Any

from nmmo_gpu.adapters.gymnasium import VectorEnv  # before torch, because it configures OpenMP

# isort: split
import numpy as np
from gymnasium.spaces import Box, Dict

from nmmo_gpu.errors import NmmoError

try:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv
except ImportError:
    sys.exit('This example needs Stable-Baselines3: pip install "nmmo-gpu[adapters]"')


class Bridge(VecEnv):
    """Converts a VectorEnv to SB3's interface: same-step autoreset, infos in a list, observation vectors.

    SB3 expects the next episode's first observation together with ``done``, but the slot's next agent is born
    at least a tick later. Therefore the next episode begins with the empty slot, whose observation is zeros:
    its action has no effect and no reward, and the newborn's first observation follows. Each life thus has
    one idle step more, and no return extends across a death.
    """

    def __init__(self, envs: VectorEnv) -> None:
        self.envs = envs
        assert isinstance(envs.single_observation_space, Dict)
        spaces = envs.single_observation_space.spaces
        # Numbers are divided by the largest magnitude within their bounds.
        self.largest = {
            name: np.maximum(np.maximum(-space.low.astype(np.float32), space.high), 1)
            for name, space in spaces.items()
            if isinstance(space, Box)
        }
        width = sum(math.prod(space.shape or ()) for space in spaces.values())
        super().__init__(envs.num_envs, Box(-1, 1, (width,)), envs.single_action_space)
        self.returns = np.zeros(envs.num_envs)

    def reset(self) -> Any:
        self.returns[:] = 0
        observations, _ = self.envs.reset(seed=self._seeds[0])
        self._reset_seeds()
        return self._vectors(observations)

    def step_async(self, actions: Any) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        observations, rewards, died, _, step_info = self.envs.step(self.actions)
        vectors = self._vectors(observations)
        self.returns += rewards
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in died.nonzero()[0]:
            episode = {"r": float(self.returns[i]), "l": int(step_info["lifetime"][i])}
            infos[i] = {"terminal_observation": vectors[i], "episode": episode}
        self.returns[died] = 0
        return vectors, rewards, died, infos

    def _vectors(self, observations: dict[str, Any]) -> Any:
        """Returns [num_envs, width] float32 from -1 to 1."""
        scaled = (array / self.largest.get(name, 1) for name, array in observations.items())
        return np.concatenate([array.reshape(self.num_envs, -1) for array in scaled], 1, dtype=np.float32)

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def train(envs: VectorEnv, steps: int, horizon: int, seed: int) -> PPO:
    """Trains PPO for at least ``steps`` steps of slots, in iterations of ``horizon`` ticks."""
    model = PPO(
        "MlpPolicy", Bridge(envs), n_steps=horizon, batch_size=max(2, envs.num_envs * horizon // 16),
        n_epochs=4, learning_rate=1e-3, ent_coef=0.01, seed=seed, device=envs.device, verbose=1,
    )  # fmt: skip
    return model.learn(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="chaos", help="rules: law, chaos or full")
    parser.add_argument("--realms", type=int, default=2, help="number of realms")
    parser.add_argument("--steps", type=int, default=200_000, help="total number of steps of all slots")
    parser.add_argument("--horizon", type=int, default=64, help="ticks per iteration")
    parser.add_argument("--seed", type=int, default=0, help="seed of world and learner")
    parser.add_argument("--device", default="auto", help="device of the worlds and the network")
    options = parser.parse_args()
    try:
        envs = VectorEnv(options.preset, realms=options.realms, births=-1, device=options.device)
        train(envs, options.steps, options.horizon, options.seed)
    except NmmoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
