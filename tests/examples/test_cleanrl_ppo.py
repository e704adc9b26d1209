"""The single-file PPO learns from its own agents' rollouts, samples possible actions only, and reports
lifetimes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import tyro
from support.helpers import ODD
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nmmo_gpu.env import make

_spec = importlib.util.spec_from_file_location(
    "cleanrl_ppo", Path(__file__).parents[2] / "examples" / "cleanrl_ppo.py"
)
cleanrl_ppo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cleanrl_ppo)

TINY = (
    "--iterations", "2", "--realms", "3", "--slots", "16", "--horizon", "9", "--epochs", "2",
    "--minibatch", "37", "--width", "12", "--seed", "5", "--device", "cpu",
)  # fmt: skip


def learned(run: Path, *options: str) -> list[torch.Tensor]:
    """Returns the weights after a run of the script."""
    args = tyro.cli(cleanrl_ppo.Args, args=[*TINY, "--run", str(run), *options])
    return [weight.detach() for weight in cleanrl_ppo.main(args).parameters()]


def test_two_iterations_change_every_layer_and_stay_finite(tmp_path, capsys):
    """Compared with the same run at a learning rate of zero; two equal runs give equal weights."""
    untouched = learned(tmp_path / "none", "--learning-rate", "0")
    weights, again = learned(tmp_path / "a"), learned(tmp_path / "b")
    for before, after, repeated in zip(untouched, weights, again, strict=True):
        assert after.isfinite().all() and not torch.equal(before, after)
        assert torch.equal(after, repeated)
    assert capsys.readouterr().out.count("mean lifetime") == 6


def test_the_curve_counts_steps_and_deaths(tmp_path, monkeypatch):
    """They equal the world's own counts."""
    worlds = []

    def kept(*args, **settings):
        worlds.append(make(*args, **settings))
        return worlds[-1]

    monkeypatch.setattr(cleanrl_ppo.nmmo_gpu, "make", kept)
    learned(tmp_path)
    first, second = EventAccumulator(str(tmp_path)).Reload().Scalars("lifetime/mean")
    assert second.step == int(worlds[0].world.acted.sum())
    deaths = first.step / first.value + (second.step - first.step) / second.value
    assert round(deaths, 3) == int(worlds[0].world.deaths.sum()) > 5


@pytest.mark.parametrize("preset", ["chaos", "law"])
def test_sampled_actions_are_possible_and_evaluated_alike(preset):
    """Targets are in reach of the chosen style, and in law there are none. The network evaluates its own
    choices to the log-probability of the sample."""
    torch.manual_seed(1)
    settings = {"slots": 24, "births": -1, "reach": (3, 2, 1), "device": "cpu", "backend": "torch"}
    env = make(preset, **ODD, realms=3, **settings)
    agent = cleanrl_ppo.Agent(env, 12)
    torch.nn.init.normal_(agent.scores_and_value.weight)  # confident and different for each agent
    obs = env.reset()
    attacks = 0
    for _ in range(20):
        alive = obs["alive"]
        with torch.no_grad():
            actions, log_probability, entropy, value = agent(env.records[alive])
            again, *same = agent(env.records[alive], actions)
        assert torch.equal(actions, again)
        for first, second in zip((log_probability, entropy, value), same, strict=True):
            assert first.shape == (int(alive.sum()),) and torch.equal(first, second)
        assert (log_probability <= 0).all() and (entropy >= 0).all() and entropy.max() > 0.1
        all_actions = torch.zeros(3, 24, 3, dtype=torch.int64)
        all_actions[alive] = actions
        move, style, target = actions[..., None].unbind(1)
        assert obs["move_mask"][alive].gather(1, move).all()
        assert obs["style_mask"][alive].gather(1, style).all()
        in_reach = obs["target_mask"][alive][torch.arange(len(style)), style[:, 0]]
        assert in_reach.gather(1, target).all()
        attacks += int((target > 0).sum())
        obs, *_ = env.step(all_actions)
    assert attacks > 20 if preset == "chaos" else attacks == 0
