"""The configuration of training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.bounds import Bounds, check_fields, refuse
from nmmo_gpu.errors import ConfigError

Targeting = Literal["auto", "learned"]


@dataclass(frozen=True)
class PolicyConfig:
    """The network; each population has its own. The defaults suit a laptop."""

    hidden: Annotated[int, Bounds(ge=4)] = 64
    """Width of the trunk; a multiple of 4, because every feature exists for each of the four directions."""
    layers: Annotated[int, Bounds(ge=1)] = 1
    """Layers of the trunk; those after the first have residual connections."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the network's computations. The weights are stored and updated in fp32 either way; bf16 is
    for GPUs, whose tensor cores multiply it many times faster."""
    targeting: Targeting = "auto"
    """"auto": the policy decides whether to attack; the target is the nearest agent of another population, or
    NPC, in reach. "learned": the policy chooses the target among the rows of the entity table."""
    recurrent: bool = False
    """Give every agent a recurrent state: a GRU between trunk and heads, reset at death."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.hidden % 4:
            refuse(self, "hidden", "is not a multiple of 4", "choose 64, 128, 256 ...")


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347)."""

    horizon: Annotated[int, Bounds(ge=1, le=1 << 16)] = 32
    """Ticks per rollout."""
    epochs: Annotated[int, Bounds(ge=1)] = 2
    """Passes over each rollout."""
    minibatches: Annotated[int, Bounds(ge=1)] = 16
    """Minibatches per pass."""
    learning_rate: Annotated[float, Bounds(gt=0)] = 3e-3
    """Adam's learning rate at the start."""
    final_learning_rate: Annotated[float, Bounds(gt=0)] = 3e-4
    """Adam's learning rate when the limit of iterations or minutes is reached; it changes linearly. Without a
    limit it does not change. In a run that is resumed with another limit, it changes linearly from the rate
    reached so far, so a run that was at its limit continues with this rate."""
    gamma: Annotated[float, Bounds(ge=0, lt=1)] = 0.99
    """Discount factor per tick. Values are learned in units of 1 / (1 - gamma), so that they stay near 1."""
    gae_lambda: Annotated[float, Bounds(ge=0, le=1)] = 0.95
    """Lambda of generalized advantage estimation."""
    clip: Annotated[float, Bounds(gt=0)] = 0.2
    """Clipping range of the ratio of new to old probability: 1 - clip to 1 + clip."""
    value_weight: float = 10.0
    """Weight of the value loss. It is large because values are learned in units of 1 / (1 - gamma)."""
    entropy_weight: float = 0.01
    """Weight of the entropy bonus."""
    max_grad_norm: Annotated[float, Bounds(gt=0)] = 5.0
    """Maximum norm of each population's gradient; larger gradients are scaled down to it."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    A policy can also play in fewer realms than it was trained in, so the requirements of training alone are
    checked when training starts, by ``check_training``."""

    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)
    """The world."""
    policy: PolicyConfig = dataclasses.field(default_factory=PolicyConfig)
    """The network."""
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """The training algorithm."""
    run: str = "runs/latest"
    """Folder for checkpoints, TensorBoard files and the config; created if it does not exist."""
    minutes: Annotated[float, Bounds(gt=0)] | None = None
    """Stop after this many minutes of training, including the time before a resume."""
    iterations: Annotated[int, Bounds(ge=1)] | None = None
    """Stop after this many iterations (rollout and update), including those before a resume."""
    checkpoint_minutes: Annotated[float, Bounds(ge=0)] = 1.0
    """Minutes between checkpoints; 0 saves one after every iteration."""
    log_every: Annotated[int, Bounds(ge=1)] = 5
    """Iterations between two points of the TensorBoard curves."""
    record: tuple[Annotated[int, Bounds(ge=0)], ...] = ()
    """Indices of the realms to record for the viewer (``nmmo-gpu view``); without a value, realm 0."""
    record_policy: bool = True
    """Also record the policy's value and the probability of every choice in these realms. Makes the files
    several times larger."""
    record_megabytes: Annotated[int, Bounds(ge=1)] = 1000
    """Disk space for the recordings of a realm, in MB; the oldest recordings are deleted to make room."""
    graphs: bool = True
    """On a GPU, replay rollouts and updates as CUDA graphs. Disable this for custom classes that copy values
    from the device to the host, which CUDA graphs do not allow."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.run:
            refuse(self, "run", "names no folder", "give one, such as runs/chaos")
        if len(set(self.record)) < len(self.record):
            refuse(self, "record", "names a realm twice", "name each once")

    def check_training(self, realms: int | None = None) -> None:
        """Raises ConfigError if the config is valid, but no run can be trained with it.

        Args:
            realms: number of realms of this process; by default all."""
        self.check_minibatches(self.env.realms if realms is None else realms, self.policy.recurrent)
        self._check_record()

    def check_minibatches(self, realms: int, recurrent: bool) -> None:
        """Raises ConfigError if there are fewer samples than minibatches.

        Args:
            realms: number of realms of a process.
            recurrent: whether the policy has a recurrent state."""
        # A sample of a recurrent policy is a slot's whole rollout; otherwise it is a single tick.
        samples = realms * self.env.world.population_size
        samples *= 1 if recurrent else self.ppo.horizon
        if samples < self.ppo.minibatches:
            raise ConfigError(
                f"minibatches = {self.ppo.minibatches}, but a population gives only {samples} samples in "
                f"{realms} realms; choose at most {samples}, or more realms (or fewer processes)."
            )

    def _check_record(self) -> None:
        last = self.env.realms - 1
        for realm in self.record:
            if realm > last:
                refuse(
                    self,
                    "record",
                    f"holds {realm}, which is not a realm of this run",
                    f"choose from 0 to {last}",
                )
