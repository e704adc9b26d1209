"""Learning with systems: their fields reach the network, their heads are sampled and learned, and their state
is part of checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys

import pytest
import torch
from support.example_systems import FOLDER, Daylight, Flag
from support.world_systems import Bandit, Everything
from train.example_runs import EXAMPLES
from train.small import CPU, FULL, assert_equal_states, reloaded, shout, small, state_of

from nmmo_gpu.config.systems import ActionSpec, System
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.features import system_features
from nmmo_gpu.train.ppo import SampleBatches, SequenceBatches
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.sampling import choose_all, uniforms
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.train.trinity import sword as swords
from nmmo_gpu.world.random import draw

PATHS = ["torch", "numba", "static shapes", "triton"]
"""How heads of systems are sampled: with the shapes of living agents or static ones, of worlds in torch, in
compiled loops, or in interpreted kernels."""


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Returns the settings of one of ``PATHS``."""
    if request.param == "static shapes":
        monkeypatch.setattr(swords, "training_backend", static)
        return {"backend": "torch"}
    pytest.importorskip(request.param)
    if request.param == "triton":
        if torch.cuda.is_available():
            pytest.skip("kernels run on the GPU, and these worlds on the CPU")
        return {
            "backend": "triton",
            "realms": 1,
            "height": 32,
            "width": 33,
            "horizon": 3,
            "check_actions": False,
        }
    return {"backend": request.param}


def static(backend, config=None):
    """Returns plain functions that sample all slots, as on a GPU."""
    return TrainingBackend(choose=functools.partial(choose_all, draw))


def played(**settings):
    """Returns a run whose agents have played a rollout with clear preferences, before any update."""
    run = Run(small(**{"births": -1, "systems": (Everything(),), "slots": 16, **settings}))
    shout(run.sword.policy)
    with run.god.env.intervene() as world:
        world.food[:, ::3].clamp_(max=3)  # Everything masks its first head for these
    run.god.collect()
    return run


# ----------------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("name", ["torch", "numba", "triton"])
def test_fields_reach_the_network(name):
    """Every column has a gradient, and other fields give other outputs, the same on every backend."""
    pytest.importorskip(name)
    outputs = {}
    for backend in ("torch", name):
        run = played(hidden=32, backend="numba" if backend == "numba" else "torch")
        sword = run.sword
        if backend == "triton":
            if torch.cuda.is_available():
                pytest.skip("kernels run on the GPU, and these worlds on the CPU")
            sword = Sword(small(systems=(Everything(),), births=-1, hidden=32, backend="triton"), CPU)
            sword.policy.load_state_dict(run.sword.policy.state_dict())
        policy, records = sword.policy, run.god.env.records.view(32, -1).clone()
        index = torch.arange(32).view(2, 2, 8).transpose(0, 1).reshape(2, 16)
        views = run.god.env.layout.views(records)
        columns = system_features(views, run.god.env.layout)
        assert columns.shape == (32, 5)
        for first, field, high in ((0, "flags", 1), (3, "sky", 1000), (4, "voice", 255)):
            given = views[f"everything.{field}"].view(32, -1).float() / high
            assert torch.allclose(columns[:, first : first + given.shape[1]], given)
        views["everything.sky"].copy_(torch.arange(32) * 30)
        views["everything.voice"].copy_(torch.arange(32) * 3)
        views["everything.flags"].fill_(True)
        logits, _ = policy.unmasked(records, index, None)
        logits.square().sum().backward()
        assert policy.system_features.grad.abs().sum((0, 2)).min() > 0
        views["everything.sky"][3] = 999
        changed, _ = policy.unmasked(records, index, None)
        differs = (changed != logits).any(-1)
        assert differs[0, 3] and differs.sum() == 1, "the output of one agent"
        outputs[backend] = changed.detach()
    torch.testing.assert_close(outputs[name], outputs["torch"], rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize(("recurrent", "targeting"), [(False, "auto"), (True, "learned")])
def test_heads_are_sampled_under_their_masks_and_evaluated_as_sampled(path, recurrent, targeting):
    """The update's log-probabilities of the choices equal those of the rollout, before weights change."""
    run = played(recurrent=recurrent, targeting=targeting, **path)
    rollout, policy, backend = run.god.rollout, run.sword.policy, run.sword.training_backend
    views = policy.layout.views(rollout.records[:-1].flatten(0, 2))
    alive = rollout.alive.view(-1)
    choices = rollout.choices.view(len(alive), -1)
    assert list(run.sword.choices())[-2:] == ["shout", "nod"]
    for column, head, number in ((-2, "shout", 4), (-1, "nod", 2)):
        mask, chosen = views[f"{head}_mask"], choices[:, column].long()
        assert mask[alive].gather(-1, chosen[alive][:, None]).all()
        assert len(chosen[alive].unique()) == number and not chosen[~alive].any()
    hungry = alive & ~views["shout_mask"][:, 1]
    assert hungry.any() and not choices[hungry][:, -2].any()
    batches = (SequenceBatches if recurrent else SampleBatches)(policy, rollout, backend)
    with torch.no_grad():
        evaluation, rows, real = batches.evaluate_actions(torch.arange(batches.columns))
    assert int(real.sum()) == int(alive.sum()) > 20
    stored = rollout.log_probability.view(-1)[rows]
    torch.testing.assert_close(evaluation.log_probability[real], stored[real], rtol=1e-4, atol=1e-4)
    assert stored[real].max() < 0
    torch.testing.assert_close(
        evaluation.value[real], rollout.value[:-1].view(-1)[rows][real], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("world", ["chaos", "full"])
@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_static_shapes_give_the_same_choices(world, targeting):
    """As the path of living agents alone, with the same random numbers."""
    run = played(
        **(FULL if world == "full" else {}), targeting=targeting, backend="torch", realms=3, births=1
    )
    sword, env = run.sword, run.god.env
    one = sword.decide(env.records, env.world, None)
    sword.training_backend = static(None)
    other = sword.decide(env.records, env.world, None)
    assert torch.equal(one.actions, other.actions) and torch.equal(one.choices, other.choices)
    alive = env.world.agents(env.world.alive).reshape(-1)
    assert 5 < alive.sum() < len(alive) and other.actions.reshape(len(alive), -1)[alive].any(0)[-2:].all()
    for name in ("log_probability", "value"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-5)


def test_many_heads_have_random_numbers_of_their_own():
    """More than one draw has words for; in training, and in random actions."""
    sizes = {f"head_{letter}": ActionSpec(50, "x") for letter in "abcdefghij"}
    methods = {"actions": lambda self, config: sizes}
    system = dataclasses.dataclass(frozen=True)(type("Many", (System,), methods))()
    env = Env(small(systems=(system,), births=-1, realms=4).env)
    env.reset()
    heads = list(env.action_heads)
    assert heads[-10:] == list(sizes)
    realm, slot = torch.arange(64) // 16, torch.arange(64) % 16
    drawn = uniforms(draw, env.world, heads, realm, slot)
    assert drawn.shape == (13, 64) and ((drawn >= 0) & (drawn < 1)).all()
    assert len(drawn.unique()) > 0.99 * drawn.numel()
    env.world.tick += 1
    assert not (uniforms(draw, env.world, heads, realm, slot) == drawn).any()
    actions = random_actions(env)[env.world.agents(env.world.alive)][:, 3:].double()
    related = torch.corrcoef(actions.T) - torch.eye(10)
    assert related.abs().max() < 0.6 and actions.min() == 0 and actions.max() == 49


def test_only_heads_of_systems_leave_the_compiled_path():
    """A system without heads keeps the backend's functions; one with heads is sampled in torch."""
    pytest.importorskip("triton")
    for name in ("numba", "triton"):
        if name == "triton" and torch.cuda.is_available():
            continue
        stock, fields, heads = (
            Sword(small(backend=name, systems=systems), CPU).training_backend
            for systems in ((), (Daylight(),), (Flag(),))
        )
        assert (fields.sample, fields.evaluate) == (stock.sample, stock.evaluate)
        assert heads.sample is heads.evaluate is None
        assert heads.static_shapes == fields.static_shapes == stock.static_shapes == (name == "triton")


@pytest.mark.parametrize("name", ["torch", "numba", "static shapes"])
def test_a_rewarded_choice_is_learned(name, monkeypatch):
    """Its probability rises for agents that can make it; others keep choosing nothing."""
    if name == "static shapes":
        monkeypatch.setattr(swords, "training_backend", static)
    else:
        pytest.importorskip(name)
    run = Run(small(
        systems=(Bandit(),), reward="none", births=-1, learning_rate=3e-2, entropy_weight=0.0, gamma=0.5,
        epochs=2, horizon=8, backend="torch" if name == "static shapes" else name,
    ))  # fmt: skip
    shares = []
    for _ in range(20):
        run.iterate()
        rollout = run.god.rollout
        able = rollout.alive.view(8, 2, 16)[..., ::2]
        lever = rollout.choices.view(8, 2, 16, -1)[..., -1]
        assert not lever[..., 1::2].any()
        shares.append(float((lever[..., ::2][able] == 1).float().mean()))
    assert shares[0] < 0.5 and sum(shares[-3:]) / 3 > 0.8, shares


# ------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("policy", [{}, {"recurrent": True, "targeting": "learned"}])
def test_a_resumed_run_equals_an_uninterrupted_one(name, policy, tmp_path):
    """State of systems, weights and counters are equal to the last bit."""
    config = small(births=-1, **EXAMPLES[name], **policy)
    whole, first = Run(config), Run(config)
    for _ in range(3):
        whole.iterate()
    first.iterate()
    resumed = Run(config, reloaded(first, tmp_path / checkpoints.FILE))
    for _ in range(2):
        resumed.iterate()
    state = state_of(whole)
    assert_equal_states(state, state_of(resumed))
    for system in config.env.world.systems:
        assert [key for key in state if f"{system.name}." in key] or system.name == "nothing"
    if name == "chaos":
        counts = whole.god.env.world.systems["death_fog"]["counts"]
        assert counts.any() and whole.god.env.world.systems["dense_regrowth"]["counts"].any()


def test_a_system_that_is_not_imported_is_an_error(tmp_path):
    """It names the class and what to do; with the module imported, the run is loaded, and its file is the
    only thing that has to be imported."""
    run = Run(small(systems=(Flag(),)))
    reloaded(run, tmp_path / checkpoints.FILE)
    code = f"""
import sys
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.train.run import resume
try:
    resume({str(tmp_path)!r})
except NmmoError as error:
    print("refused:", error)
assert "flag" not in sys.modules
sys.path.insert(0, {str(FOLDER)!r})
import flag
config, stored = resume({str(tmp_path)!r})
assert config.env.world.systems == (flag.Flag(),)
print("loaded:", [name for name in stored.tensors if "flag" in name])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused, loaded = found.stdout.splitlines()
    assert refused.startswith("refused:") and "'flag:Flag'" in refused and "is not imported" in refused
    assert "--import" in refused
    assert "flag.carrier" in loaded and "flag.score" in loaded


def test_a_checkpoint_of_other_settings_is_another_run(tmp_path):
    """The settings of systems are read back with the config."""
    run = Run(small(systems=(Flag(reward_carry=0.25), Daylight(period=7))))
    stored = reloaded(run, tmp_path / checkpoints.FILE)
    assert stored.config == run.config
    assert stored.config.env.world.systems == (Flag(reward_carry=0.25), Daylight(period=7))
    other = dataclasses.replace(stored.config.env.world, systems=(Flag(reward_carry=0.5), Daylight(period=7)))
    assert other != stored.config.env.world


def test_systems_change_nothing_of_the_rules_that_they_do_not_touch():
    """A world with a system that only observes has the history of one without it."""
    stock, seen = (Env(small(births=-1, systems=systems).env) for systems in ((), (Daylight(),)))
    for env in (stock, seen):
        env.reset()
    for _ in range(10):
        actions = random_actions(stock)
        stock.step(actions)
        seen.step(actions)
    for name, tensor in stock.world.tensors():
        assert name == "deaths" or torch.equal(seen.world.tensor(name), tensor), name
