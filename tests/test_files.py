"""Files are replaced as a whole, with the umask's permissions; parts that killed writers left are deleted."""

from __future__ import annotations

import os
import stat
import time

import pytest

from nmmo_gpu import files
from nmmo_gpu.files import clear_parts, part_of, replace_text, replacing


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
    names = ["x.nmmo-gpu-part", ".x.nmmo-gpu-part", ".x.12.nmmo-gpu-part.txt", ".x.part", "x.writing"]
    mine = [tmp_path / name for name in names]
    for path in (part, *mine):
        path.write_text("half")
        os.utime(path, (0, 0))
    new = tmp_path / ".y.7.nmmo-gpu-part"
    new.write_text("half")
    clear_parts(tmp_path)
    assert {*tmp_path.iterdir()} == {new, *mine}
    os.utime(new, (time.time() - files.ABANDONED - 1,) * 2)
    clear_parts(tmp_path)
    assert {*tmp_path.iterdir()} == {*mine}
    new.write_text("half")
    clear_parts(tmp_path, older=0)
    assert {*tmp_path.iterdir()} == {*mine}
