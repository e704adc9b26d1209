#!/usr/bin/env python
"""Checks and measurements that need a GPU, in groups of steps of under ten minutes each:

    python scripts/gpu_check.py [--dry] [--archive FILE] FOLDER [first | second | STEP ...]

``first`` (the default) takes at most 9.5 minutes, ``second`` at most 5; --list prints all steps. Every step
has a time limit, and the other steps run even if one fails or is stopped. A step's output is FOLDER/STEP.txt,
its figures are FOLDER/STEP.json, and FOLDER/summary.md summarizes all. With --archive, the results are packed
into FILE after every step, so that they are not lost if the machine's time runs out.

Use a Python that sees the GPU. Nothing is installed permanently: the package is imported from this
repository, and --wheels names a folder of wheels for packages that the Python lacks, for machines without
network. --dry tries the steps on a CPU, with tiny worlds and interpreted kernels; its figures are not
measurements.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "torch", "triton", "numpy", "tyro", "rich", "safetensors", "PIL", "tensorboard", "pytest", "hypothesis",
    "xdist",
)  # fmt: skip
"""Packages that the steps need."""

GRACE = 10
"""Seconds that a stopped step has to end by itself."""

TINY = (
    "--device", "cpu", "--backend", "triton", "--height", "40", "--width", "40", "--slots", "16",
    "--populations", "2", "--horizon", "1", "--minibatches", "1",
)  # fmt: skip
"""Settings of worlds and learner with --dry."""


@dataclass(frozen=True)
class Step:
    """One step of the check."""

    limit: int
    """Time limit in seconds."""
    about: str
    """Description."""
    command: Callable[[Place], list[str]]
    """Returns the command, which runs in the repository's root."""
    lines: int = 5
    """Number of last lines of its output that are shown."""


@dataclass(frozen=True)
class Place:
    """Where and how a step runs."""

    folder: Path
    """Folder for outputs and figures."""
    dry: bool
    """Whether to run on a CPU, with tiny worlds."""

    def json(self, name: str) -> list[str]:
        """Returns the option that names the file for a step's figures."""
        return ["--json", str(self.folder / f"{name}.json")]

    def either(self, real: str, dry: str = "") -> list[str]:
        """Returns the options of a real run, or those of a dry run."""
        return (dry if self.dry else real).split()


def script(name: str, *options: str) -> list[str]:
    """Returns a command that runs one of the repository's scripts."""
    return [sys.executable, f"scripts/{name}.py", *options]


def nmmo(*options: str) -> list[str]:
    """Returns a command of nmmo-gpu."""
    return [sys.executable, "-m", "nmmo_gpu", *options]


def bench(name: str, options: str, batches: str) -> Callable[[Place], list[str]]:
    """Returns the command of a benchmark; ``batches``: numbers of realms."""

    def command(place: Place) -> list[str]:
        fixed = ["bench", *options.split()]
        if place.dry:
            tiny = [*TINY, "--hidden", "8", "--batches", "1", "--repeats", "1", "--seconds", "0.001"]
            quick = [] if name == "rates" else ["--columns", "environment"]
            return nmmo(*fixed, *tiny, *quick, *place.json(name))
        chosen = ["--batches", *batches.split()] if batches else []
        return nmmo(*fixed, *chosen, "--shared-map", "--repeats", "3", *place.json(name))

    return command


def kernel_times(name: str, what: str, realms: int) -> Callable[[Place], list[str]]:
    """Returns a command that measures the time of each kernel."""
    return lambda place: script(
        "gpu/kernel_times", what, "--realms", str(realms), *place.either("", "--dry"), *place.json(name)
    )


def counters(place: Place) -> list[str]:
    """Returns a command that runs Nsight Compute, if installed, on the kernels of the observation."""
    work = script("gpu/kernel_times", "play", "--realms", "2048", *place.either("", "--dry"))
    if place.dry or shutil.which("ncu") is None:
        return work
    # The clocks are not locked, because that takes privileges that are rare on shared machines.
    options = "--clock-control none -k regex:_windows|_nearest|_record_fields -s 300 -c 3 --set full"
    return ["ncu", *options.split(), *work]


FIRST = {
    "facts": Step(
        30, "hardware and versions", lambda place: script("gpu/facts", *place.json("facts")), 12
    ),
    "compile": Step(
        50, "the kernels of the runs below, compiled in parallel",
        lambda place: script("gpu/compile_all", *place.either("", "--dry")),
    ),
    "smoke": Step(
        80, "worlds equal those of plain torch on a CPU; trainings are captured and stay finite",
        lambda place: script("gpu/smoke", *place.either("", "--dry"), *place.json("smoke")), 9,
    ),
    "tests": Step(
        105, "the tests that need a GPU, and those of kernels and trainer, compiled",
        lambda place: [
            sys.executable, "-m", "pytest", "-q", "-n", str(min(12, os.cpu_count() or 1)), "--dist",
            "worksteal", "-p", "no:cacheprovider", "--tb=short", *place.either("", "--collect-only"),
            "tests/world/test_terrain.py", "tests/train/test_residency.py", "tests/train/test_kernels.py",
            "tests/train/test_features.py", "tests/kernels", "tests/parity", "-k", "not numba",
        ], 14,
    ),
    "env": Step(
        40, "the environment alone", bench("env", "chaos --columns environment", "512 2048 8192")
    ),
    "kernels-env": Step(
        35, "time of each kernel of a tick, with predictions", kernel_times("kernels-env", "env", 8192), 20
    ),
    "rates": Step(45, "training with the GPU network", bench("rates", "chaos --scale gpu", "2048")),
    "rates-laptop": Step(45, "training with the laptop network", bench("rates-laptop", "chaos", "2048")),
    "kernels-train": Step(
        40, "time of each kernel of a rollout and an update, with predictions",
        kernel_times("kernels-train", "train", 2048), 50,
    ),
    "million": Step(
        45, "one realm of a million agents", bench("million", "million --columns environment", "")
    ),
    "rates-full": Step(50, "training in the full game", bench("rates-full", "full --scale gpu", "512")),
}  # fmt: skip

SECOND = {
    "train": Step(
        165, "two minutes of end-to-end training",
        lambda place: nmmo(
            "train", "chaos", "--scale", "gpu", "--run", str(place.folder / "run"),
            *place.either("--minutes 2", " ".join(TINY) + " --hidden 8 --realms 1 --iterations 1"),
        ),
    ),
    "eval": Step(
        45, "lifetimes after that training",
        lambda place: nmmo(
            "eval", str(place.folder / "run"), *place.either("", "--max-ticks 2 --no-full")
        ), 16,
    ),
    "layers": Step(
        30, "time of the hidden layers: one kernel each, or products of the library",
        lambda place: script("gpu/layer_times", *place.either("", "--dry"), *place.json("layers")),
    ),
    "ncu": Step(40, "hardware counters of the observation's kernels", counters, 140),
}  # fmt: skip

GROUPS = {"first": FIRST, "second": SECOND}
STEPS = FIRST | SECOND


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--dry", action="store_true", help="try the steps on a CPU")
    parser.add_argument("--archive", type=Path, help="file (.tgz) into which results are packed")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to add for this run")
    parser.add_argument("--list", action=Listing, nargs=0, help="print the steps and exit")
    options = parser.parse_args()
    chosen = options.steps or ["first"]
    if unknown := set(chosen) - {*GROUPS, *STEPS}:
        parser.error(f"there is no step {' or '.join(sorted(unknown))}; --list prints all steps.")
    place = Place(options.folder.resolve(), options.dry)
    place.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packages:
        environment = prepared(options.dry, options.wheels, packages)
        names = [name for step in chosen for name in GROUPS.get(step, [step])]
        start, failed = time.monotonic(), []
        for name in names:
            status = run(name, place, environment)
            print(f"   {time.monotonic() - start:.0f} s in total", flush=True)
            failed += [name] if status else []
            subprocess.run(script("gpu/summary", str(place.folder)), cwd=ROOT, env=environment, check=False)
            if options.archive is not None:
                pack(place.folder, options.archive)
    print((place.folder / "summary.md").read_text())
    print(f"failed: {', '.join(failed)}" if failed else "all steps succeeded")
    return 1 if failed else 0


class Listing(argparse.Action):
    """Prints the steps."""

    def __call__(self, *_: object) -> None:
        for group, steps in GROUPS.items():
            print(f"{group}: at most {sum(step.limit for step in steps.values())} s")
            for name, step in steps.items():
                print(f"  {name:14} {step.limit:4} s  {step.about}")
        sys.exit(0)


def prepared(dry: bool, wheels: Path | None, packages: str) -> dict[str, str]:
    """Returns the environment variables of the steps; exits with a message if they cannot run."""
    path = [str(ROOT)]
    if wheels is not None:
        files = [str(file) for file in sorted(wheels.glob("*.whl"))]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", packages]
        if not files or subprocess.run([*pip, *files], check=False).returncode:
            sys.exit(f"the wheels in {wheels} cannot be installed; give a folder of wheels for this Python.")
        path.append(packages)
        sys.path.insert(0, packages)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"{sys.executable} lacks {', '.join(missing)}: install the missing packages, use another Python, "
            "or name a folder that has their wheels with --wheels."
        )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
    if dry:
        return environment | {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            f"{sys.executable} sees no GPU: use a Python that does, or try the steps on a CPU with --dry."
        )
    return environment


def run(name: str, place: Place, environment: dict[str, str]) -> int:
    """Runs a step, prints the end of its output, logs the result, and returns its status."""
    step, start = STEPS[name], time.monotonic()
    file = place.folder / f"{name}.txt"
    with open(file, "w") as output:
        # A separate session, so that its child processes can be stopped together.
        process = subprocess.Popen(
            step.command(place), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(step.limit)
        except subprocess.TimeoutExpired:
            status = 124
        finally:
            # SIGINT first, so that pytest can still report failures, and a training can save.
            for number in (signal.SIGINT, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(GRACE)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
    seconds = time.monotonic() - start
    print(f"== {name}: status {status} after {seconds:.0f} of {step.limit} s")
    print("\n".join(file.read_text(errors="replace").splitlines()[-step.lines :]))
    row = {"step": name, "status": status, "seconds": round(seconds, 1), "limit": step.limit}
    with open(place.folder / "steps.jsonl", "a") as log:
        log.write(json.dumps(row) + "\n")
    return status


def pack(folder: Path, archive: Path) -> None:
    """Packs the files of the folder, without the runs in it; the archive is complete at any time."""
    part = archive.with_name(archive.name + ".part")
    with tarfile.open(part, "w:gz") as packed:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                packed.add(file, f"{folder.name}/{file.name}")
    part.replace(archive)


if __name__ == "__main__":
    sys.exit(main())
