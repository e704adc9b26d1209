"""Parses XML files that are untrusted, in bounded time and memory.

Entities, which can expand to any size or name other files, are refused. So are tags of more than 1 MiB,
because older versions of expat take time that is quadratic in their length.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from nmmo_gpu.errors import MapError

READ = 1 << 16
"""Bytes parsed at once."""

LONGEST = 1 << 20
"""Maximum length of a tag or a comment, bytes."""

_ENCODING = re.compile(r"utf-?(8|16(le|be)?)|us-ascii|iso-8859-\d{1,2}|windows-125\d", re.IGNORECASE)


class Markup:
    """A file that is being parsed; subclasses keep what they need of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.progress = False
        """Whether the parser has found the end of a tag, text or comment."""
        self.done = False
        """Whether the rest of the file need not be parsed."""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.SkippedEntityHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.DefaultHandler = self._other

    def fail(self, text: str) -> MapError:
        """An error about the file."""
        short = text if len(text) < 1000 else f"{text[:500]} ... {text[-400:]}"  # names may have any length
        return MapError(f"{self.path}: {short}")

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self.progress = True
        if encoding is not None and not _ENCODING.fullmatch(encoding):
            raise self.fail(f"its text encoding is {encoding!r}; save it as UTF-8")

    def _doctype(self, name: str, system: str | None, public: str | None, declares: bool) -> None:
        # That of old versions of Tiled only names an external definition, which is not read.
        if declares:
            raise self.fail(
                "has a DOCTYPE with declarations, which Tiled never writes and which can hide harm; delete "
                "the DOCTYPE"
            )

    def _entity(self, name: str, _: bool) -> None:
        raise self.fail(f"uses an entity that it does not define, &{name};; save the map again in Tiled")

    def _other(self, text: str) -> None:
        self.progress = True
        if text.startswith("&"):
            self._entity(text[1:-1], False)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError


def parse(document: Markup, file: BinaryIO) -> None:
    """Parses a file up to its end, or until the document needs no more of it."""
    pending = 0
    while not document.done:
        piece = file.read(READ)
        document.progress = False
        document.parser.Parse(piece, not piece)
        pending = 0 if document.progress else pending + len(piece)
        # Older versions of expat scan an unfinished tag or comment again with each piece.
        if pending > LONGEST:
            raise document.fail(
                f"has a tag or a comment of more than {LONGEST} bytes; shorten it, or save the map again in "
                "Tiled"
            )
        if not piece:
            return
