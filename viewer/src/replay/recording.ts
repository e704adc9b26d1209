/** A recording: its index, and as much of it as is needed in memory. */
import type { RecordingLike } from "../model/contract";
import type { Column, Frame, Header, Numbers } from "../model/types";
import {
  after,
  checkEntry,
  payloadOf,
  readBeginning,
  scanChunks,
  type Beginning,
  type ChunkEntry,
} from "./chunks";
import { contentsOf, decodedBytes, type Contents, type Decoded } from "./decode";
import { ReplayError, reasonOf } from "./error";
import { Foreman } from "./foreman";
import { parseHeat, type RecordedHeat } from "./heat";
import { numbersOf } from "./header";
import type { Source } from "./source";
import { keptBytes, UsedUp } from "./tiles";

export interface Options {
  /** Bytes of decoded chunks to keep, by default 256 MiB; at least two chunks are kept. */
  readonly cacheBytes?: number;
  /** Called with the share of the file that has been scanned, 0 to 1, during opening. */
  readonly progress?: (share: number) => void;
}

const MIB = 1 << 20;
const MAX_HEAT_BYTES = 256 * MIB;
/** Number of concurrent reads. */
const HANDS = 2;
/** Ticks to prefetch, and maximum number of chunks: at the highest speed, most of a second. */
const AHEAD_TICKS = 192;
const AHEAD_CHUNKS = 8;
/** Milliseconds before a failed read is retried. */
const PATIENCE = 2000;

export class Recording implements RecordingLike {
  readonly header: Header;
  readonly base: Uint8Array;
  private readonly index: ChunkEntry[] = [];
  private readonly stretches: [number, number][] = [];
  private maps: RecordedHeat[] = [];
  private readonly listeners = new Set<() => void>();
  /** Decoded chunks by offset, the most recently used last. */
  private readonly chunks = new Map<number, Chunk>();
  private cached = 0;
  private readonly cacheBytes: number;
  private readonly foreman: Foreman;
  private readonly sizes: Sizes;
  private readonly pending = new Map<number, Promise<Chunk>>();
  private wanted: number[] = [];
  private readonly failed = new Map<number, number>();
  private shown = -1;
  private forwards = true;
  private end: number;
  private closed = false;

  private constructor(
    readonly source: Source,
    beginning: Beginning,
    options: Options,
  ) {
    this.header = beginning.header;
    this.base = beginning.base;
    this.end = beginning.end;
    this.cacheBytes = options.cacheBytes ?? 256 * MIB;
    this.foreman = new Foreman(beginning);
    this.sizes = new Map(this.header.columns.map((column) => [column.name, numbersOf(column, this.header)]));
  }

  /** Opens a recording and finds all of its chunks; throws a ReplayError for a foreign or damaged file. */
  static async open(source: Source, options: Options = {}): Promise<Recording> {
    const recording = new Recording(source, await readBeginning(source), options);
    try {
      await recording.refresh(options.progress);
    } catch (thrown) {
      recording.close();
      throw thrown;
    }
    return recording;
  }

  /**
   * Opens a recording whose chunk positions are known (from a server): only its beginning is read.
   *
   * @param entries as in `ChunkEntry`; maps have 0 ticks.
   */
  static async attach(
    source: Source,
    entries: readonly ChunkEntry[],
    options: Options = {},
  ): Promise<Recording> {
    const recording = new Recording(source, await readBeginning(source), options);
    try {
      await recording.add(entries);
    } catch (thrown) {
      recording.close();
      throw thrown;
    }
    return recording;
  }

  /** The chunks of frames, by ascending tick. */
  get entries(): readonly ChunkEntry[] {
    return this.index;
  }

  get first(): number {
    return this.stretches[0]?.[0] ?? 0;
  }

  /** -1 while there is no frame. */
  get last(): number {
    return this.stretches.at(-1)?.[1] ?? -1;
  }

  get spans(): readonly (readonly [number, number])[] {
    return this.stretches;
  }

  get heats(): readonly RecordedHeat[] {
    return this.maps;
  }

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Looks for chunks that have been appended since. */
  async refresh(progress?: (share: number) => void): Promise<void> {
    const { entries, end } = await scanChunks(this.source, this.header, this.end, this.last, progress);
    await this.add(entries);
    this.end = Math.max(this.end, end);
  }

  /** Adds appended chunks, by ascending tick; known chunks are ignored. */
  async add(entries: readonly ChunkEntry[]): Promise<void> {
    for (const entry of entries) checkEntry(entry, this.header);
    const newest = this.end;
    const fresh = entries.filter(({ offset }) => offset >= newest);
    for (const entry of fresh) {
      this.end = Math.max(this.end, entry.offset + entry.length);
      if (entry.ticks > 0) this.append(entry);
    }
    try {
      for (const entry of fresh) {
        if (entry.ticks === 0) await this.addHeat(entry);
      }
    } finally {
      if (fresh.length > 0) this.listeners.forEach((listener) => listener());
    }
  }

  /** The frame of a tick if it is in memory; otherwise it is fetched, and `load` reports errors. */
  frame(tick: number): Frame | undefined {
    const at = this.find(tick);
    const entry = this.index[at];
    if (!entry) return undefined;
    if (tick !== this.shown) this.forwards = tick > this.shown;
    this.shown = tick;
    this.wanted = this.want(at);
    this.pump();
    return this.use(entry.offset)?.frame(within(tick, entry));
  }

  async load(tick: number): Promise<Frame> {
    const entry = this.index[this.find(tick)];
    if (!entry)
      throw new ReplayError(
        "The recording has no frames yet. Wait for the first frame, or open another recording.",
      );
    const chunk = this.use(entry.offset) ?? (await this.fetch(entry));
    return chunk.frame(within(tick, entry));
  }

  /** Stops reading, and frees memory. */
  close(): void {
    this.closed = true;
    this.foreman.close();
    this.chunks.clear();
    this.listeners.clear();
  }

  private append(entry: ChunkEntry): void {
    const last = after(this.last, entry);
    const stretch = this.stretches.at(-1);
    if (stretch && stretch[1] + 1 === entry.first) stretch[1] = last;
    else this.stretches.push([entry.first, last]);
    this.index.push(entry);
  }

  private async addHeat(entry: ChunkEntry): Promise<void> {
    const data = await this.source.read(entry.offset, entry.length);
    const { payload } = await payloadOf(data, entry, this.header);
    this.maps.push(parseHeat(payload, entry.first));
    // The number of maps kept is bounded: the newest ones.
    let [bytes, keep] = [0, this.maps.length];
    while (keep > 0 && (bytes += this.maps[keep - 1]!.values.byteLength) <= MAX_HEAT_BYTES) keep--;
    this.maps = this.maps.slice(Math.min(keep, this.maps.length - 1));
  }

  /** Index of the chunk of a tick; in a gap the chunk before it, before the first chunk the first. */
  private find(tick: number): number {
    let [low, high] = [0, this.index.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.index[middle]!.first <= tick) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  private use(offset: number): Chunk | undefined {
    const chunk = this.chunks.get(offset);
    if (chunk) {
      this.chunks.delete(offset);
      this.chunks.set(offset, chunk);
    }
    return chunk;
  }

  /** Indices of the chunks to keep in memory: the current one, and some in the direction of playback. */
  private want(at: number): number[] {
    const wanted = [at];
    const step = this.forwards ? 1 : -1;
    let [ticks, bytes] = [0, this.bytesOf(at)];
    for (let next = at + step; this.index[next]; next += step) {
      bytes += this.bytesOf(next);
      if (
        wanted.length > 1 &&
        (ticks >= AHEAD_TICKS || wanted.length > AHEAD_CHUNKS || bytes > this.cacheBytes)
      )
        break;
      wanted.push(next);
      ticks += this.index[next]!.ticks;
    }
    return wanted;
  }

  private bytesOf(at: number): number {
    const { ticks } = this.index[at]!;
    return decodedBytes(this.header, ticks) + keptBytes(this.header.height * this.header.width, ticks);
  }

  /** Starts the next required read, if a slot is free. */
  private pump(): void {
    for (const at of this.wanted) {
      if (this.pending.size >= HANDS) return;
      const entry = this.index[at]!;
      if (this.chunks.has(entry.offset) || this.pending.has(entry.offset)) continue;
      if (performance.now() < (this.failed.get(entry.offset) ?? 0)) continue;
      this.fetch(entry).catch(() => this.failed.set(entry.offset, performance.now() + PATIENCE));
    }
  }

  private fetch(entry: ChunkEntry): Promise<Chunk> {
    const known = this.pending.get(entry.offset);
    if (known) return known;
    const coming = this.read(entry).finally(() => {
      this.pending.delete(entry.offset);
      if (!this.closed) this.pump();
    });
    this.pending.set(entry.offset, coming);
    return coming;
  }

  private async read(entry: ChunkEntry): Promise<Chunk> {
    try {
      const data = await this.source.read(entry.offset, entry.length);
      const chunk = new Chunk(this.header, this.sizes, await this.foreman.decode(entry, data));
      this.keep(entry.offset, chunk);
      return chunk;
    } catch (thrown) {
      if (thrown instanceof ReplayError) throw thrown;
      throw new ReplayError(
        `Ticks ${entry.first} to ${entry.first + entry.ticks - 1} cannot be read (${reasonOf(thrown)}). ` +
          "Close other pages if memory is low, and try again.",
      );
    }
  }

  private keep(offset: number, chunk: Chunk): void {
    if (this.closed) return;
    this.chunks.set(offset, chunk);
    this.cached += chunk.bytes;
    for (const [oldest, { bytes }] of this.chunks) {
      if (this.cached <= this.cacheBytes || this.chunks.size <= 2) break;
      this.chunks.delete(oldest);
      this.cached -= bytes;
    }
  }
}

function within(tick: number, entry: ChunkEntry): number {
  return Math.min(Math.max(tick - entry.first, 0), entry.ticks - 1);
}

/** column name -> numbers per tick. */
type Sizes = ReadonlyMap<Column["name"], number>;

/** Consecutive decoded ticks. */
class Chunk {
  readonly bytes: number;
  private readonly contents: Contents;
  private readonly usedUp: UsedUp;
  private readonly frames: Frame[] = [];

  constructor(
    header: Header,
    private readonly sizes: Sizes,
    private readonly decoded: Decoded,
  ) {
    this.contents = contentsOf(header, decoded.ticks, decoded.buffer);
    this.usedUp = new UsedUp(this.contents);
    this.bytes = decoded.buffer.byteLength + keptBytes(header.height * header.width, decoded.ticks);
  }

  /** The same object for the same tick. */
  frame(t: number): Frame {
    return (this.frames[t] ??= new FrameOfChunk(
      this.decoded.first + t,
      t,
      this.sizes,
      this.contents,
      this.usedUp,
    ));
  }
}

class FrameOfChunk implements Frame {
  private readonly views = new Map<string, Numbers>();

  constructor(
    readonly tick: number,
    private readonly t: number,
    private readonly sizes: Sizes,
    private readonly contents: Contents,
    private readonly tiles: UsedUp,
  ) {}

  column(name: string): Numbers | undefined {
    const known = this.views.get(name);
    if (known) return known;
    const size = this.sizes.get(name) ?? 0;
    const view = this.contents.columns.get(name)?.subarray(this.t * size, (this.t + 1) * size);
    if (view) this.views.set(name, view);
    return view;
  }

  get usedUp(): Uint8Array {
    return this.tiles.at(this.t);
  }
}
