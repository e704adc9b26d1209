"""What can be set about training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError


@dataclass(frozen=True)
class PolicyConfig:
    """The network; every population has one of its own. The defaults suit a laptop."""

    hidden: int = 64
    """Width of the trunk; a multiple of 4, as every feature looks in four directions."""
    layers: int = 1
    """Layers of the trunk; those after the first add to what they are given."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """In what the network computes. Its weights are kept, and learned, in fp32 either way; bf16 is for GPUs,
    whose tensor cores multiply it many times faster."""
    targeting: Literal["auto", "learned"] = "auto"
    """"auto": the policy decides whether to attack, and the nearest agent of another population in reach
    is the target. "learned": it chooses the target among the rows of the entity table."""
    recurrent: bool = False
    """Give every agent a memory: a GRU between trunk and heads, reset at death."""

    def __post_init__(self) -> None:
        if self.hidden < 4 or self.hidden % 4:
            raise ConfigError(f"hidden = {self.hidden} is not a multiple of 4; choose 64, 128, 256 ...")
        if self.layers < 1:
            raise ConfigError(f"layers = {self.layers} leaves no trunk; choose 1 or more.")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f'precision = {self.precision!r} is unknown; choose "fp32" or "bf16".')
        if self.targeting not in ("auto", "learned"):
            raise ConfigError(f'targeting = {self.targeting!r} is unknown; choose "auto" or "learned".')


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

    horizon: int = 32
    """Ticks per rollout."""
    epochs: int = 2
    """Passes over each rollout."""
    minibatches: int = 16
    """Minibatches per pass."""
    learning_rate: float = 3e-3
    """Adam's step size at the start."""
    final_learning_rate: float = 3e-4
    """Adam's step size when the limit of steps or minutes is reached; in between it follows a line."""
    gamma: float = 0.99
    """Discount per tick. Values are learned in units of 1 / (1 - gamma), so that they stay near 1."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
    clip: float = 0.2
    """How far the ratio of new to old probability may leave 1."""
    value_weight: float = 10.0
    """Weight of the value loss. Large, because values are learned in units of 1 / (1 - gamma)."""
    entropy_weight: float = 0.01
    """Weight of the entropy bonus."""
    max_grad_norm: float = 5.0
    """Each population's gradient is scaled down to this norm."""

    def __post_init__(self) -> None:
        for name in ("horizon", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} is too small; choose 1 or more.")
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0 or (name == "gamma" and self.gamma == 1.0):
                raise ConfigError(f"{name} = {getattr(self, name)} is out of range; choose 0 to below 1.")
        for name in ("learning_rate", "final_learning_rate", "clip", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name} = {getattr(self, name)} does not learn; choose a value above 0.")


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)
    """The world."""
    policy: PolicyConfig = dataclasses.field(default_factory=PolicyConfig)
    """The network."""
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """The learner."""
    run: str = "runs/latest"
    """Folder for checkpoints, TensorBoard files and the config; made if it is not there."""
    minutes: float | None = None
    """Stop after so many minutes of training (time before a resume included)."""
    iterations: int | None = None
    """Stop after so many iterations (rollout and update) in all."""
    checkpoint_minutes: float = 1.0
    """Time between checkpoints, minutes; 0 for one after every iteration."""
    log_every: int = 5
    """Iterations between two points of the TensorBoard curves."""
    record: tuple[int, ...] = ()
    """Numbers of realms to record, for the viewer (``nmmo-gpu view``); the first if none is named."""
    record_policy: bool = True
    """Record of these realms also what the policy thinks: the value, and how likely every choice is. Makes
    the files several times larger."""
    record_megabytes: int = 1000
    """Room on the disk for the recordings of a realm; the oldest make place for new ones."""
    graphs: bool = True
    """On a GPU, replay rollouts and updates as CUDA graphs. To be switched off for classes of one's own that
    ask the device for values, which a graph cannot."""

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes = {self.minutes} leaves no time; choose a value above 0, or none.")
        if self.iterations is not None and self.iterations < 1:
            raise ConfigError(f"iterations = {self.iterations} is too small; choose 1 or more, or none.")
        if not self.checkpoint_minutes >= 0:
            raise ConfigError(
                f"checkpoint_minutes = {self.checkpoint_minutes} is negative; choose 0 or more."
            )
        if self.log_every < 1:
            raise ConfigError(f"log_every = {self.log_every} is too small; choose 1 or more.")
        # A recurrent policy learns from whole slots, others from single ticks.
        samples = self.env.realms * self.env.world.population_size
        samples *= 1 if self.policy.recurrent else self.ppo.horizon
        if samples < self.ppo.minibatches:
            raise ConfigError(
                f"minibatches = {self.ppo.minibatches}, but a population gives only {samples} samples in "
                f"{self.env.realms} realms; choose at most {samples}, or more realms (or fewer processes)."
            )
        for realm in self.record:
            if not 0 <= realm < self.env.realms:
                most = self.env.realms - 1
                raise ConfigError(f"record = {realm} is not a realm of this run; choose from 0 to {most}.")
        if len(set(self.record)) < len(self.record):
            raise ConfigError(f"record = {self.record} names a realm twice; name each once.")
        if self.record_megabytes < 1:
            raise ConfigError(f"record_megabytes = {self.record_megabytes} is too little; choose 1 or more.")
        if not self.run:
            raise ConfigError("run = '' names no folder; give one, such as runs/chaos.")
