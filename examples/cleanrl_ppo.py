#!/usr/bin/env python
"""PPO in one file, after CleanRL: one network for all agents, on the environment's own tensors.

examples/cleanrl_ppo.py --minutes 3
tensorboard --logdir runs
"""

import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

import nmmo_gpu
from nmmo_gpu.content import MATERIALS


@dataclass
class Args:
    preset: Literal["chaos", "law"] = "chaos"  # the rules
    realms: int = 32  # worlds stepped together
    slots: int = 128  # agents that a world can hold; a multiple of 8
    device: str = "auto"  # cpu, cuda, or auto for a GPU if there is one
    seed: int = 0  # seed of worlds, weights and actions
    run: str = "runs/cleanrl"  # folder for the curves
    minutes: float = 3.0  # duration of the training
    iterations: int | None = None  # number of rollouts, in place of a duration
    horizon: int = 32  # ticks per rollout
    epochs: int = 2  # passes over a rollout
    minibatch: int = 2048  # agent-steps per update
    learning_rate: float = 1e-3
    width: int = 128  # width of the network's layers
    gamma: float = 0.99  # discount per tick
    gae_lambda: float = 0.95
    clip: float = 0.2  # clipping range of the probability ratio
    entropy_weight: float = 0.01
    value_weight: float = 2.0


class Agent(nn.Module):
    """A network from observation records to actions (move, style, target) and value estimates."""

    NUMBERS = ("self", "entities", "entity_kind")

    def __init__(self, env: nmmo_gpu.Env, width: int) -> None:
        super().__init__()
        self.layout, self.action_heads = env.layout, env.action_heads
        size = {name: math.prod(field.shape) for name, field in env.layout.fields.items()}
        columns = size["material"] * (len(MATERIALS) + 2) + sum(size[name] for name in self.NUMBERS)
        self.body = nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.scores_and_value = nn.Linear(width, sum(env.action_sizes) + 1)
        nn.init.orthogonal_(self.scores_and_value.weight, 0.01)  # a nearly uniform initial policy

    def forward(
        self, records: Tensor, actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns actions [N, 3] (sampled unless given), log probabilities, entropies and values [N] of N
        living agents, given their records [N, bytes]."""
        seen = self.layout.views(records)
        tiles = one_hot(seen["material"], range(len(MATERIALS)))
        agents = one_hot(seen["occupant"], range(1, 3))  # friends and strangers
        numbers = torch.cat([seen[name].flatten(1) for name in self.NUMBERS], 1).float()
        numbers = numbers.sign() * numbers.abs().log1p()  # brings ages, offsets and health to similar scales
        features = self.body(torch.cat((tiles, agents, numbers), 1))
        *scores, value = self.scores_and_value(features).split((*self.action_heads.values(), 1), 1)

        chosen: dict[str, Tensor] = {}
        log_probability = entropy = torch.zeros_like(value[:, 0])
        for column, (head, score) in enumerate(zip(self.action_heads, scores, strict=True)):
            mask = seen[f"{head}_mask"]
            if head == "target":  # which targets are in reach depends on the style
                mask = mask[torch.arange(len(mask), device=mask.device), chosen["style"]]
            logs = score.masked_fill(~mask, -1e9).log_softmax(1)
            chosen[head] = logs.exp().multinomial(1)[:, 0] if actions is None else actions[:, column]
            log_probability = log_probability + logs.gather(1, chosen[head][:, None])[:, 0]
            entropy = entropy - (logs.exp() * logs).sum(1)
        return torch.stack([*chosen.values()], 1), log_probability, entropy, value[:, 0]


def one_hot(window: Tensor, kinds: range) -> Tensor:
    """Returns the one-hot codes of windows [N, rows, columns], [N, cells * kinds] bool."""
    return (window[..., None] == torch.tensor(kinds, dtype=window.dtype, device=window.device)).flatten(1)


def main(args: Args) -> Agent:
    torch.manual_seed(args.seed)
    env = nmmo_gpu.make(args.preset, realms=args.realms, slots=args.slots, seed=args.seed, device=args.device)
    agent = Agent(env, args.width).to(env.device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    writer = SummaryWriter(args.run)

    # Storage of one rollout. The environment writes observations directly into it; the last observation is
    # the first of the next rollout.
    size = (args.horizon, args.realms, args.slots)
    records = env.layout.allocate(args.horizon + 1, *size[1:], device=env.device)
    alive = env.layout.views(records)["alive"]
    actions = torch.zeros(*size, len(env.action_heads), dtype=torch.int64, device=env.device)
    log_probability, reward, died, advantage = torch.zeros(4, *size, device=env.device)
    value = torch.zeros(args.horizon + 1, *size[1:], device=env.device)

    env.reset(out=records[0])  # called only once: worlds never end, agents die and others are born
    start, steps, iteration = time.monotonic(), 0, 0
    while iteration < args.iterations if args.iterations else time.monotonic() - start < 60 * args.minutes:
        with torch.no_grad():
            for t in range(args.horizon):
                live = alive[t]  # empty slots are not computed, and their actions are ignored
                actions[t][live], log_probability[t][live], _, value[t][live] = agent(records[t][live])
                _, reward[t], died[t], _, _ = env.step(actions[t], out=records[t + 1])
            *_, value[-1][alive[-1]] = agent(records[-1][alive[-1]])

        # Generalized advantages, in units of 1 / (1 - gamma), so that values stay below 1. A death cuts the
        # sum, so an agent gets no credit for the rewards of the slot's next agent.
        running = torch.zeros_like(value[0])
        for t in reversed(range(args.horizon)):
            lives = 1 - died[t]
            delta = (1 - args.gamma) * reward[t] + args.gamma * lives * value[t + 1] - value[t]
            advantage[t] = running = delta + args.gamma * args.gae_lambda * lives * running

        samples = alive[:-1].flatten().nonzero().squeeze(1)
        parts = records[:-1], actions, log_probability, advantage, advantage + value[:-1]
        seen, taken, old_log, gain, returns = (part.flatten(0, 2)[samples] for part in parts)
        gain = (gain - gain.mean()) / (gain.std(correction=0) + 1e-8)
        for _ in range(args.epochs):
            for rows in torch.split(torch.randperm(len(samples), device=env.device), args.minibatch):
                _, new_log, entropy, new_value = agent(seen[rows], taken[rows])
                ratio = (new_log - old_log[rows]).exp()
                clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
                policy_loss = -torch.min(ratio * gain[rows], clipped * gain[rows]).mean()
                value_loss = (new_value - returns[rows]).square().mean()
                loss = policy_loss + args.value_weight * value_loss - args.entropy_weight * entropy.mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()

        records[0], value[0] = records[-1], value[-1]
        iteration, steps = iteration + 1, steps + len(samples)
        lifetime = len(samples) / max(1, int(died.sum()))
        writer.add_scalar("lifetime/mean", lifetime, steps)
        writer.add_scalar("loss/value", value_loss.item(), steps)
        writer.add_scalar("loss/entropy", entropy.mean().item(), steps)
        writer.add_scalar("speed/agent-steps per second", steps / (time.monotonic() - start), steps)
        print(f"{steps:11,} agent-steps   mean lifetime {lifetime:5.1f} ticks", flush=True)
    writer.close()
    return agent


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
