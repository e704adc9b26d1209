"""A run's folder: its lock, its config, and the record of what made it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import torch

import nmmo_gpu
from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.files import clear_parts, reason, replace_text
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.config import TrainConfig

CONFIG = "config.json"
"""The run's settings."""
ORIGIN = "run.json"
"""What made the run: an ``id``, and for each of its ``starts`` versions, commit, command, host and time."""
LOCK = ".lock"
"""Locked by the operating system while a process trains in the folder, and released when that ends."""


class RunFolder:
    """The folder of a run, locked by this process."""

    def __init__(self, path: Path, id: str) -> None:
        self.path = path
        self.id = id
        """Random, unique for each run; checkpoints and recordings contain it."""

    def describe(self, config: TrainConfig, iteration: int) -> None:
        """Writes ``CONFIG``, and adds this start to ``ORIGIN``.

        Args:
            config: the run's settings.
            iteration: completed iterations; 0 for a new run.

        Raises ConfigError if the folder cannot be written."""
        starts = _origin(self.path).get("starts", []) if iteration else []
        origin = {"id": self.id, "starts": [*starts, {"iteration": iteration, **made_by()}]}
        try:
            replace_text(self.path / ORIGIN, json.dumps(origin, indent=2) + "\n")
            replace_text(self.path / CONFIG, json.dumps(to_plain(config), indent=2) + "\n")
        except OSError as error:
            raise _unwritable(config, error) from error


@contextlib.contextmanager
def opened(config: TrainConfig, resumed: bool) -> Iterator[RunFolder]:
    """Creates the run's folder if necessary, and locks it until the context ends.

    If an error ends the context before ``RunFolder.describe`` was called, the folder is left as it was.

    Args:
        config: the run's settings.
        resumed: whether the run resumes from a checkpoint in this folder.

    Raises ConfigError if the folder cannot be written, another process trains in it, or, for a new run, it
    holds a run or files of others that the run would replace."""
    path = Path(config.run)
    created: list[Path] = []
    try:
        if not resumed:
            refuse_used_folder(config)
        created = _missing(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            f"run = {config.run!r} is in use{_user(path)}; choose another --run, or stop that process first."
        ) from None
    except (OSError, ValueError, NotImplementedError) as error:
        _remove(created)
        if isinstance(error, ConfigError):
            raise
        raise _unwritable(config, error) from error
    try:
        if not resumed:
            refuse_used_folder(config)  # again: another run may have begun in the meantime
        clear_parts(path, older=0)
        # A new run takes the place of one that was killed before its first checkpoint, and its id.
        yield RunFolder(path, _origin(path).get("id", uuid.uuid4().hex))
    finally:
        unused = bool(created) and not (path / ORIGIN).exists()
        if unused:
            (path / LOCK).unlink(missing_ok=True)
        lock.release()
        if unused:
            _remove(created)


def refuse_used_folder(config: TrainConfig) -> None:
    """Raises ConfigError if the run's folder already holds a checkpoint, or another program's files with the
    names of a run's."""
    path = Path(config.run)
    if (path / checkpoints.FILE).exists():
        raise ConfigError(
            f"run = {config.run!r} already holds a run; resume it with --resume {shlex.quote(config.run)}, "
            "choose another --run, or remove the folder."
        )
    foreign = [name for name in (CONFIG, ORIGIN) if (path / name).exists()]
    if foreign and not _origin(path):
        raise ConfigError(
            f"run = {config.run!r} holds a {foreign[0]} that was not written by a run; choose another --run."
        )


def made_by() -> dict[str, Any]:
    """Returns what this process is: versions, commit, command, host, process and time."""
    packages = ("numpy", "triton", "numba")
    versions = {name: _installed(name) for name in packages}
    return {
        "nmmo_gpu": nmmo_gpu.__version__,
        "commit": commit(),
        "command": shlex.join(sys.orig_argv),
        "folder": os.getcwd(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """Returns the commit of this package if it is used from a checkout, or was installed from one; with "+"
    if files of the checkout have changed. None if it is unknown."""
    package = Path(nmmo_gpu.__file__).resolve().parent
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is not None and Path(top) == package.parent:
        head = _git(package, "rev-parse", "HEAD")
        return None if head is None else head + ("+" if _git(package, "status", "--porcelain", ".") else "")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError):
        text = importlib.metadata.distribution("nmmo-gpu").read_text("direct_url.json")
        if text is not None:
            return str(json.loads(text)["vcs_info"]["commit_id"])
    return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True,
            stdin=subprocess.DEVNULL,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _origin(path: Path) -> dict[str, Any]:
    """The folder's ``ORIGIN``; empty if it is missing or not one."""
    try:
        found = json.loads((path / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    valid = (
        isinstance(found, dict) and isinstance(found.get("id"), str) and isinstance(found.get("starts"), list)
    )
    return found if valid else {}


def _user(path: Path) -> str:
    """Which process uses the folder, as far as the folder says."""
    starts = _origin(path).get("starts", [])
    last = starts[-1] if starts and isinstance(starts[-1], dict) else {}
    if "process" not in last:
        return ""
    return f" by process {last['process']} on {last.get('host')}, started {last.get('time')}"


def _missing(path: Path) -> list[Path]:
    """Returns the folders of a path that do not exist, innermost first."""
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    return missing


def _remove(created: list[Path]) -> None:
    """Deletes those of these folders that exist and are empty."""
    for folder in created:
        with contextlib.suppress(OSError, ValueError):
            folder.rmdir()


def _unwritable(config: TrainConfig, error: Exception) -> ConfigError:
    return ConfigError(f"run = {config.run!r} cannot be written ({reason(error)}); choose a writable folder.")
