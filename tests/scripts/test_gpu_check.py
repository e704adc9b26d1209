"""Rehearses the GPU check without a GPU: no step lacks a package or a path, and no result is lost."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

pytest.importorskip("triton")
SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.py"
FORKED = Path(__file__).parents[1] / "support" / "forked_steps.py"


@pytest.fixture(scope="module")
def check():
    """Imports the script as a module."""
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_of_every_step(check, tmp_path):
    """All steps succeed in another folder than the repository's, and one archive holds their results.

    A script and a command of each module are started as on a GPU. The other steps run with their own command
    lines and files in forks of a process that has imported torch and the package, which saves the seconds in
    which each step would import them (see ``FORKED``)."""
    archive, folder = tmp_path / "results.tgz", tmp_path / "results"
    options = ["--dry", "--archive", str(archive), str(folder), *check.GROUPS]
    command = [sys.executable, str(FORKED), str(SCRIPT), *options]
    of_steps = {
        "PYTHONPATH": str(SCRIPT.parents[1]), "CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1",
        "TRITON_CACHE_DIR": str(tmp_path / "triton"),
    }  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | of_steps)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert [(row["step"], row["status"]) for row in steps] == [(name, 0) for name in check.STEPS]
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        found = json.load(packed.extractfile("results/summary.json"))
    assert {f"results/{name}.txt" for name in check.STEPS} <= set(names)
    assert not [name for name in names if "/run" in name and not name.endswith(".txt")]
    assert found["facts"]["device"] == "cpu" and len(found["facts"]["triton_key"]) == 16
    parts = {part["part"]: part for part in found["smoke"]}
    assert len(parts) == 7 and all(part["good"] for part in parts.values())
    assert "the same bits" in parts["worlds of full"]["message"]
    for name in ("env", "rates", "million", "rates-full", "rates-laptop"):
        assert all(row["environment"] > 0 for row in found[name]["results"]), name
    assert found["rates"]["results"][0]["+ training"] > 0
    assert found["kernels-env"]["tables"]["environment"]["whole"] > 0
    assert set(found["kernels-train"]["tables"]) == {"rollout", "update"}
    assert all(took > 0 for times in found["layers"]["times"].values() for took in times.values())
    page = (folder / "summary.md").read_text()
    assert "| rates | 1 x 16 |" in page and "| matrix products |" in page and page in done.stdout
    assert "tests collected" in (folder / "tests.txt").read_text()
    compiled = re.search(r"(\d+) kernels are in Triton's cache", (folder / "compile.txt").read_text())
    assert 20 < int(compiled[1]) == len(list((tmp_path / "triton").glob("*/*.cubin")))


def test_limits_fit_the_commands(check):
    """Nine and a half minutes for the first command, five for the second."""
    limits = {group: sum(step.limit for step in steps.values()) for group, steps in check.GROUPS.items()}
    assert limits["first"] <= 9.5 * 60 and limits["second"] <= 5 * 60


STEPS = {
    "fails": ("import sys; print('what it said'); sys.exit(3)", 20),
    "hangs": ("import subprocess, time; subprocess.Popen(['sleep', '77.7']); time.sleep(60)", 1),
    "works": ("print('well')", 20),
}


def test_failing_and_hanging_steps_do_not_stop_the_run(check, monkeypatch, capfd, tmp_path):
    """The next step runs, processes that a step started are ended with it, and the archive holds all
    outputs."""
    steps = {
        name: check.Step(limit, name, lambda place, code=code: [sys.executable, "-c", code])
        for name, (code, limit) in STEPS.items()
    }
    monkeypatch.setattr(check, "STEPS", steps)
    archive = tmp_path / "results.tgz"
    monkeypatch.setattr(sys, "argv", ["x", "--dry", "--archive", str(archive), str(tmp_path / "out"), *STEPS])
    start = time.monotonic()
    assert check.main() == 1 and time.monotonic() - start < 50
    output = capfd.readouterr().out
    assert "what it said" in output and "failed: fails, hangs" in output and "well" in output
    with tarfile.open(archive) as packed:
        log = packed.extractfile("out/steps.jsonl").read().decode()
        assert b"well" in packed.extractfile("out/works.txt").read()
    assert [json.loads(line)["status"] for line in log.splitlines()] == [3, 124, 0]
    assert subprocess.run(["pgrep", "-f", "^sleep 77.7"], capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no GPU.*--dry"),
        (["--wheels", "{folder}"], "wheels in .* cannot be installed"),
        (["unknown"], "no step unknown"),
    ],
)
def test_impossible_commands_are_refused(check, options, message, monkeypatch, capsys, tmp_path):
    """Each ends before the first step with a message that says what to change."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    options = [option.format(folder=tmp_path) for option in options]
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "out"), *options])
    with pytest.raises(SystemExit) as end:
        check.main()
    assert re.search(message, f"{end.value} {capsys.readouterr().err}")
    assert not list(tmp_path.glob("out/*"))


def test_a_missing_package_is_named(check, monkeypatch):
    """The message names the remedies."""
    monkeypatch.setattr(check, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(SystemExit, match=r"lacks no_such_package: install .* --wheels"):
        check.prepared(dry=True, wheels=None, packages="")


def test_all_packages_that_steps_import_are_checked(check):
    """The script checks beforehand for each package a step imports, apart from those of torch and pytest: the
    modules of all steps can be imported while the project's other packages are blocked."""
    blocked = ["gymnasium", "starlette", "uvicorn", "websockets", "pettingzoo", "torchrl", "numba"]
    code = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        "import nmmo_gpu.benchmarks.bench, nmmo_gpu.cli.main, nmmo_gpu.train.compile, nmmo_gpu.train.run\n"
        "import nmmo_gpu.train.evaluate\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
