#!/usr/bin/env python
"""PPO from TorchRL's components: its collector, generalized advantage estimation and clipped loss.

pip install "nmmo-gpu[adapters]"
examples/torchrl_collector.py --iterations 100
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.distributions import Distribution
from torchrl.collectors import Collector
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from nmmo_gpu.adapters.torchrl import TorchRLEnv
from nmmo_gpu.content import MATERIALS


@dataclass
class Args:
    preset: Literal["chaos", "law", "full"] = "chaos"  # the rules
    realms: int = 8  # worlds stepped together
    slots: int = 128  # maximum number of agents in each; a multiple of 8
    device: str = "auto"  # cpu, cuda, or auto for a GPU if there is one
    seed: int = 0  # seed of worlds, weights and actions
    iterations: int = 100  # number of rollouts
    horizon: int = 16  # ticks per rollout
    epochs: int = 2  # passes over a rollout
    minibatch: int = 2048  # agent-steps per update
    learning_rate: float = 1e-3
    gamma: float = 0.99  # discount per tick


class Sight(nn.Module):
    """A network from some fields of the observation, [..., *shape of the field] each, to [..., out]."""

    KEYS = ("material", "own", "entities", "entity_kind")

    def __init__(self, env: TorchRLEnv, out: int, width: int = 128) -> None:
        super().__init__()
        size = {key: env.observation_spec[key].shape[2:].numel() for key in self.KEYS}
        columns = sum(size.values()) + size["material"] * (len(MATERIALS) - 1)
        self.layers = nn.Sequential(
            nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out)
        )

    def forward(self, material: Tensor, own: Tensor, entities: Tensor, kind: Tensor) -> Tensor:
        kinds = torch.arange(len(MATERIALS), dtype=torch.uint8, device=material.device)
        tiles = (material[..., None] == kinds).flatten(-3)
        numbers = torch.cat((own, entities.flatten(-2), kind), -1).float()
        out: Tensor = self.layers(torch.cat((tiles, numbers.sign() * numbers.abs().log1p()), -1))
        return out


class Heads(Distribution):
    """Independent choices of all heads, [..., heads] int64, without masked choices."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits: Tensor, mask: Tensor, sizes: Sequence[int]) -> None:
        """Creates the distribution.

        Args:
            logits: [..., sum(sizes)], a floating dtype.
            mask: [..., sum(sizes)] bool, as ``action_mask``.
            sizes: number of choices of each head."""
        super().__init__(logits.shape[:-1], torch.Size((len(sizes),)), validate_args=False)
        scores = torch.split(logits.masked_fill(~mask, -1e9), [*sizes], -1)
        self.logs = [score.log_softmax(-1) for score in scores]

    @property
    def deterministic_sample(self) -> Tensor:
        return torch.stack([log.argmax(-1) for log in self.logs], -1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples with the Gumbel-max trick."""
        noise = [log.new_empty(*sample_shape, *log.shape).exponential_().log() for log in self.logs]
        return torch.stack([(log - by).argmax(-1) for log, by in zip(self.logs, noise, strict=True)], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        chosen = zip(self.logs, value.unbind(-1), strict=True)
        return torch.stack([log.gather(-1, choice[..., None]) for log, choice in chosen]).sum(0).squeeze(-1)

    def entropy(self) -> Tensor:
        return -torch.stack([(log.exp() * log).sum(-1) for log in self.logs]).sum(0)


def main(args: Args) -> nn.Module:
    torch.manual_seed(args.seed)
    # Slots are kept full, because a collector runs the policy on empty ones too.
    env = TorchRLEnv(
        args.preset, realms=args.realms, slots=args.slots, births=-1, seed=args.seed, device=args.device
    )
    sizes = env.native.action_sizes
    actor = ProbabilisticActor(
        TensorDictModule(Sight(env, sum(sizes)), [*Sight.KEYS], ["logits"]),
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=Heads,
        distribution_kwargs={"sizes": sizes},
        return_log_prob=True,
    ).to(env.device)
    critic = ValueOperator(Sight(env, 1), in_keys=[*Sight.KEYS]).to(env.device)
    # A death ends the return, so only the end of a batch needs the value of its "next" observation.
    advantages = GAE(gamma=args.gamma, lmbda=0.95, value_network=critic, shifted=True)
    ppo: nn.Module = ClipPPOLoss(actor, critic, entropy_coeff=0.01, critic_coeff=2.0, loss_critic_type="l2")
    optimizer = torch.optim.Adam(ppo.parameters(), lr=args.learning_rate)
    batch = args.horizon * env.numel()
    collector = Collector(
        env,
        actor,
        frames_per_batch=batch,
        total_frames=args.iterations * batch,
        auto_register_policy_transforms=False,  # this policy is not recurrent
    )

    for rollout in collector:  # [realms, slots, ticks]
        rollout["next", "reward"] *= 1 - args.gamma  # so that values stay below 1
        with torch.no_grad():
            advantages(rollout)
        samples = rollout.exclude("next")[rollout["alive"]]  # [N]; empty slots are left out
        gain = samples["advantage"]
        samples["advantage"] = (gain - gain.mean()) / (gain.std(correction=0) + 1e-8)
        for _ in range(args.epochs):
            for rows in torch.split(torch.randperm(len(samples), device=env.device), args.minibatch):
                losses = ppo(samples[rows])
                optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
                nn.utils.clip_grad_norm_(ppo.parameters(), 0.5)
                optimizer.step()
        deaths = int(rollout["next", "terminated"].sum())
        print(
            f"{len(samples):9,} agent-steps   mean lifetime {len(samples) / max(1, deaths):5.1f} ticks",
            flush=True,
        )
    collector.shutdown()
    return ppo


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
