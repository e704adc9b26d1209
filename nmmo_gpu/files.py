"""Files that are written beside their place and moved there when complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from nmmo_gpu.errors import ConfigError

PART = re.compile(r"\..+\.\d+-\d+\.nmmo-gpu-part")
"""Name of an incomplete file."""
ABANDONED = 3600.0
"""Seconds since its last change after which an incomplete file is certain to have lost its writer."""


def part_of(path: Path) -> Path:
    """Returns the path at which this thread writes the file at ``path`` until it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.nmmo-gpu-part")


def clear_parts(folder: Path, older: float = ABANDONED) -> None:
    """Deletes incomplete files that killed processes have left in a folder.

    Args:
        folder: where to look; subfolders are not searched.
        older: seconds since their last change; 0 if no other process writes into the folder."""
    for path in folder.iterdir():
        if PART.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A context that replaces a file when it ends without an error.

    The new file is flushed to the disk, gets the permissions that the process's umask gives to new files, and
    replaces the old one in one step: a process killed at any moment leaves the old file or the new one. After
    an error the old file is unchanged, and the incomplete one is removed. A link stays a link. A
    device or pipe, such as /dev/stdout, is written to directly.

    Args:
        path: the file; its folder must exist.

    Yields:
        path to write to, in the same folder.

    Raises OSError as the file system does."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    part = part_of(path)
    try:
        with open(part, "wb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
        yield part
        with open(part, "rb+") as file:
            os.chmod(part, mode)  # libraries may have replaced the file by one that others cannot read
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def replace_bytes(path: Path, data: bytes) -> None:
    """Replaces the contents of a file, as ``replacing`` does."""
    with replacing(path) as part:
        part.write_bytes(data)


def replace_text(path: Path, text: str) -> None:
    """Replaces the contents of a file by UTF-8 text, as ``replacing`` does."""
    replace_bytes(path, text.encode())


def check_writable(path: Path, option: str) -> None:
    """Raises ConfigError unless a file can be written; a file that exists is not changed.

    Args:
        path: the file.
        option: name of the setting that names it, for the message."""
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.is_file() or not target.exists():
            part = part_of(target)
            part.write_bytes(bytes(4096))  # a full disk may still have room for an empty file
            part.unlink()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{option} = {str(path)!r} cannot be written ({reason(error)}); choose a writable file."
        ) from error


def make_folder(path: Path, option: str) -> None:
    """Creates a folder and its parents if they do not exist.

    Args:
        path: the folder.
        option: name of the setting that names it, for the message.

    Raises ConfigError if files cannot be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        part = part_of(path / "test")
        part.write_bytes(bytes(4096))
        part.unlink()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{option} = {str(path)!r} cannot be written ({reason(error)}); choose a writable folder."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Flushes the names in a folder, where the file system can do this."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; a folder may be writable and not readable
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def reason(error: Exception) -> str:
    """Returns why a file cannot be opened, read or written, for a message."""
    return getattr(error, "strerror", None) or str(error)
