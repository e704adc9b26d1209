/** Statistics of a chunk, tick by tick: the data of charts, visits and danger. */
import type { Header } from "../model/types";
import { contentsOf, type Contents, type Decoded } from "./decode";

/** Statistics of one chunk. */
export interface Summary {
  readonly first: number;
  readonly ticks: number;
  /** [ticks, measures]; see `Measures`. */
  readonly counts: Float64Array<ArrayBuffer>;
}

/** Statistics per cell of the map. */
export type Place = "visits" | "danger";

/** Indices into the statistics of a tick. */
export class Measures {
  readonly births = 0;
  /** Sum of the ages at death. */
  readonly lifetimes = 1;
  /** First index of the living agents per population. */
  readonly population = 2;
  /** First index of the deaths per cause. */
  readonly deaths: number;
  /** First index of the depleted tiles per material that can be depleted. */
  readonly usedUp: number;
  /** First index of the last prices per item: 1 + index into the prices, 0 for none. */
  readonly price: number;
  readonly length: number;
  /** Materials that can be depleted. */
  readonly materials: readonly number[];
  /** Items that have prices. */
  readonly items: number;

  constructor(header: Header) {
    this.materials = header.used_up.flatMap((shown, material) => (shown === material ? [] : [material]));
    this.items = header.columns.some(({ name }) => name === "quotes") ? header.items.length : 0;
    this.deaths = this.population + header.populations;
    this.usedUp = this.deaths + header.causes.length;
    this.price = this.usedUp + this.materials.length;
    this.length = this.price + this.items;
  }
}

const MAX_CELLS = 1 << 24;
const MAX_SIDE = 1024;

/** Cells of the grids of visits and danger: tiles, or squares of them on a large map. */
export class Grid {
  readonly stride: number;
  readonly rows: number;
  readonly cols: number;
  readonly cells: number;

  constructor(header: Header) {
    const { height, width, populations } = header;
    let stride = Math.ceil(Math.max(height, width) / MAX_SIDE);
    while (Math.ceil(height / stride) * Math.ceil(width / stride) * populations > MAX_CELLS) stride++;
    this.stride = stride;
    this.rows = Math.ceil(height / stride);
    this.cols = Math.ceil(width / stride);
    this.cells = this.rows * this.cols;
  }

  /** Index of the cell of a tile. */
  of(row: number, col: number): number {
    return Math.floor(row / this.stride) * this.cols + Math.floor(col / this.stride);
  }
}

/** Processes chunk after chunk; it remembers the living entities at the end of the last one. */
export class Summarizer {
  private readonly measures: Measures;
  private readonly grid: Grid;
  /** [populations * cells]: agent-ticks on a cell, and deaths there. */
  private readonly places: Readonly<Record<Place, Uint32Array>>;
  /** material -> index among those that can be depleted, or -1. */
  private readonly place: Int32Array;
  private alive: Uint8Array | undefined;
  private entity: Uint32Array | undefined;

  constructor(
    private readonly header: Header,
    private readonly base: Uint8Array,
  ) {
    this.measures = new Measures(header);
    this.grid = new Grid(header);
    const cells = header.populations * this.grid.cells;
    this.places = { visits: new Uint32Array(cells), danger: new Uint32Array(cells) };
    this.place = Int32Array.from(header.materials, (_, material) =>
      this.measures.materials.indexOf(material),
    );
  }

  add({ first, ticks, buffer }: Decoded): Summary {
    const contents = contentsOf(this.header, ticks, buffer);
    const counts = new Float64Array(ticks * this.measures.length);
    this.agents(contents, ticks, counts);
    this.tiles(contents, ticks, counts);
    this.prices(contents, ticks, counts);
    return { first, ticks, counts };
  }

  /** [cells] of a population, or of all (-1), so far; NaN where nothing was counted. */
  heat(place: Place, population: number): Float32Array<ArrayBuffer> {
    const { cells } = this.grid;
    const counts = this.places[place];
    const sums = new Float32Array(cells);
    const [from, to] = population < 0 ? [0, this.header.populations] : [population, population + 1];
    for (let p = from; p < to; p++) {
      for (let cell = 0; cell < cells; cell++) sums[cell]! += counts[p * cells + cell]!;
    }
    for (let cell = 0; cell < cells; cell++) if (sums[cell] === 0) sums[cell] = NaN;
    return sums;
  }

  private agents(contents: Contents, ticks: number, counts: Float64Array): void {
    const { header, measures, grid } = this;
    const { visits, danger } = this.places;
    const { agents, entities } = header;
    const column = <T>(name: string): T => contents.columns.get(name) as T;
    const [alive, cause] = [column<Uint8Array>("alive"), column<Uint8Array>("cause")];
    const [row, col] = [column<Int16Array>("row"), column<Int16Array>("col")];
    const [entity, age] = [column<Uint32Array>("entity"), column<Int32Array>("age")];
    const perPopulation = agents / header.populations;
    for (let t = 0; t < ticks; t++) {
      const [at, out] = [t * entities, t * measures.length];
      for (let slot = 0; slot < agents; slot++) {
        const i = at + slot;
        const population = Math.floor(slot / perPopulation);
        const cell = population * grid.cells + grid.of(row[i]!, col[i]!);
        if (alive[i] !== 0) {
          counts[out + measures.population + population]! += 1;
          visits[cell]! += 1;
          if (
            this.entity?.[slot] !== undefined &&
            (this.entity[slot] !== entity[i] || this.alive![slot] === 0)
          ) {
            counts[out + measures.births]! += 1;
          }
        }
        if (cause[i] !== 0) {
          counts[out + measures.deaths + cause[i]!]! += 1;
          counts[out + measures.lifetimes]! += age[i]!;
          danger[cell]! += 1;
        }
      }
      this.alive = alive.subarray(at, at + agents);
      this.entity = entity.subarray(at, at + agents);
    }
    // Copies, so that the chunk itself can be freed.
    this.alive = this.alive?.slice();
    this.entity = this.entity?.slice();
  }

  private tiles({ used, starts, changed }: Contents, ticks: number, counts: Float64Array): void {
    const { measures, base, place } = this;
    const now = new Float64Array(measures.materials.length);
    const bits = used.slice();
    for (let byte = 0; byte < bits.length; byte++) {
      for (let left = bits[byte]!; left !== 0; left &= left - 1) {
        const material = base[byte * 8 + 31 - Math.clz32(left & -left)];
        if (material !== undefined && place[material]! >= 0) now[place[material]!]! += 1;
      }
    }
    for (let t = 0; t < ticks; t++) {
      for (let i = starts[t]!; i < starts[t + 1]!; i++) {
        const tile = changed[i]!;
        const bit = 1 << (tile & 7);
        bits[tile >> 3]! ^= bit;
        const material = place[base[tile]!]!;
        if (material >= 0) now[material]! += bits[tile >> 3]! & bit ? 1 : -1;
      }
      counts.set(now, t * measures.length + measures.usedUp);
    }
  }

  private prices({ columns }: Contents, ticks: number, counts: Float64Array): void {
    const quotes = columns.get("quotes");
    if (!quotes) return;
    const { measures } = this;
    for (let t = 0; t < ticks; t++) {
      for (let item = 0; item < measures.items; item++) {
        counts[t * measures.length + measures.price + item] = quotes[(t * measures.items + item) * 3 + 2]!;
      }
    }
  }
}
