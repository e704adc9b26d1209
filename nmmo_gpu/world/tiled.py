"""Maps in the file format of the Tiled editor (TMX): import and export.

The format: https://doc.mapeditor.org/en/stable/reference/tmx-map-format/. A tile's gid is its tileset's
``firstgid`` plus the material's index. v1's maps say ``firstgid="0"`` but count from 1, so 0 is read as 1.
Files are untrusted: nothing is allocated, decompressed or expanded beyond the size that the declared, checked
dimensions need.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import os
import re
import stat
import struct
import zlib
from array import array
from pathlib import Path, PurePosixPath
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import torch

from nmmo_gpu.config import MAX_SIDE
from nmmo_gpu.content import MATERIALS, Material
from nmmo_gpu.errors import ConfigError, MapError
from nmmo_gpu.files import replace_bytes
from nmmo_gpu.world.markup import LONGEST, Markup, parse

MAX_BYTES = 1 << 30
"""Maximum file size: 8192 x 8192 tiles of CSV with every gid at its longest."""

LAYER, TILESET, PICTURE = "terrain", "nmmo", "nmmo_tiles.png"
ENCODINGS = ("csv", "base64-zlib")

_WORD = 0xFFFFFFFF
_GID = 0x0FFFFFFF  # the top four bits encode the tile's rotation
_PIECE = 1 << 20  # characters of CSV converted at once
_TILESETS = 256  # of which the names are read


def load_tmx(path: str | os.PathLike[str]) -> torch.Tensor:
    """Read a map: ``[H, W] uint8`` materials.

    CSV, base64 (uncompressed, zlib, gzip, and zstd if Python can decompress it) and ``<tile>`` elements are
    supported; the rotation of tiles is ignored. The map is the only tile layer, or the one named "terrain" if
    there are several. All its tiles are of one tileset, which numbers the materials: the one named "nmmo" if
    there is one. For its name, an external tileset is read.

    Raises MapError for invalid files, with the file, the problem and the fix.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise MapError(f"{path} is a pipe or a device, not a file; give a Tiled map, saved as .tmx")
        document = _Document(path)
        with path.open("rb") as file:
            if status.st_size > MAX_BYTES:
                raise MapError(
                    f"{path}: {status.st_size} bytes is more than a map of {MAX_SIDE} x {MAX_SIDE} tiles "
                    f"needs ({MAX_BYTES}); save a smaller map, or save it as base64 with zlib"
                )
            parse(document, file)
    except OSError as error:
        raise MapError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except expat.ExpatError as error:
        raise MapError(
            f"{path}: not well-formed XML, or truncated ({error}); save the map again in Tiled, as .tmx"
        ) from None
    except (LookupError, UnicodeError) as error:
        raise MapError(f"{path}: its text encoding cannot be read ({error}); save it as UTF-8") from None
    except ValueError as error:  # a zero byte in the path
        raise MapError(f"{str(path)!r}: cannot be read ({error}); check the path") from None
    return document.material()


def save_tmx(
    path: str | os.PathLike[str], material: torch.Tensor, encoding: str = "csv", picture: bool = True
) -> None:
    """Write ``[H, W] uint8`` materials as a map that Tiled opens; ``load_tmx`` gives the same map back.

    ``encoding`` is "csv" or "base64-zlib". ``picture`` also writes the tileset's image, nmmo_tiles.png,
    next to it, unless it exists. Files are written atomically.

    Raises ConfigError for an unknown encoding; MapError for an invalid map, or a path that cannot be
    written.
    """
    path = Path(path)
    if encoding not in ENCODINGS:
        raise ConfigError(f"encoding is {encoding!r}; choose one of {', '.join(ENCODINGS)}")
    if material.dim() != 2 or material.dtype != torch.uint8:
        raise MapError(
            f"{path}: a map is a 2-D uint8 tensor [height, width], not {list(material.shape)} "
            f"{str(material.dtype).removeprefix('torch.')}; convert it with .to(torch.uint8)"
        )
    height, width = material.shape
    _check_size(path, height, width)
    material = material.detach().cpu().contiguous()
    if int(material.max()) >= len(Material):
        index = int((material >= len(Material)).view(-1).to(torch.uint8).argmax())
        raise MapError(
            f"{path}: row {index // width}, column {index % width} holds {int(material.reshape(-1)[index])}, "
            f"which is not a material; use 0 to {len(Material) - 1}"
        )

    if encoding == "csv":
        # Every gid is one digit, so a row is the same bytes with every second one filled in.
        text = torch.full((height, 2 * width + 1), ord(","), dtype=torch.uint8, device="cpu")
        text[:, 0 : 2 * width : 2] = material + (ord("0") + 1)
        text[:, 2 * width] = ord("\n")
        text[-1, 2 * width - 1] = ord("\n")  # no comma after the last one
        data, attributes = text.numpy().tobytes()[:-1], 'encoding="csv"'
    else:
        packed = zlib.compress((material.to(torch.int32) + 1).numpy().astype("<i4", copy=False).tobytes(), 6)
        data, attributes = base64.b64encode(packed) + b"\n", 'encoding="base64" compression="zlib"'
    tiles = len(MATERIALS)
    head = f"""<?xml version="1.0" encoding="UTF-8"?>
<map version="1.10" orientation="orthogonal" renderorder="right-down" width="{width}" height="{height}" \
tilewidth="16" tileheight="16" infinite="0" nextlayerid="2" nextobjectid="1">
 <tileset firstgid="1" name={quoteattr(TILESET)} tilewidth="16" tileheight="16" \
tilecount="{tiles}" columns="{tiles}">
  <image source={quoteattr(PICTURE)} width="{16 * tiles}" height="16"/>
 </tileset>
 <layer id="1" name={quoteattr(LAYER)} width="{width}" height="{height}">
  <data {attributes}>
"""
    try:
        if picture and not (path.parent / PICTURE).exists():
            save_picture(path.parent / PICTURE)
        replace_bytes(path, head.encode() + data + b"</data>\n </layer>\n</map>\n")
    except OSError as error:
        raise MapError(f"{path}: cannot be written ({error.strerror}); check the folder") from None


def save_picture(path: str | os.PathLike[str], side: int = 16) -> None:
    """Write the tileset's image, a PNG with one square of ``side`` pixels per material, in their order."""
    # One row of RGB pixels, preceded by its filter type (0, none); all rows are alike.
    row = b"\0" + b"".join(bytes(kind.color) * side for kind in MATERIALS.values())

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side * len(MATERIALS), side, 8, 2, 0, 0, 0)  # 8 bits, RGB
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")
    replace_bytes(Path(path), b"\x89PNG\r\n\x1a\n" + body)


# ------------------------------------------------------------------------------------------------- reading


class _Tileset(Markup):
    """The name of an external tileset."""

    name: str | None = None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tileset" and not self.done:
            self.name = attributes.get("name")
        self.done = True


class _Layer:
    """One tile layer of the file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.encoding: str | None = None
        self.compression = ""
        self.text: list[str] = []
        self.characters = 0
        self.gids = array("I")  # of <tile> elements


class _Document(Markup):
    """The parts of the map that are kept while expat parses it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.size = (0, 0)  # height, width; none until <map> has been read
        self.tilesets: list[tuple[int, str, str]] = []  # firstgid, name, source
        self.layers: list[_Layer] = []
        self.open: list[str] = []  # the open elements
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _number(self, element: str, attributes: dict[str, str], name: str, maximum: int = _GID) -> int:
        value = attributes.get(name, "")
        if not re.fullmatch(r"\d{1,10}", value, re.ASCII) or int(value) > maximum:
            raise self.fail(
                f"<{element}> has {name}={value!r}, which is not a whole number from 0 to {maximum}; "
                "save the map again in Tiled"
            )
        return int(value)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.progress = True
        inside = self.open[-1] if self.open else ""
        self.open.append(tag)
        if len(self.open) > 64:
            raise self.fail("its elements are nested more than 64 deep; save the map again in Tiled")
        if not inside:
            self._start_map(tag, attributes)
        elif tag == "tileset" and inside == "map":
            first = max(1, self._number(tag, attributes, "firstgid"))
            self.tilesets.append((first, attributes.get("name", ""), attributes.get("source", "")))
        elif tag == "layer":
            size = self._number(tag, attributes, "height"), self._number(tag, attributes, "width")
            if size != self.size:
                raise self.fail(
                    f"layer {attributes.get('name', '')!r} is {size[0]} x {size[1]} (height x width) on a "
                    f"map of {self.size[0]} x {self.size[1]}; resize the map in Tiled, and save it again"
                )
            self.layers.append(_Layer(attributes.get("name", "")))
        elif tag == "data" and inside == "layer":
            self.layers[-1].encoding = attributes.get("encoding", "")
            self.layers[-1].compression = attributes.get("compression", "")
        elif tag == "tile" and inside == "data":
            gids = self.layers[-1].gids
            if len(gids) >= self.size[0] * self.size[1]:
                raise self._surplus()
            # Tiled omits the gid where there is no tile.
            gids.append(self._number(tag, {"gid": "0"} | attributes, "gid", _WORD))
        elif tag == "chunk":
            raise self._infinite()

    def _start_map(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "map":
            raise self.fail(f"starts with <{tag}>, not <map>; give a Tiled map, saved as .tmx")
        if attributes.get("infinite", "0") != "0":
            raise self._infinite()
        orientation = attributes.get("orientation", "orthogonal")
        if orientation != "orthogonal":
            raise self.fail(f"the map is {orientation}; choose Orthogonal in Tiled's map properties")
        self.size = self._number(tag, attributes, "height"), self._number(tag, attributes, "width")
        _check_size(self.path, *self.size)

    def _end(self, _: str) -> None:
        self.progress = True
        self.open.pop()

    def _data(self, text: str) -> None:
        self.progress = True
        if self.open[-2:] != ["layer", "data"]:
            return
        layer = self.layers[-1]
        layer.characters += len(text)
        # A gid takes at most 10 digits, a comma and some white space.
        if layer.characters > 16 * self.size[0] * self.size[1] + 4096:
            raise self._surplus()
        layer.text.append(text)

    def _surplus(self) -> MapError:
        return self.fail(
            f"layer {self.layers[-1].name!r} has more data than its {self.size[0]} x {self.size[1]} tiles "
            "(height x width) take; save the map again in Tiled"
        )

    def _infinite(self) -> MapError:
        return self.fail("the map is infinite; untick Infinite in Tiled's map properties, and save it again")

    def material(self) -> torch.Tensor:
        """``[H, W] uint8``: the chosen layer's materials."""
        layer = self._layer()
        encoding, compression = layer.encoding, layer.compression
        if encoding is None:
            raise self.fail(f"layer {layer.name!r} has no <data>; save the map again in Tiled")
        if encoding == "csv":
            gids = self._csv(layer)
        elif encoding == "base64":
            gids = self._base64(layer)
        elif encoding == "":
            gids = _words(layer.gids)
        else:
            raise self.fail(
                f"layer {layer.name!r} is encoded as {encoding!r} (compression {compression!r}); "
                "choose CSV in Tiled's map properties, and save it again"
            )
        height, width = self.size
        if len(gids) != height * width:
            raise self.fail(
                f"layer {layer.name!r} has {len(gids)} tiles where {height} x {width} (height x width) "
                f"are {height * width}; the file may be truncated: save the map again in Tiled"
            )

        gids = gids & _GID
        first = self._first(layer, gids)
        index = gids.sub_(first)
        wrong = (index < 0) | (index >= len(Material))
        if bool(wrong.any()):
            where = int(wrong.to(torch.uint8).argmax())
            gid = int(index[where]) + first
            raise self.fail(
                f"row {where // width}, column {where % width} has gid {gid}{' (no tile)' * (gid == 0)}; "
                f"use gids {first} to {first + len(Material) - 1}, "
                f"which are {', '.join(kind.name for kind in MATERIALS.values())}"
            )
        return index.to(torch.uint8).view(height, width)

    def _first(self, layer: _Layer, gids: torch.Tensor) -> int:
        """The gid of the first material. A gid belongs to the tileset with the largest ``firstgid`` that does
        not exceed it."""
        if len(self.tilesets) < 2:
            return self.tilesets[0][0] if self.tilesets else 1
        tilesets = sorted(self.tilesets[:_TILESETS])
        firsts = [first for first, _, _ in tilesets]
        names = [name or self._external_name(source) for _, name, source in tilesets]
        listed = ", ".join(
            f"{name!r} from gid {first}" for name, first in zip(names[:8], firsts, strict=False)
        )
        remedy = f"has several tilesets ({listed}); fill the layer with tiles of one, and name it {TILESET!r}"
        if len(self.tilesets) > _TILESETS or len(set(firsts)) < len(firsts) or names.count(TILESET) > 1:
            raise self.fail(remedy)
        edges = torch.tensor(firsts, dtype=torch.int32, device="cpu")
        owner = torch.bucketize(gids, edges, right=True).sub_(1).clamp_(min=0)
        named = [k for k, name in enumerate(names) if name == TILESET]
        chosen = named[0] if named else int(owner[0])
        other = owner != chosen
        if bool(other.any()):
            row, column = divmod(int(other.to(torch.uint8).argmax()), self.size[1])
            name = names[int(owner[row * self.size[1] + column])]
            raise self.fail(
                f"{remedy}: in layer {layer.name!r}, row {row}, column {column} is of {name!r}, not of "
                f"{names[chosen]!r}"
            )
        return firsts[chosen]

    def _external_name(self, source: str) -> str:
        """The name of a tileset in another file, which is the file's name if it cannot be read."""
        relative = PurePosixPath(source)
        # Not on another machine or drive: opening such a path could send credentials there.
        if source and not relative.is_absolute() and not set(source) & set("\\:\0"):
            path = self.path.parent / relative
            with contextlib.suppress(OSError, MapError, expat.ExpatError, LookupError, ValueError):
                if path.is_file():
                    tileset = _Tileset(path)
                    with path.open("rb") as file:
                        parse(tileset, io.BytesIO(file.read(LONGEST)))
                    return tileset.name or relative.stem
        return relative.stem

    def _layer(self) -> _Layer:
        if not self.layers:
            raise self.fail("has no tile layer; add one in Tiled, and fill it")
        if len(self.layers) == 1:
            return self.layers[0]
        named = [layer for layer in self.layers if layer.name == LAYER]
        if len(named) != 1:
            names = ", ".join(repr(layer.name) for layer in self.layers[:8])
            raise self.fail(f"has {len(self.layers)} tile layers ({names}); name the one to use {LAYER!r}")
        return named[0]

    def _csv(self, layer: _Layer) -> torch.Tensor:
        """``[n] int32`` gids, including their rotation bits."""
        text = "".join(layer.text).strip()
        if text.endswith(","):  # some programs end every row with one, the last one too
            text = text[:-1].rstrip()
        gids = array("I")
        start = 0 if text else -1
        while start >= 0:
            end = text.find(",", start + _PIECE)
            piece = text[start:end] if end >= 0 else text[start:]
            start = end + 1 if end >= 0 else -1
            try:
                # int() alone would also accept 1_0, -1 and the digits of other scripts.
                if not re.fullmatch(r"[\d\s,]*", piece, re.ASCII):
                    raise ValueError
                gids.extend(array("I", map(int, piece.split(","))))
            except (ValueError, OverflowError):
                raise self._bad_csv(layer, piece.split(","), len(gids)) from None
        return _words(gids)

    def _bad_csv(self, layer: _Layer, values: list[str], before: int) -> MapError:
        """The error for the first of ``values`` that is not a gid; ``before`` valid ones precede them all."""
        gid = re.compile(r"\s*\d{1,10}\s*", re.ASCII)
        bad = next(k for k, text in enumerate(values) if not gid.fullmatch(text) or int(text) > _WORD)
        row, column = divmod(before + bad, self.size[1])
        return self.fail(
            f"layer {layer.name!r}, row {row}, column {column} has {values[bad].strip()[:40]!r}, which is "
            "not a gid; separate whole numbers by single commas, or save the map again in Tiled"
        )

    def _base64(self, layer: _Layer) -> torch.Tensor:
        """``[n] int32`` gids, including their rotation bits."""
        try:
            packed = base64.b64decode("".join("".join(layer.text).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.fail(
                f"layer {layer.name!r} is not base64 ({error}); save the map again in Tiled"
            ) from None
        raw = self._unpack(packed, layer, 4 * self.size[0] * self.size[1])
        if len(raw) % 4:
            raise self.fail(
                f"layer {layer.name!r} has {len(raw)} bytes, not 4 per tile; save the map again in Tiled"
            )
        return _words(bytearray(raw))

    def _unpack(self, packed: bytes, layer: _Layer, expected: int) -> bytes:
        """Decompress, but never to more than one byte beyond ``expected``."""
        kind = layer.compression
        try:
            if kind == "":
                raw = packed
            elif kind == "gzip" or (kind == "zlib" and packed[:2] == b"\x1f\x8b"):
                raw = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(expected + 1)
            elif kind == "zlib":
                stream = zlib.decompressobj()
                raw = stream.decompress(packed, expected + 1)
                if len(raw) <= expected and not stream.eof:
                    raise ValueError("it ends too early")
            elif kind == "zstd":
                raw = _unzstd(packed, expected + 1)
            else:
                raise self.fail(
                    f"layer {layer.name!r} is compressed with {kind!r}; save the map again with zlib "
                    "(Tile Layer Format in Tiled's map properties)"
                )
        except ImportError:
            raise self.fail(
                f"layer {layer.name!r} is compressed with zstd, which this Python cannot unpack; save the "
                "map again with zlib (Tile Layer Format in Tiled's map properties), or pip install zstandard"
            ) from None
        except MapError:
            raise
        except Exception as error:  # each decompressor has its own error class
            raise self.fail(
                f"layer {layer.name!r} cannot be decompressed ({kind}: {error}); save the map again in Tiled"
            ) from None
        if len(raw) > expected:
            raise self._surplus()
        return raw


def _unzstd(packed: bytes, limit: int) -> bytes:
    """At most ``limit`` bytes of the content of zstd frames; ImportError if zstd is not available."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        import zstandard

        decompressor = zstandard.ZstdDecompressor()
        return bytes(decompressor.stream_reader(packed, read_across_frames=True).read(limit))
    return bytes(zstd.ZstdFile(io.BytesIO(packed)).read(limit))


# ------------------------------------------------------------------------------------------------- helpers


def _words(buffer: array[int] | bytearray) -> torch.Tensor:
    """``[n] int32`` over the same memory; frombuffer does not accept an empty one."""
    if not len(buffer):
        return torch.empty(0, dtype=torch.int32, device="cpu")
    return torch.frombuffer(buffer, dtype=torch.int32)


def _check_size(path: Path, height: int, width: int) -> None:
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise MapError(
            f"{path}: the map is {height} x {width} (height x width); both must be 1 to {MAX_SIDE}: crop it"
        )
