/** Goes through a whole recording in the background, and keeps count. */
import type { ScanLike } from "../model/contract";
import type { Heat, Series } from "../model/types";
import { Foreman } from "./foreman";
import type { Recording } from "./recording";
import { Curves } from "./series";
import { Grid } from "./summary";

/** Milliseconds between two calls of the listeners. */
const NEWS = 300;
/** Milliseconds after which it is tried again to read what could not be read. */
const PATIENCE = 2000;

/**
 * Counts what happens in all chunks of a recording, and in those that are added later. It has a worker of its
 * own; where there is none, it leaves the page some time between two chunks.
 */
export class Scan implements ScanLike {
  private readonly foreman: Foreman;
  private readonly curves: Curves;
  private readonly grid: Grid;
  private readonly visits: Counts;
  private readonly deaths: Counts;
  private readonly listeners = new Set<() => void>();
  private readonly unlisten: () => void;
  /** Chunks that have been gone through. */
  private done = 0;
  private running = false;
  private closed = false;
  private told = -Infinity;
  private failure: Error | undefined;

  constructor(private readonly recording: Recording) {
    const { header, base } = recording;
    this.foreman = new Foreman({ header, base });
    this.curves = new Curves(header);
    this.grid = new Grid(header);
    this.visits = new Counts(header.populations, this.grid.cells);
    this.deaths = new Counts(header.populations, this.grid.cells);
    this.unlisten = recording.listen(() => void this.run());
    void this.run();
  }

  get progress(): number {
    const { entries } = this.recording;
    return entries.length === 0 ? 1 : this.done / entries.length;
  }

  /** Why it has stopped for now, if it has; what could not be unpacked is left out. */
  get error(): Error | undefined {
    return this.failure;
  }

  get series(): Series {
    return this.curves.series;
  }

  heat(name: "visits" | "danger", population: number): Heat {
    const { rows, cols, stride } = this.grid;
    const [counts, about] =
      name === "visits"
        ? [this.visits, "How many ticks agents have stood on a tile."]
        : [this.deaths, "How many agents have died on a tile."];
    return { name, rows, cols, stride, about, values: counts.values(population) };
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

  /** Goes on until there is nothing new. */
  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const { entries, source } = this.recording;
    while (!this.closed && this.done < entries.length) {
      const entry = entries[this.done]!;
      try {
        const data = await source.read(entry.offset, entry.length);
        const summary = await this.foreman.summarise(entry, data);
        this.curves.add(summary);
        this.visits.add(summary.visits);
        this.deaths.add(summary.deaths);
        this.failure = undefined;
        this.done++;
      } catch (thrown) {
        // A server may be back soon; a chunk that is damaged stays so.
        const again = this.failure === undefined;
        this.failure = thrown instanceof Error ? thrown : new Error(String(thrown));
        if (!again) this.done++;
        else await pause(PATIENCE);
      }
      await pause(0);
      this.tell(false);
    }
    this.running = false;
    this.tell(true);
  }

  private tell(now: boolean): void {
    if (this.closed || (!now && performance.now() - this.told < NEWS)) return;
    this.told = performance.now();
    this.listeners.forEach((listener) => listener());
  }
}

/** Lets the page do something else. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Counts per cell, for each population. */
class Counts {
  private readonly counts: Uint32Array;

  constructor(
    private readonly populations: number,
    private readonly cells: number,
  ) {
    this.counts = new Uint32Array(populations * cells);
  }

  add(where: Uint32Array): void {
    for (const cell of where) this.counts[cell]! += 1;
  }

  /** [cells] of a population, or of all (-1); NaN where nothing was counted. */
  values(population: number): Float32Array {
    const sums = new Float32Array(this.cells);
    const [from, to] = population < 0 ? [0, this.populations] : [population, population + 1];
    for (let p = from; p < to; p++) {
      for (let cell = 0; cell < this.cells; cell++) sums[cell]! += this.counts[p * this.cells + cell]!;
    }
    for (let cell = 0; cell < this.cells; cell++) if (sums[cell] === 0) sums[cell] = NaN;
    return sums;
  }
}
