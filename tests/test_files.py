"""Files are replaced as a whole, with the umask's permissions; parts that killed writers left are deleted."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from nmmo_gpu import files
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.files import check_writable, clear_parts, make_folder, part_of, replace_text, replacing


@pytest.fixture
def umask():
    """A function that sets the umask for the time of the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0, 0o666)])
def test_permissions_follow_the_umask(mask, mode, umask, tmp_path):
    """Also if a library replaces the part by a file that only its owner can read."""
    umask(mask)
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o400)
    with replacing(path) as part:
        part.unlink()
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        part.write_text("new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_keeps_the_old_file(tmp_path):
    """The part is removed, whatever the error."""
    path = tmp_path / "file"
    replace_text(path, "old ä")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(error)), replacing(path) as part:
            part.write_text("half")
            raise error
        assert path.read_text(encoding="utf-8") == "old ä" and list(tmp_path.iterdir()) == [path]


def test_parts_of_killed_writers_are_deleted(tmp_path):
    """Old ones are, under exact names; with ``older=0`` new ones, too."""
    part = part_of(tmp_path / "checkpoint.safetensors")
    names = ["x.nmmo-gpu-part", ".x.nmmo-gpu-part", ".x.1-2.nmmo-gpu-part.txt", ".x.part", "x.writing"]
    mine = [tmp_path / name for name in names]
    for path in (part, *mine):
        path.write_text("half")
        os.utime(path, (0, 0))
    new = tmp_path / ".y.7-8.nmmo-gpu-part"
    new.write_text("half")
    clear_parts(tmp_path)
    assert {*tmp_path.iterdir()} == {new, *mine}
    os.utime(new, (time.time() - files.ABANDONED - 1,) * 2)
    clear_parts(tmp_path)
    assert {*tmp_path.iterdir()} == {*mine}
    new.write_text("half")
    clear_parts(tmp_path, older=0)
    assert {*tmp_path.iterdir()} == {*mine}


def test_links_and_devices_stay(tmp_path):
    """The target of a link is replaced; a pipe is written to."""
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    replace_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe, "out")
    replace_text(pipe, "text")
    assert os.read(reader, 9) == b"text" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
    assert {path.name for path in tmp_path.iterdir()} == {"target", "link", "pipe"}


def test_check_writable(tmp_path):
    """It creates and changes nothing, and names the option."""
    (tmp_path / "file").write_text("mine")
    check_writable(tmp_path / "file", "out")
    check_writable(tmp_path / "new", "out")
    for path in (tmp_path, tmp_path / "file" / "x", tmp_path / "no" / "x", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(ConfigError, match=r"out = .* cannot be written \(.+\); choose a writable file"):
            check_writable(Path(path), "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_make_folder(tmp_path):
    """It creates parents, and refuses what cannot be written by name."""
    make_folder(tmp_path / "a" / "b", "out")
    assert (tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(ConfigError, match=r"out = .* cannot be written \(.+\); choose a writable folder"):
            make_folder(Path(path), "out")
