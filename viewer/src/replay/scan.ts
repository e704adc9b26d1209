/** Goes through a whole recording in the background and computes statistics. */
import type { ScanLike } from "../model/contract";
import type { Heat, Series } from "../model/types";
import { Foreman } from "./foreman";
import type { Recording } from "./recording";
import { Curves } from "./series";
import type { Bytes } from "./source";
import { Grid, type Place } from "./summary";

const ABOUT: Readonly<Record<Place, string>> = {
  visits: "Agent-ticks on each tile.",
  danger: "Deaths of agents on each tile.",
};
/** Maximum number of bytes per read, except for single chunks that are larger. */
const BLOCK = 1 << 20;
/** Milliseconds between two calls of the listeners. */
const NEWS = 300;
/** Milliseconds before a failed read is retried. */
const PATIENCE = 2000;

/**
 * Computes statistics of all chunks of a recording, including chunks that are added later. It has its own
 * worker; without a worker, it yields to the page between two chunks.
 */
export class Scan implements ScanLike {
  private readonly foreman: Foreman;
  private readonly curves: Curves;
  private readonly grid: Grid;
  /** The last heat map of each place and population, and the number of chunks it covers. */
  private readonly heats = new Map<string, { heat: Heat; done: number }>();
  private asked = false;
  private block: { offset: number; bytes: Bytes } = { offset: 0, bytes: new Uint8Array(0) };
  private readonly listeners = new Set<() => void>();
  private readonly unlisten: () => void;
  /** Number of processed chunks. */
  private done = 0;
  private running = false;
  private closed = false;
  private reported = -Infinity;
  private failure: Error | undefined;

  constructor(private readonly recording: Recording) {
    const { header, base } = recording;
    this.foreman = new Foreman({ header, base });
    this.curves = new Curves(header);
    this.grid = new Grid(header);
    this.unlisten = recording.listen(() => void this.run());
    void this.run();
  }

  get progress(): number {
    const { entries } = this.recording;
    return entries.length === 0 ? 1 : this.done / entries.length;
  }

  /** The error that has stopped it for now, if any; chunks that cannot be decompressed are skipped. */
  get error(): Error | undefined {
    return this.failure;
  }

  get series(): Series {
    return this.curves.series;
  }

  heat(name: Place, population: number): Heat | null {
    const key = `${name} ${population}`;
    const known = this.heats.get(key);
    if (known?.done !== this.done) void this.ask(key, name, population);
    return known?.heat ?? null;
  }

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  close(): void {
    this.closed = true;
    this.unlisten();
    this.foreman.close();
    this.listeners.clear();
  }

  /** Continues until there is nothing new. */
  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const { entries } = this.recording;
    while (!this.closed && this.done < entries.length) {
      const entry = entries[this.done]!;
      try {
        const summary = await this.foreman.summarize(entry, await this.read(this.done));
        this.curves.add(summary);
        this.failure = undefined;
        this.done++;
      } catch (thrown) {
        // A server may be back soon; a damaged chunk stays damaged.
        const again = this.failure === undefined;
        this.failure = thrown instanceof Error ? thrown : new Error(String(thrown));
        if (!again) this.done++;
        else await pause(PATIENCE);
      }
      if (this.foreman.isHere) await pause(0);
      this.tell(false);
    }
    this.running = false;
    this.tell(true);
  }

  /** The bytes of a chunk, read together with those of the following chunks, which is faster. */
  private async read(at: number): Promise<Bytes> {
    const { entries, source } = this.recording;
    const { offset, length } = entries[at]!;
    if (offset < this.block.offset || offset + length > this.block.offset + this.block.bytes.length) {
      let end = offset + length;
      for (let next = at + 1; next < entries.length; next++) {
        const behind = entries[next]!.offset + entries[next]!.length;
        if (behind - offset > BLOCK) break;
        end = behind;
      }
      this.block = { offset, bytes: await source.read(offset, end - offset) };
    }
    const from = offset - this.block.offset;
    return this.block.bytes.subarray(from, from + length);
  }

  /** Requests a current heat map, one at a time, and notifies the listeners; repeats the newest request. */
  private async ask(key: string, name: Place, population: number): Promise<void> {
    if (this.asked) return;
    this.asked = true;
    const { done } = this;
    const { rows, cols, stride } = this.grid;
    try {
      const values = await this.foreman.heat(name, population);
      // Only the displayed map is kept, because a large map has millions of numbers.
      this.heats.clear();
      this.heats.set(key, { heat: { name, rows, cols, stride, about: ABOUT[name], values }, done });
    } catch {
      // The worker failed: the next call requests another map.
    }
    this.asked = false;
    this.tell(true);
  }

  private tell(now: boolean): void {
    if (this.closed || (!now && performance.now() - this.reported < NEWS)) return;
    this.reported = performance.now();
    this.listeners.forEach((listener) => listener());
  }
}

/** Yields to the page. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
