"""Reads replay files. Files are untrusted: lengths and counts are validated before use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmmo_gpu.config.serialize import parse_json
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay import format as fmt
from nmmo_gpu.replay.columns import Column
from nmmo_gpu.replay.format import Bytes, ChunkHeader, Frames
from nmmo_gpu.replay.header_check import check_header

MAX_HEAT_BYTES = 256 * fmt.MIB


class ChunkEntry(NamedTuple):
    """The position of a chunk of frames."""

    offset: int
    """Offset of its chunk header, bytes from the start of the file."""
    length: int
    """Header and payload, bytes."""
    first: int
    """First tick."""
    ticks: int


class Heat(NamedTuple):
    """A map of numbers; see ``HEAT`` in docs/replay-format.md."""

    name: str
    population: int
    stride: int
    about: str
    tick: int
    values: NDArray[np.float32]
    """[rows, cols], NaN where there is no value."""


class Replay:
    """A replay file, open for reading; ``refresh`` finds chunks that have been appended since. A context
    manager.

    Raises ReplayError for a file that is missing, not a replay, of another version or inconsistent; a file
    that ends within a chunk is valid up to that chunk."""

    def __init__(self, path: Path, heats: bool = True, chunks: bool = True) -> None:
        """Opens the file.

        Args:
            chunks: whether to look for chunks; otherwise only the header is read.
            heats: whether to keep the maps of numbers; otherwise they are skipped and take no memory."""
        self.path, self._keeps_heats = path, heats
        try:
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise ReplayError(f"{path} cannot be read ({error.strerror}); give a .replay file.") from error
        except ValueError as error:  # a zero byte in the path
            raise ReplayError(f"{str(path)!r} cannot be read ({error}); give a .replay file.") from error
        self.chunks: list[ChunkEntry] = []
        """The chunks of frames, by ascending tick."""
        self.heats: list[Heat] = []
        """Maps of numbers; if they exceed 256 MiB in total, the newest of them."""
        try:
            self._begin()
            if chunks:
                self.refresh()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        preamble = self._file.read(fmt.PREAMBLE.size)
        if len(preamble) < fmt.PREAMBLE.size or preamble[:8] != fmt.MAGIC:
            raise ReplayError(f"{self.path} is not a replay; give a .replay file.")
        version = fmt.PREAMBLE.unpack(preamble)[1]
        if version != fmt.VERSION:
            raise ReplayError(
                f"{self.path}: format version {version}, but this nmmo-gpu reads version "
                f"{fmt.VERSION}; open it with the nmmo-gpu version that wrote it."
            )
        self._end = fmt.PREAMBLE.size
        # Limits until the header is read; any chunk in its place is checked, too.
        self.height = self.width = self.entities = self.agents = 0
        self.columns: tuple[Column, ...] = ()
        head = self._first(fmt.HEAD)
        try:
            self.header: dict[str, Any] = parse_json(head, "the header")
            self.columns = check_header(self.header)
        except ValueError as error:
            raise ReplayError(
                f"{self.path}: its header is damaged ({error}); copy the file from its source again."
            ) from error
        self.height, self.width = self.header["height"], self.header["width"]
        self.entities, self.agents = self.header["entities"], self.header["agents"]
        self.base: Bytes = np.frombuffer(self._first(fmt.TILE), np.uint8).reshape(self.height, self.width)
        """[H, W] uint8, Material: base material of every tile."""
        if self.base.max() >= len(self.header["materials"]):
            raise ReplayError(f"{self.path}: its map has materials that are not in its header.")

    def _first(self, type: bytes) -> bytes:
        """The payload of a chunk that must be next."""
        header = self._chunk_header()
        if header is None or header.type != type:
            raise ReplayError(f"{self.path} has no complete {type.decode()} chunk.")
        return self._payload(header)

    def _chunk_header(self) -> ChunkHeader | None:
        """The validated chunk header at the end of the known part; None if the chunk is incomplete."""
        self._file.seek(self._end)
        data = self._file.read(fmt.CHUNK.size)
        if len(data) < fmt.CHUNK.size:
            return None
        header = ChunkHeader(*fmt.CHUNK.unpack(data))
        self._check_chunk(header)
        self._file.seek(0, 2)
        return header if self._file.tell() >= self._end + fmt.CHUNK.size + header.stored else None

    def _check_chunk(self, header: ChunkHeader) -> None:
        minimum, maximum = 0, fmt.MAX_RAW.get(header.type, fmt.MAX_STORED)
        if header.type == fmt.TILE:
            minimum = maximum = self.height * self.width
        elif header.type == fmt.HEAT:
            maximum = fmt.HEAT_LINE + 4 * self.height * self.width
        elif header.type == fmt.FRAM:
            tiles = self.height * self.width
            in_time = header.first + header.ticks <= fmt.LAST_TICK
            if not 1 <= header.ticks <= fmt.MAX_TICKS or not in_time:
                raise ReplayError(f"{self.path}: a chunk has an invalid number of ticks, {header.ticks}.")
            minimum = fmt.least_raw(self.columns, self.entities, self.agents, tiles, header.ticks)
            if (header.raw - minimum) % 4:
                minimum = maximum + 1  # invalid: a tile change takes 4 bytes
        if not minimum <= header.raw <= maximum or header.stored > fmt.MAX_STORED:
            raise ReplayError(
                f"{self.path}: the chunk at byte {self._end} has an invalid length, {header.raw} bytes; the "
                "file is damaged."
            )

    def _payload(self, header: ChunkHeader) -> bytes:
        self._file.seek(self._end + fmt.CHUNK.size)
        stored = self._file.read(header.stored)
        what = f"{self.path}: the chunk at byte {self._end}"
        self._end += fmt.CHUNK.size + header.stored
        return fmt.unpack(stored, header.raw, what)

    def refresh(self) -> list[ChunkEntry]:
        """Looks for complete chunks after the known ones, and returns the chunks of frames."""
        found = []
        while (header := self._chunk_header()) is not None:
            length = fmt.CHUNK.size + header.stored
            if header.type == fmt.FRAM:
                if header.first < self.ticks.stop:
                    raise ReplayError(f"{self.path}: ticks are out of order at tick {header.first}.")
                found.append(ChunkEntry(self._end, length, header.first, header.ticks))
                self.chunks.append(found[-1])
            elif header.type == fmt.HEAT and self._keeps_heats:
                self.heats.append(self._heat(header))
                self._bound_heats()
                continue
            self._end += length
        return found

    def _heat(self, header: ChunkHeader) -> Heat:
        line, _, numbers = self._payload(header).partition(b"\n")
        try:
            heat_header = parse_json(line, "its line")
            shape = int(heat_header["rows"]), int(heat_header["cols"])
            about, stride = str(heat_header["about"]), int(heat_header["stride"])
            if min(shape) < 1 or stride < 1:
                raise ValueError("it has no cells")
            values = np.frombuffer(numbers, "<f4").reshape(shape)
            return Heat(
                str(heat_header["name"]), int(heat_header["population"]), stride, about, header.first, values
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ReplayError(f"{self.path}: a map in it is damaged ({error}).") from error

    def _bound_heats(self) -> None:
        """Keeps only the newest maps, within the memory limit."""
        while len(self.heats) > 1 and sum(heat.values.nbytes for heat in self.heats) > MAX_HEAT_BYTES:
            del self.heats[0]

    @property
    def size(self) -> int:
        """Bytes from the start of the file to the end of the last known complete chunk."""
        return self._end

    @property
    def ticks(self) -> range:
        """From the first tick to the last, including gaps."""
        if not self.chunks:
            return range(0)
        last = self.chunks[-1]
        return range(self.chunks[0].first, last.first + last.ticks)

    def read(self, entry: ChunkEntry) -> Frames:
        """Decodes a chunk of frames."""
        self._file.seek(entry.offset)
        data = self._file.read(entry.length)
        what = f"{self.path}: the chunk at byte {entry.offset}"
        if len(data) < entry.length:
            raise ReplayError(f"{what} is missing; the file has been truncated. Open it again.")
        header = ChunkHeader(*fmt.CHUNK.unpack(data[: fmt.CHUNK.size]))
        self._check_chunk(header)
        payload = fmt.unpack(data[fmt.CHUNK.size :], header.raw, what)
        tiles = self.height * self.width
        return fmt.decode_frames(payload, header, self.columns, self.entities, self.agents, tiles)

    def __iter__(self) -> Iterator[Frames]:
        """All chunks of frames, decoded one after another."""
        return map(self.read, self.chunks)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
