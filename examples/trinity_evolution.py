#!/usr/bin/env python
"""A different learner in Pantheon: evolution strategies (Salimans et al. 2017, arXiv 1703.03864). The
populations are perturbations of one policy, and compete in one world; no gradient is computed.

examples/trinity_evolution.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train import distributed
from nmmo_gpu.train.rollout import Rollout
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import Pantheon, Trinity


class Evolution(Pantheon):
    deviation, step = 0.03, 0.3

    @torch.no_grad()
    def learn(self, rollout: Rollout, progress: float) -> dict[str, Tensor]:
        config, policy = self.config.env.world, self.sword.policy
        by_population = (len(rollout.alive), -1, config.populations, config.population_size)
        counts = [part.view(by_population).sum((0, 1, 3)) for part in (rollout.alive, rollout.died)]
        distributed.all_reduce_sum(counts)
        lifetime = counts[0] / counts[1].clamp(min=1)
        fitness = (lifetime - lifetime.mean()) / (lifetime.std(correction=0) + 1e-6)
        generator = torch.Generator().manual_seed(int(rollout.tick))
        for weight in policy.parameters():
            center = weight.mean(0, keepdim=True)
            center += self.step * (fitness.view(-1, *[1] * (weight.dim() - 1)) * (weight - center)).mean(0)
            noise = torch.randn(weight.shape, generator=generator).to(weight.device)
            weight.copy_(center + self.deviation * (noise - noise.mean(0)))
        return {"fitness": lifetime}

    def state(self) -> dict[str, Tensor]:
        return {}  # the weights are the whole state: their mean is the policy

    def restore(self, stored: dict[str, Tensor]) -> None:
        pass


if __name__ == "__main__":
    train(train_options("chaos"), trinity=Trinity(pantheon=Evolution))
