"""Pantheon, the cluster: updates the policies from the rollouts that its servers collect."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmmo_gpu.train import checkpoint, distributed, ppo
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.cuda_graphs import GraphedCallable
from nmmo_gpu.train.readback import Readback
from nmmo_gpu.train.rollout import Rollout
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity.sword import Sword
from nmmo_gpu.train.uncopied import Uncopied

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state for each parameter."""


class Pantheon(Uncopied):
    """The cluster: updates the policies from the rollouts that its servers collect."""

    loss = staticmethod(ppo.loss)
    """The loss of a minibatch: ``nmmo_gpu.train.ppo.loss``, or a function with the same arguments and
    results. Override it with a ``staticmethod``: a bound method would keep CUDA graphs alive."""

    @default_modes()
    def __init__(self, config: TrainConfig, sword: Sword) -> None:
        """Makes the optimizer of the policies' trainable parameters.

        Raises ConfigError if a recurrent policy has fewer samples than ``minibatches``."""
        self.config, self.sword = config, sword
        config.check_minibatches(distributed.shard(config.env).realms, sword.policy.recurrent)
        # A CUDA graph that is replayed reads its learning rate from the device.
        device = next(sword.policy.parameters()).device
        on_gpu = device.type == "cuda"
        rate = torch.tensor(config.ppo.learning_rate, device=device, dtype=torch.float32)
        self.rate = rate if on_gpu else None
        self.optimizer = torch.optim.Adam(
            self._trained().values(), lr=config.ppo.learning_rate if self.rate is None else self.rate,
            eps=1e-5, fused=device.type != "meta", capturable=on_gpu,
        )  # fmt: skip
        self.updates: dict[int | None, GraphedCallable] = {}
        """Updates by the number of columns that they use."""
        self._source: Rollout | None = None
        self._readback = Readback(device)
        self._memory = torch.cuda.graph_pool_handle() if on_gpu else None  # shared by all updates

    @default_modes()
    def learn(self, rollout: Rollout, progress: float) -> dict[str, Tensor]:
        """Performs one update, with the same result in all processes.

        Args:
            rollout: the rollout of this process's realms.
            progress: the completed fraction of the learning rate's schedule, 0 to 1 (``Run.schedule``).

        Returns:
            Statistics by name, [P] float32 each: one number per population.
        """
        config, sword, optimizer, loss = self.config.ppo, self.sword, self.optimizer, self.loss
        self.set_rate(self.learning_rate(progress))
        if self._source is not rollout:
            self._source, self.updates = rollout, {}
        columns = self._columns(rollout)
        if columns not in self.updates:
            self.updates[columns] = GraphedCallable(
                lambda: ppo.update(
                    sword.policy, optimizer, rollout, config, sword.training_backend, columns, loss
                ),
                rollout.alive.device,
                sword.training_backend.static_shapes and self.config.graphs,
                memory=self._memory,
                warm=bool(self.updates),
            )
        statistics: dict[str, Tensor] = self.updates[columns]()
        return statistics

    def _columns(self, rollout: Rollout) -> int | None:
        """Returns the number of columns that an update needs if shapes are static; None for the maximum.

        The host waits here until the rollout is complete. This leaves the device idle for the time of a graph
        launch, but saves it the computation for empty slots."""
        static = self.sword.training_backend.static_shapes
        if not static or self.sword.policy.recurrent or rollout.alive.device.type == "meta":
            return None
        world = self.config.env.world
        living = {"living": ppo.most_living(rollout, world.populations, world.slots)}
        (host_copy,) = self._readback.send(living, None) + self._readback.receive()
        samples = rollout.alive.numel() // world.populations
        return ppo.enough_columns(
            int(host_copy.tensors["living"]), samples, min_columns=self.config.ppo.minibatches
        )

    def state(self) -> dict[str, Tensor]:
        """Returns the optimizer's part of a checkpoint: Adam's state, by parameter."""
        return {
            f"{name}.{key}": value
            for name, parameter in self._trained().items()
            for key, value in self.optimizer.state[parameter].items()
        }

    def restore(self, stored: dict[str, Tensor]) -> None:
        """Restores what ``state`` returned. Raises CheckpointError if it does not match the policy."""
        parameters = self._trained()
        wanted = {
            f"{name}.{key}": (() if key == "step" else tuple(parameter.shape), torch.float32)
            for name, parameter in parameters.items()
            for key in ADAM_STATE
        }
        checkpoint.expect_all(stored, wanted, "optimizer.")
        for name, parameter in parameters.items():
            state = {key: stored[f"{name}.{key}"].to(parameter.device) for key in ADAM_STATE}
            self.optimizer.state[parameter] = state

    def _trained(self) -> dict[str, nn.Parameter]:
        """Returns the trainable parameters by name."""
        return {name: p for name, p in self.sword.policy.named_parameters() if p.requires_grad}

    def learning_rate(self, progress: float) -> float:
        """Returns Adam's learning rate at ``progress``, the completed fraction of its schedule, 0 to 1."""
        config = self.config.ppo
        return config.learning_rate + progress * (config.final_learning_rate - config.learning_rate)

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the following updates."""
        if self.rate is not None:
            self.rate.fill_(rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate
