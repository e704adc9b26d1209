"""Each of the three Trinity examples changes the part that it subclasses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from train.small import CPU, small

from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.trinity import Trinity

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = {"populations": 4, "horizon": 8, "births": -1}


def example(name):
    """Returns the module of an example."""
    found = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_no_example_is_longer_than_40_lines():
    """Imports and the class count, without blank lines and the module docstring."""
    for file in EXAMPLES.glob("trinity_*.py"):
        code = file.read_text().split('"""', 2)[2]
        assert 10 < len([line for line in code.splitlines() if line.strip()]) <= 40, file.name


@pytest.mark.parametrize("preset", ["chaos", "full"])
def test_the_attention_network_learns(preset):
    """The attention weights get gradients and change, and their output changes the choices."""
    from train.small import FULL

    more = FULL if preset == "full" else {}
    config = small(**CONFIG, targeting="learned", minibatches=1, **more)
    run = Run(config, trinity=Trinity(sword=example("trinity_network").Attending))
    before = {name: p.detach().clone() for name, p in run.sword.policy.named_parameters()}
    for _ in range(2):  # the output begins at zero, so the queries get no gradient at first
        run.iterate()
    for name in ("ask", "answer"):
        assert not torch.equal(before[name], dict(run.sword.policy.named_parameters())[name]), name


def test_population_based_training(monkeypatch):
    """The population with the shortest lifetimes becomes a mutated copy of the one with the longest; the
    others do not change."""
    module = example("trinity_population_based")
    monkeypatch.setattr(module.Selective, "every", 1)
    run = Run(small(**CONFIG), trinity=Trinity(god=module.Selective))
    before = run.sword.policy.window.detach().clone()
    chosen = []
    replace = module.Selective.replace

    def recorded(self, worst, best):
        chosen.append((int(worst), int(best)))
        replace(self, worst, best)

    monkeypatch.setattr(module.Selective, "replace", recorded)
    rollout = run.god.collect()
    by_population = (8, 2, 4, 4)
    lived, died = (part.view(by_population).sum((0, 1, 3)) for part in (rollout.alive, rollout.died))
    lifetime = lived / died.clamp(min=1)
    ((worst, best),) = chosen
    assert lifetime[worst] == lifetime.min() and lifetime[best] == lifetime.max() > lifetime.min()
    after = run.sword.policy.window.detach()
    torch.testing.assert_close(after[worst], before[best], rtol=0.2, atol=1e-6)
    assert not torch.equal(after[worst], before[best])
    others = [p for p in range(4) if p != worst]
    assert torch.equal(after[others], before[others])
    assert not run.god.score.any(), "the score is reset"


def test_evolution(tmp_path):
    """The populations' mean moves towards the fittest, their spread becomes the deviation, and the run
    resumes from its checkpoint without moments."""
    module = example("trinity_evolution")
    trinity = Trinity(pantheon=module.Evolution)
    run = train(small(tmp_path / "run", **CONFIG, iterations=3), trinity=trinity)
    weight = run.sword.policy.window.detach()
    assert float(weight.std(0).mean()) == pytest.approx(module.Evolution.deviation, rel=0.1)
    assert not checkpoints.load(tmp_path / "run", CPU).part("optimizer")

    mean = weight.mean(0)
    rollout = run.god.collect()
    rollout.died.zero_()
    rollout.died.view(8, 2, 4, 4)[:, :, 1:] = True  # population 0 alone lives long
    rollout.alive.fill_(True)
    run.pantheon.learn(rollout, 0.5)
    moved = run.sword.policy.window.detach().mean(0) - mean
    assert float((moved * (weight[0] - mean)).sum()) > 0
    again = train(*resume(str(tmp_path / "run"), iterations=4), trinity)
    assert again.iteration == 4
