"""The documentation builds without a warning and has all pages."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import nmmo_gpu

INSTALL = 'the docs are not built: install them with pip install -e ".[docs]" -c constraints.txt'
mkdocs_config = pytest.importorskip("mkdocs.config", reason=INSTALL)
pytest.importorskip("material", reason=INSTALL)
pytest.importorskip("mkdocstrings_handlers.python", reason=INSTALL)

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPOSITORY = "https://example.org/nmmo-gpu"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a strictly built site that knows the repository's address."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    _build(folder, REPOSITORY)
    return folder


def _build(folder: Path, repository: str | None) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    variables = {"REPOSITORY_URL": repository} if repository else {}
    done = subprocess.run(command, cwd=ROOT, env=_environment(**variables), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("REPOSITORY_URL", "SITE_URL")}
    return {**kept, "NO_MKDOCS_2_WARNING": "1", **variables}


class _Addresses(HTMLParser):
    """Collects the resources that a page loads and the targets of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.links.append(values.get("href") or "")
        else:
            self.loaded += [values[name] or "" for name in ("src", "href") if name in values]


def _addresses(page: Path) -> _Addresses:
    found = _Addresses()
    found.feed(page.read_text())
    return found


def test_a_strict_build_has_every_page(site):
    """Each source in docs/ becomes a page, without a warning."""
    for source in DOCS.rglob("*.md"):
        path = source.relative_to(DOCS).with_suffix("")
        page = path.parent if path.name == "index" else path
        assert (site / page / "index.html").exists(), source


def test_pages_load_no_external_resources(site):
    """Fonts, scripts and styles are parts of the site."""
    for page in site.rglob("*.html"):
        outside = [url for url in _addresses(page).loaded if re.match(r"(https?:)?//", url)]
        assert not outside, (page, outside)


def test_links_out_of_the_docs_lead_to_the_repository(site):
    """``../nmmo_gpu/...`` becomes an address in the repository."""
    links = _addresses(site / "guides/from-v1/index.html").links
    assert f"{REPOSITORY}/blob/main/nmmo_gpu/config/presets.py" in links
    assert f"{REPOSITORY}/tree/main/nmmo_gpu/kernels" in links


def test_without_a_repository_such_links_are_text(tmp_path):
    """No address is invented."""
    _build(tmp_path / "site", None)
    page = tmp_path / "site/guides/from-v1/index.html"
    assert not [link for link in _addresses(page).links if "nmmo_gpu/config/presets.py" in link]
    assert "<code>nmmo_gpu/config/presets.py</code>" in page.read_text()


def test_a_link_to_a_missing_file_is_a_warning(caplog):
    """The hook uses mkdocs' loggers, so its warning fails a strict build."""
    hook = _hooks().on_page_markdown
    config = mkdocs_config.load_config(str(ROOT / "mkdocs.yml"))
    page = type("Page", (), {"file": type("File", (), {"src_uri": "guides/page.md"})})
    kept = "[rules](../rules.md), ![image](../../other/image.png)"
    assert hook(kept, page=page, config=config, files=None) == kept
    assert not caplog.records
    assert hook("[gone](../../nmmo_gpu/gone.py)", page=page, config=config, files=None) == "gone"
    assert [record.name.partition(".")[0] for record in caplog.records] == ["mkdocs"]


def _hooks() -> Any:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("docs_hooks")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def test_every_page_is_in_the_navigation():
    """The navigation lists each page of docs/ once, and no other."""

    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [page for part in inner for page in pages(part)]

    listed = pages(mkdocs_config.load_config(str(ROOT / "mkdocs.yml")).nav)
    there = [source.relative_to(DOCS).as_posix() for source in DOCS.rglob("*.md")]
    assert sorted(listed) == sorted(there)


def _documented() -> list[str]:
    """Returns the names that the pages of the reference document."""
    pages = sorted((DOCS / "reference").glob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]


@pytest.mark.parametrize("name", _documented())
def test_documented_names_exist(name):
    """A module, class, function or constant of each name can be imported."""
    try:
        found = pkgutil.resolve_name(name)
    except ImportError as error:
        if name.startswith("nmmo_gpu.adapters") and "nmmo-gpu[adapters]" in str(error):
            pytest.skip(str(error))
        raise
    assert found is not None


def test_the_reference_has_all_exported_names():
    """Each name of ``nmmo_gpu.__all__`` has an entry."""
    exported = {f"nmmo_gpu.{name}" for name in nmmo_gpu.__all__}
    assert exported <= set(_documented())
