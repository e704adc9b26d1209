"""Runs scripts/gpu_check.py without starting an interpreter for each step. Most steps run in forks of this
process, which has imported their common modules and interprets kernels as all tests do.

    python tests/support/forked_steps.py scripts/gpu_check.py OPTIONS...
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.forks import end_with


class Forked:
    """The part of ``subprocess.Popen`` that is used for a command of this Python interpreter, which names a
    script, or a module by ``-m``. The command has its own working directory, environment variables, module
    path and output."""

    def __init__(
        self, command: list[str], cwd: Path, env: dict[str, str], stdin: int, stdout: IO[str], stderr: int,
        start_new_session: bool,
    ) -> None:  # fmt: skip
        assert command[0] == sys.executable and stdin == subprocess.DEVNULL
        assert stderr == subprocess.STDOUT and start_new_session
        # The forked command must import modules from where this process imported them.
        assert env["PYTHONPATH"] == os.environ["PYTHONPATH"]
        self.pid = os.fork()
        if self.pid == 0:
            end_with(lambda: _run(command[1:], cwd, env, stdout))
        self.status: int | None = None

    def wait(self, limit: float | None = None) -> int:
        end = time.monotonic() + (float("inf") if limit is None else limit)
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), limit or 0.0)
            else:
                time.sleep(0.02)
        return self.status


started: set[str] = set()
"""Modules that commands have run, and "script" once a script has run."""


def popen(command: list[str], **options: Any) -> Forked | subprocess.Popen[str]:
    """Starts the first script and the first command of each module in a new interpreter, and forks others."""
    kind = command[2] if command[1] == "-m" else "script"
    first = kind not in started
    started.add(kind)
    return subprocess.Popen(command, text=True, **options) if first else Forked(command, **options)


def _run(words: list[str], cwd: Path, env: dict[str, str], output: IO[str]) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if words[0] == "-m":
        sys.path.insert(0, str(cwd))
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str((cwd / words[0]).parent))
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    import torch._dynamo  # noqa: F401  # torch imports it on first use
    from support import fast_interpreter

    import nmmo_gpu.benchmarks.bench
    import nmmo_gpu.cli.main
    import nmmo_gpu.train.evaluate
    import nmmo_gpu.train.run  # noqa: F401

    fast_interpreter.install()
    del sys.path[:2], sys.argv[0]
    specification = importlib.util.spec_from_file_location("gpu_check", sys.argv[0])
    assert specification is not None and specification.loader is not None
    check = sys.modules["gpu_check"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(check)
    check.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    sys.exit(check.main())


if __name__ == "__main__":
    main()
