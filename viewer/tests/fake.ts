import type { RecordingLike } from "../src/model/contract";
import type { Column, Frame, Header, Numbers } from "../src/model/types";

/** Returns the header of a small world with the given columns. */
export function fakeHeader(changes: Partial<Header> = {}): Header {
  const column = (name: string, of: Column["of"]): Column => ({
    name,
    type: "i32",
    of,
    width: 1,
    delta: false,
    scale: 1,
  });
  const names = ["entity", "age", "row", "col", "health", "food", "water", "alive", "cause"];
  return {
    software: "test",
    title: "test",
    realm: 0,
    height: 9,
    width: 11,
    border: 1,
    agents: 6,
    entities: 6,
    populations: 2,
    vision: 3,
    nearest: 4,
    reach: [1, 2, 3],
    immune_ticks: 0,
    maxima: { health: 10, food: 32, water: 32 },
    materials: [{ name: "grass", color: [0, 255, 0], walkable: true }],
    used_up: [0],
    causes: ["none", "lava", "hunger"],
    styles: ["melee", "range", "mage"],
    // biome-ignore format: a row of pairs
    moves: [[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]],
    skills: [],
    works: [],
    prices: [],
    words: 0,
    items: [],
    gear: {},
    npcs: [],
    heads: {},
    columns: names.map((name) => column(name, "entities")),
    systems: [],
    config: null,
    ...changes,
  };
}

export function fakeFrame(tick: number, columns: Readonly<Record<string, readonly number[]>> = {}): Frame {
  const arrays = new Map<string, Numbers>(
    Object.entries(columns).map(([name, numbers]) => [name, Int32Array.from(numbers)]),
  );
  return { tick, column: (name) => arrays.get(name), usedUp: new Uint8Array(13) };
}

/** A recording of the given ticks; `missing` ones are not in memory. */
export class FakeRecording implements RecordingLike {
  readonly base = new Uint8Array(99);
  readonly heats = [];
  readonly missing = new Set<number>();
  /** Ticks that have been loaded. */
  readonly loaded: number[] = [];
  private readonly listeners = new Set<() => void>();

  constructor(
    public spans: [number, number][],
    readonly header = fakeHeader(),
    private readonly make: (tick: number) => Frame = (tick) => fakeFrame(tick),
  ) {}

  get first(): number {
    return this.spans[0]?.[0] ?? 0;
  }

  get last(): number {
    return this.spans.at(-1)?.[1] ?? -1;
  }

  frame(tick: number): Frame | undefined {
    return this.missing.has(tick) ? undefined : this.make(this.recorded(tick));
  }

  load(tick: number): Promise<Frame> {
    this.loaded.push(tick);
    return Promise.resolve(this.make(this.recorded(tick)));
  }

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Appends ticks right after the last one. */
  grow(ticks: number): void {
    const span = this.spans.at(-1);
    if (span) span[1] += ticks;
    this.listeners.forEach((listener) => listener());
  }

  /** In a gap, returns the newest tick before it. */
  private recorded(tick: number): number {
    const [first, last] = this.spans.findLast(([start]) => start <= tick) ?? [this.first, this.first];
    return Math.min(Math.max(tick, first), last);
  }
}
