"""Training on a GPU: captured in CUDA graphs, it neither waits for the device nor copies to or from the host,
and its results are those of ordinary calls."""

from __future__ import annotations

import pytest
import torch
from train import nets
from train.example_runs import EXAMPLES
from train.small import FULL, small

from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import cuda_graphs, living, ppo
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import Trinity, sword_with

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

DEVICE = "cuda"


@pytest.fixture(autouse=True, scope="module")
def one_size():
    """Makes rollouts and updates take the maximum number of columns, so that one capture of each is
    replayed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(living, "SHARES", 1)
        patch.setattr(ppo, "SHARES", 1)
        yield


CROWD = {"slots": 400, "populations": 4, "births": -1, "spawn": "anywhere"}
KINDS = {
    "plain": {"minibatches": 2, "epochs": 2},
    "recurrent": {"recurrent": True, "targeting": "learned"},
    "bf16, a crowd": {"precision": "bf16", "layers": 3, "hidden": 64, **CROWD},
    "systems": {**EXAMPLES["chaos"], "births": -1},
    "the full game, recorded": {**FULL, "targeting": "learned", "births": -1, "record": (1,)},
}
"""Recurrence, targeting, precision, worlds of one block and of several, and systems."""


def started(**settings):
    """Starts a run on the kernels as a user does."""
    return Run(small(device=DEVICE, backend="triton", **settings))


def captured(run):
    """Whether rollout and update are replayed."""
    graphs = [[one.graph for one in of.values()] for of in (run.god.plays, run.pantheon.updates)]
    return all(any(graph is not None for graph in of) for of in graphs)


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    """Returns one run of each kind after four iterations: two ordinary ones, the capture, and a replay."""
    made = started(run=tmp_path_factory.mktemp("run"), **KINDS[request.param])
    for _ in range(4):
        made.iterate()
    assert captured(made)
    yield made
    made.close()


def test_nothing_waits_for_the_device(run):
    """Iterations with and without a report run while torch refuses operations that would wait."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            torch.zeros((), device=DEVICE).item()
        stats = run.iterate(report=True) + run.iterate()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    stats += run.synchronize()
    assert [one.iteration for one in stats][-2:] == [run.iteration - 1, run.iteration]
    assert all(values.isfinite().all() for one in stats for values in one.statistics.values())


def test_nothing_is_copied_to_or_from_the_host(run):
    """A profile of rollout and update has the kernels, copies within the device, and two to the host: how
    many agents lived in the rollout, unless slots are kept full, and how many samples there are, except for
    recurrent policies, which learn from all slots. A recorded run copies the frames and their numbers too. A
    test copy shows that the profile has copies."""

    def seen(work):
        torch.cuda.synchronize()
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            work()
            torch.cuda.synchronize()
        return [event.name for event in profile.events()]

    def iteration():
        run.pantheon.learn(run.god.collect(), run.progress())

    run.synchronize()
    names = seen(iteration)
    assert any("_choose" in name for name in names) and any("_evaluate" in name for name in names)
    assert not [name for name in names if "Memcpy HtoD" in name]
    copies = (run.config.env.world.births != -1) + (not run.config.policy.recurrent)
    copies += 0 if run.god.recorder is None else 2
    assert sum("Memcpy DtoH" in name for name in names) == copies
    assert any("Memcpy DtoH" in name for name in seen(lambda: torch.ones(3, device=DEVICE).cpu()))
    assert any("Memcpy HtoD" in name for name in seen(lambda: torch.ones(3).to(DEVICE)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", [nets.Plain, nets.Recurrent, nets.Central, nets.Separate])
def test_networks_from_scratch_are_captured(network, precision):
    """Networks that are ordinary modules are parts of the graphs, and wait for nothing either."""
    config = small(device=DEVICE, backend="triton", births=-1, precision=precision)
    run = Run(config, trinity=Trinity(sword=sword_with(network)))
    for _ in range(4):
        run.iterate()
    assert captured(run)
    before = [parameter.detach().clone() for parameter in run.sword.policy.parameters()]
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        stats = run.iterate() + run.iterate()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    stats += run.synchronize()
    assert all(one.finite for one in stats)
    assert not any(map(torch.equal, before, run.sword.policy.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_replays_equal_calls(kind, monkeypatch, tmp_path):
    """Of two runs with one seed, one is never captured: worlds and weights are equal to the last bit as long
    as torch's sums are equal in a graph. Where they are not, Adam turns a gradient's rounding into whole
    steps of single weights, and all weights together agree to a hundredth. The IterationStats of each
    iteration arrive one call later than on a CPU."""
    replayed, called = (started(run=tmp_path / name, **KINDS[kind]) for name in ("replayed", "called"))
    received, same = ([], []), True
    for _ in range(6):
        received[0].extend(replayed.iterate())
        with monkeypatch.context() as patch:
            patch.setattr(cuda_graphs, "WARM_UP", 1 << 60)
            received[1].extend(called.iterate())
        if same:
            assert replayed.god.env.world.digest() == called.god.env.world.digest()
        first, second = (
            torch.cat([weight.detach().reshape(-1) for weight in one.sword.policy.parameters()])
            for one in (replayed, called)
        )
        same = same and torch.equal(first, second)
        assert float((first - second).norm() / second.norm()) < 0.01
    assert captured(replayed) and not captured(called)
    for run, stats in zip((replayed, called), received, strict=True):
        assert [one.iteration for one in stats] == [1, 2, 3, 4, 5]
        stats += run.synchronize()
        assert stats[-1].iteration == 6 and run.synchronize() == []
        assert sum(one.steps for one in stats) == run.agent_steps == int(run.god.env.world.acted.sum())
        assert all(one.seconds > 0 and 0 < one.collect_share < 1 for one in stats)
        run.close()
    if replayed.god.recorder is not None:
        (first,), (second,) = ((tmp_path / name / "replays").iterdir() for name in ("replayed", "called"))
        with Replay(first) as one, Replay(second) as other:
            assert one.ticks == other.ticks == range(2, 2 + 6 * 8)
            if same:
                assert one.path.read_bytes()[-64:] == other.path.read_bytes()[-64:]


def test_graphs_of_several_sizes(monkeypatch, tmp_path):
    """While a world fills up, rollouts and updates of more and more columns are captured, each in one memory
    pool. Worlds, weights and statistics equal those of a run that is never captured, as long as sums are
    equal, and are close to them afterwards."""
    monkeypatch.setattr(living, "SHARES", 4)
    monkeypatch.setattr(ppo, "SHARES", 8)
    settings = {"slots": 64, "realms": 16, "births": 1, "hidden": 64, "layers": 2}
    replayed, called = (started(run=tmp_path / name, **settings) for name in ("replayed", "called"))
    for _ in range(24):
        first = replayed.iterate()
        with monkeypatch.context() as patch:
            patch.setattr(cuda_graphs, "WARM_UP", 1 << 60)
            second = called.iterate()
        for one, other in zip(first, second, strict=True):
            assert one.iteration == other.iteration and abs(one.steps - other.steps) < 0.05 * other.steps
            assert all(part.isfinite().all() for part in one.statistics.values())
            if one.iteration == 1:
                for name, part in one.statistics.items():
                    torch.testing.assert_close(part, other.statistics[name], rtol=1e-3, atol=1e-4)
    for graphs, fewest in ((replayed.god.plays, 2), (replayed.pantheon.updates, 3)):
        assert sum(one.graph is not None for one in graphs.values()) >= fewest
    assert not captured(called)
    first, second = (
        torch.cat([weight.detach().reshape(-1) for weight in one.sword.policy.parameters()])
        for one in (replayed, called)
    )
    assert float((first - second).norm() / second.norm()) < 0.2


def test_a_replayed_update_uses_the_current_learning_rate():
    """It takes the step size of the call, not that of the capture."""
    run = started(learning_rate=1e-2, final_learning_rate=1e-30)
    for _ in range(4):
        run.iterate()
    assert captured(run)

    def moved(progress):
        before = [weight.detach().clone() for weight in run.sword.policy.parameters()]
        run.pantheon.learn(run.god.rollout, progress)
        after = [weight.detach() for weight in run.sword.policy.parameters()]
        return max(float((new - old).abs().max()) for new, old in zip(after, before, strict=True))

    assert moved(1.0) == 0.0 and moved(0.0) > 1e-4 and moved(1.0) == 0.0


def test_a_replayed_rollout_uses_the_current_weights():
    """Weights that change between replays change the replayed rollout."""
    run = started()
    for _ in range(4):
        run.iterate()
    assert captured(run)
    with torch.no_grad():
        run.sword.policy.invariant_head_bias[..., 0] = 60.0  # staying, which is always possible
    rollout = run.god.collect()
    assert rollout.alive.any() and not rollout.choices[..., 0][rollout.alive].any()
    with torch.no_grad():
        run.sword.policy.invariant_head_bias[..., 0] = -60.0
    rollout = run.god.collect()
    assert rollout.choices[..., 0][rollout.alive].float().mean() > 0.9


@pytest.mark.parametrize("size", [{}, {"realms": 3, **CROWD}], ids=["one block", "several"])
def test_the_world_equals_plain_torch_on_a_cpu(size):
    """Fifty ticks of the same random actions give the same digest, rewards and observations."""
    on_cpu = Env(small(device="cpu", backend="torch", **size).env)
    on_gpu = Env(small(device=DEVICE, backend="triton", **size).env)
    for env in (on_cpu, on_gpu):
        env.reset()
    deaths = 0
    for tick in range(50):
        actions = random_actions(on_cpu)
        assert torch.equal(random_actions(on_gpu).cpu(), actions)
        _, reward, died, _, _ = on_cpu.step(actions)
        _, gpu_reward, gpu_died, _, _ = on_gpu.step(actions.to(DEVICE))
        assert torch.equal(gpu_reward.cpu(), reward) and torch.equal(gpu_died.cpu(), died), tick
        assert torch.equal(on_gpu.records.cpu(), on_cpu.records), tick
        deaths += int(died.sum())
    assert on_gpu.world.digest() == on_cpu.world.digest() and deaths > 5


def test_the_environment_can_be_captured():
    """A tick is captured by itself, as in the benchmark, and replays give the world of ordinary ticks."""
    plain, graphed = (Env(small(device=DEVICE, backend="triton").env) for _ in range(2))
    for env in (plain, graphed):
        env.reset()
    actions = torch.zeros(2, 16, 3, dtype=torch.int64, device=DEVICE)
    tick = cuda_graphs.GraphedCallable(
        lambda: graphed.step(actions, out=graphed.records), graphed.device, allowed=True
    )
    for turn in range(10):
        actions.copy_(random_actions(plain))
        plain.step(actions, out=plain.records)
        tick()
        assert graphed.world.digest() == plain.world.digest(), turn
    assert tick.graph is not None and int(plain.world.tick) == 11
