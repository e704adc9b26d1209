"""The tasks of the processes that ``test_distributed.py`` starts."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from nmmo_gpu.train import distributed, ppo
from nmmo_gpu.train.run import Run, resume, train
from nmmo_gpu.train.trinity import Pantheon, Trinity


def settings(**more: Any) -> Any:
    """Returns the config of these tests."""
    from train.small import small
    from train.test_distributed import SETTINGS

    return small(**{**SETTINGS, **more})


def learn() -> dict[str, Any]:
    """Trains for 3 iterations and returns what the test compares."""
    from train.small import state_of

    run = Run(settings())
    kept = {}

    def recorded(*arguments: Any) -> Any:
        kept["gradients"] = {name: p.grad.clone() for name, p in run.sword.policy.named_parameters()}
        return clip(*arguments)

    clip = ppo.clip_per_population
    ppo.clip_per_population = recorded
    stats = run.iterate()[0]
    ppo.clip_per_population = clip
    world = run.god.env.world
    played = {name: getattr(world, name).clone() for name in ("material", "entity", "row", "health", "alive")}
    kept["weights"] = {name: p.detach().clone() for name, p in run.sword.policy.named_parameters()}
    for _ in range(2):
        run.iterate()
    return {
        "first": kept,
        "played": played,
        "statistics": torch.stack(list(stats.statistics.values())),
        "agent_steps": run.agent_steps,
        "last": {name: t.clone() for name, t in state_of(run).items() if not name.startswith("world.")},
    }


def play_examples() -> dict[str, Any]:
    """Plays a rollout with the systems of examples/systems; returns what the test compares."""
    from train.example_runs import EXAMPLES
    from train.small import shout

    played = {}
    for name, rules in EXAMPLES.items():
        run = Run(settings(**{**rules, "births": -1}))
        shout(run.sword.policy)
        (stats,) = run.iterate(report=True)
        kept = {name: tensor.clone() for name, tensor in vars(run.god.rollout).items() if tensor is not None}
        played[name] = {"world": dict(run.god.env.world.tensors()), "rollout": kept, "counts": stats.world}
    return played


class Mortal(Pantheon):
    """Learns until its second process is killed in the fourth iteration; after a restart it continues."""

    iterations = 0

    def learn(self, rollout: Any, progress: float) -> Any:
        self.iterations += 1
        if self.iterations == 4 and not distributed.restarted() and distributed.rank() == 1:
            print("dies in iteration 4", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().learn(rollout, progress)


def main(task: str, folder: str, *more: str) -> None:
    if task == "learn":
        with distributed.process_group():
            torch.save(learn(), Path(folder) / f"{distributed.rank()}.pt")
    if task == "examples":
        with distributed.process_group():
            torch.save(play_examples(), Path(folder) / f"{distributed.rank()}.pt")
    if task == "train":
        from train.example_runs import EXAMPLES

        recurrent = more[1] == "True"
        rules = EXAMPLES["chaos"] if recurrent else {}
        length = {"iterations": int(more[0]), "checkpoint_minutes": 0.0}
        train(settings(run=folder, recurrent=recurrent, **length, **rules))
    if task == "resume":
        with distributed.process_group():
            train(*resume(folder, iterations=int(more[0])))
    if task == "die":
        # By torch, which every process that starts here imports anyway.
        config = settings(run=folder, iterations=int(more[0]), checkpoint_minutes=0.0, backend="torch")
        run = train(config, trinity=Trinity(pantheon=Mortal))
        if distributed.restarted() and run.iteration:
            print(f"resumes after iteration {run.iteration - run.pantheon.iterations}", flush=True)


def serve() -> None:
    """Reads requests as lines of JSON, [processes, task, folder, ...], and answers each with the exit
    statuses and the output of that many processes that run the task. They are forks of this process, which
    has imported torch and the package for all of them; store and environment variables are those of
    torchrun."""
    import torch._dynamo  # noqa: F401  # which torch imports when it is first needed
    from support.forks import end_with
    from torch.distributed import TCPStore
    from train import example_runs, small, test_distributed  # noqa: F401

    for line in sys.stdin:
        processes, *arguments = json.loads(line)
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "WORLD_SIZE": processes,
            "GROUP_WORLD_SIZE": 1, "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_USE_AGENT_STORE": True,
        }  # fmt: skip
        with tempfile.TemporaryFile() as output:
            started = []
            for rank in range(processes):
                started.append(os.fork())
                if started[-1] == 0:
                    settings = {**shared, "RANK": rank, "LOCAL_RANK": rank}
                    os.environ.update({name: str(value) for name, value in settings.items()})
                    os.dup2(output.fileno(), 1)
                    os.dup2(output.fileno(), 2)
                    end_with(main, *arguments)
            statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
            output.seek(0)
            print(json.dumps([statuses, output.read().decode()]), flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main(*sys.argv[1:])
