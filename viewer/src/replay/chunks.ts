/** The chunks of a recording: their validated headers and their positions in the file. */
import type { Header } from "../model/types";
import { ReplayError } from "./error";
import { BYTES, numbersOf, parseHeader, VERSION } from "./header";
import type { Bytes, Source } from "./source";
import { MAX_RATIO, unpack } from "./unpack";

const MIB = 1 << 20;
const MAGIC = [0x89, 0x4e, 0x4d, 0x4d, 0x4f, 0x0d, 0x0a, 0x1a];
const MAX_STORED = 256 * MIB;
const MAX_TICKS = 4096;
const BLOCK = 4 * MIB;

export const PREAMBLE_BYTES = 16;
export const CHUNK_BYTES = 24;
export const HEAT_LINE = 4096;

/** The fields of a chunk header. */
export interface ChunkHeader {
  readonly type: string;
  /** Length of the payload in the file, bytes. */
  readonly stored: number;
  /** Length of the payload when decompressed, bytes. */
  readonly raw: number;
  readonly ticks: number;
  /** First tick of `FRAM`; the tick that a `HEAT` belongs to. */
  readonly first: number;
}

/** Position of a chunk of frames or a map. */
export interface ChunkEntry {
  /** Offset of its chunk header, bytes from the start of the file. */
  readonly offset: number;
  /** Header and payload, bytes. */
  readonly length: number;
  /** First tick; of a map, the tick it belongs to. */
  readonly first: number;
  /** Number of ticks; 0 for a map (`HEAT`). */
  readonly ticks: number;
}

/** Length of a `FRAM` payload without tile changes, bytes. */
export function minRaw(header: Header, ticks: number): number {
  const perTick = header.columns.reduce((sum, each) => sum + BYTES[each.type] * numbersOf(each, header), 0);
  return ticks * (perTick + 4) + Math.ceil((header.height * header.width) / 8);
}

/** Parses the 24 bytes at the beginning of `data`, without validation. */
export function parseChunkHeader(data: Uint8Array): ChunkHeader {
  const view = new DataView(data.buffer, data.byteOffset, CHUNK_BYTES);
  return {
    type: String.fromCharCode(...data.subarray(0, 4)),
    stored: view.getUint32(4, true),
    raw: view.getUint32(8, true),
    ticks: view.getUint32(12, true),
    first: Number(view.getBigUint64(16, true)),
  };
}

/**
 * Throws a ReplayError for an invalid chunk header.
 *
 * @param at position of the chunk, bytes from the start of the file.
 * @param header of the recording; undefined while it is being read.
 */
export function checkChunk(chunk: ChunkHeader, at: number, header?: Header): void {
  const tiles = header ? header.height * header.width : 0;
  let [min, max] = [0, MAX_STORED];
  if (chunk.type === "HEAD") max = 16 * MIB;
  else if (chunk.type === "TILE") min = max = tiles;
  else if (chunk.type === "HEAT") max = HEAT_LINE + 4 * tiles;
  else if (chunk.type === "FRAM") {
    if (chunk.ticks < 1 || chunk.ticks > MAX_TICKS || !Number.isSafeInteger(chunk.first + chunk.ticks)) {
      throw new ReplayError(
        `The chunk at byte ${at} has an invalid number of ticks, ${chunk.ticks}. The file is damaged.`,
      );
    }
    min = header ? minRaw(header, chunk.ticks) : 0;
    if ((chunk.raw - min) % 4 !== 0) min = max + 1;
  }
  const { raw, stored } = chunk;
  if (raw < min || raw > max || stored > MAX_STORED || raw > stored * MAX_RATIO) {
    throw new ReplayError(
      `The chunk at byte ${at} has an invalid length, ${raw} bytes. The file is damaged.`,
    );
  }
}

/** Reads a source sequentially, some MiB at a time. */
class Blocks {
  private start = 0;
  private block: Bytes = new Uint8Array(0);

  constructor(
    private readonly source: Source,
    private readonly size: number,
  ) {}

  /** As many bytes as requested, or undefined if the source ends earlier. */
  async at(offset: number, length: number): Promise<Bytes | undefined> {
    if (offset + length > this.size) return undefined;
    if (offset < this.start || offset + length > this.start + this.block.length) {
      this.block = await this.source.read(offset, Math.min(Math.max(length, BLOCK), this.size - offset));
      this.start = offset;
    }
    const begin = offset - this.start;
    return begin + length <= this.block.length ? this.block.subarray(begin, begin + length) : undefined;
  }

  /** The validated chunk header at an offset; undefined if the chunk is incomplete. */
  async chunk(offset: number, header?: Header): Promise<ChunkHeader | undefined> {
    const data = await this.at(offset, CHUNK_BYTES);
    if (!data) return undefined;
    const chunk = parseChunkHeader(data);
    checkChunk(chunk, offset, header);
    return offset + CHUNK_BYTES + chunk.stored <= this.size ? chunk : undefined;
  }
}

/** The beginning of a recording: its header, its map, and the offset of the other chunks. */
export interface Beginning {
  readonly header: Header;
  /** [height * width] materials. */
  readonly base: Uint8Array;
  /** Offset of the third chunk, bytes. */
  readonly end: number;
}

/** Reads everything before the first frame; throws a ReplayError for a foreign file. */
export async function readBeginning(source: Source): Promise<Beginning> {
  const blocks = new Blocks(source, await source.size());
  const preamble = await blocks.at(0, PREAMBLE_BYTES);
  if (!preamble || MAGIC.some((byte, i) => preamble[i] !== byte)) {
    throw new ReplayError("This is not a recording of nmmo-gpu. Open a file whose name ends in .replay.");
  }
  const version = new DataView(preamble.buffer, preamble.byteOffset).getUint32(8, true);
  if (version !== VERSION) {
    throw new ReplayError(
      `The recording has format version ${version}, but this viewer reads version ${VERSION}. ` +
        "Open it with the viewer of the nmmo-gpu version that wrote it.",
    );
  }
  let end = PREAMBLE_BYTES;
  const next = async (type: string, header?: Header): Promise<Bytes> => {
    const chunk = await blocks.chunk(end, header);
    const stored = chunk?.type === type ? await blocks.at(end + CHUNK_BYTES, chunk.stored) : undefined;
    if (!chunk || !stored) throw new ReplayError(`The recording has no complete ${type} chunk.`);
    end += CHUNK_BYTES + chunk.stored;
    return unpack(stored, chunk.raw, `The recording's ${type} chunk`);
  };
  const header = parseHeader(await next("HEAD"));
  const base = await next("TILE", header);
  if (base.some((material) => material >= header.materials.length)) {
    throw new ReplayError(
      "The recording's map has materials that are not in its header. The file is damaged.",
    );
  }
  return { header, base, end };
}

/** Result of `scanChunks`. */
export interface Found {
  /** Frames and maps, in the order of the file. */
  readonly entries: readonly ChunkEntry[];
  /** Offset of the first incomplete chunk, from which to continue later. */
  readonly end: number;
}

/**
 * Finds the complete chunks from an offset on; an incomplete chunk is treated as the end of the file.
 *
 * @param last newest tick known so far; later chunks must have greater ticks.
 * @param tell is called with the share of the file that has been scanned, 0 to 1.
 */
export async function scanChunks(
  source: Source,
  header: Header,
  from: number,
  last: number,
  tell?: (share: number) => void,
): Promise<Found> {
  const size = await source.size();
  const blocks = new Blocks(source, size);
  const entries: ChunkEntry[] = [];
  let end = from;
  for (;;) {
    const chunk = await blocks.chunk(end, header);
    if (!chunk) return { entries, end };
    const entry = { offset: end, length: CHUNK_BYTES + chunk.stored, first: chunk.first, ticks: chunk.ticks };
    if (chunk.type === "FRAM") {
      last = after(last, entry);
      entries.push(entry);
    } else if (chunk.type === "HEAT") {
      entries.push({ ...entry, ticks: 0 });
    }
    end += entry.length;
    if (entries.length % 64 === 0) tell?.(end / size);
  }
}

/** Last tick of a chunk of frames; throws a ReplayError if it is not after the newest known tick. */
export function after(last: number, entry: ChunkEntry): number {
  if (entry.first <= last) {
    throw new ReplayError(
      `The recording's ticks are out of order at tick ${entry.first}. The file is damaged.`,
    );
  }
  return entry.first + entry.ticks - 1;
}

/** Throws a ReplayError for an invalid entry of a received index. */
export function checkEntry(entry: ChunkEntry, header: Header): void {
  const { offset, length, first, ticks } = entry;
  const whole = [offset, length, first, ticks, first + ticks, offset + length].every(
    (number) => Number.isSafeInteger(number) && number >= 0,
  );
  if (!whole || ticks > MAX_TICKS || length < CHUNK_BYTES || length > CHUNK_BYTES + MAX_STORED) {
    throw new ReplayError("The recording's index is damaged. Reload the page.");
  }
  if (ticks > 0 && minRaw(header, ticks) > MAX_STORED) {
    throw new ReplayError(
      `The chunk at byte ${offset} has an invalid number of ticks, ${ticks}. The file is damaged.`,
    );
  }
}

/**
 * The payload of a complete chunk.
 *
 * @param data chunk header and stored payload.
 */
export async function payloadOf(
  data: Bytes,
  entry: ChunkEntry,
  header: Header,
): Promise<{ chunk: ChunkHeader; payload: Bytes }> {
  const what = `The chunk at byte ${entry.offset}`;
  if (data.length < CHUNK_BYTES || data.length !== entry.length) {
    throw new ReplayError(`${what} is missing. The file has been truncated or replaced; open it again.`);
  }
  const chunk = parseChunkHeader(data);
  checkChunk(chunk, entry.offset, header);
  const same =
    chunk.type === (entry.ticks > 0 ? "FRAM" : "HEAT") && chunk.stored === data.length - CHUNK_BYTES;
  if (!same || (entry.ticks > 0 && chunk.ticks !== entry.ticks) || chunk.first !== entry.first) {
    throw new ReplayError(`${what} has changed. The file has been replaced; open it again.`);
  }
  return { chunk, payload: await unpack(data.subarray(CHUNK_BYTES), chunk.raw, what) };
}
