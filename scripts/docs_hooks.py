"""Hooks of mkdocs: rewrites links to files outside docs/ as links to the repository."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[(?P<text>[^][]*)\]\((?P<target>\.\./[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
"""A relative link that goes up; images are left alone."""

# mkdocs counts the warnings of loggers below its own: in strict mode they fail the build.
log = logging.getLogger("mkdocs.hooks.docs_hooks")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites links such as ``../nmmo_gpu/env.py`` to the file's address in the repository.

    If ``repo_url`` is not set, the link becomes its text. Warns about files that do not exist.

    Args:
        markdown: source of the page.
        page: the page with the links.
        config: configuration of the site.
        files: all files of the site; not used.

    Returns:
        The source with the links rewritten.
    """
    root = Path(config.docs_dir).parent
    folder = posixpath.dirname(page.file.src_uri)

    def rewrite(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link["target"]))
        if not path.startswith("../"):
            return link[0]
        path = path.removeprefix("../")
        if not (root / path).exists():
            log.warning("Page '%s' links to '%s', which does not exist.", page.file.src_uri, path)
        if not config.repo_url:
            return link["text"]
        kind = "tree" if (root / path).is_dir() else "blob"
        return f"[{link['text']}]({config.repo_url.rstrip('/')}/{kind}/main/{path}{link['anchor'] or ''})"

    return LINK.sub(rewrite, markdown)
