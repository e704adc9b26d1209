/** Curves over a whole recording, with a bounded number of points. */
import type { Header, Series } from "../model/types";
import { Measures, type Summary } from "./summary";

const MAX_POINTS = 2000;

/** Statistics per tick, collected in bins of 1, 2, 4, ... ticks so that their number stays bounded. */
export class Curves {
  private readonly measures: Measures;
  private readonly length: number;
  private readonly bins: Float64Array;
  private points = 0;
  /** Ticks per bin. */
  private width = 1;
  private first = 0;
  private made: Series | undefined;

  constructor(private readonly header: Header) {
    this.measures = new Measures(header);
    this.length = this.measures.length + MORE;
    this.bins = new Float64Array(MAX_POINTS * this.length);
  }

  /** Adds the statistics of a chunk; chunks arrive by ascending tick. */
  add({ first, ticks, counts }: Summary): void {
    this.made = undefined;
    if (this.points === 0) this.first = first;
    for (let t = 0; t < ticks; t++) {
      const { length } = this.measures;
      this.count(first + t, counts.subarray(t * length, (t + 1) * length));
    }
  }

  /** The current curves; the same object until data is added. */
  get series(): Series {
    return (this.made ??= this.make());
  }

  private count(tick: number, counts: Float64Array): void {
    const { bins, length, measures } = this;
    while (this.points === MAX_POINTS && this.bin(tick) !== this.bin(bins[this.at() + TICK]!)) this.merge();
    if (this.points === 0 || this.bin(tick) !== this.bin(bins[this.at() + TICK]!)) {
      this.points++;
      bins.fill(0, this.at(), this.at() + length);
    }
    const at = this.at();
    bins[at + TICK] = tick;
    bins[at + TICKS]! += 1;
    for (let i = 0; i < measures.price; i++) bins[at + MORE + i]! += counts[i]!;
    for (let i = measures.price; i < measures.length; i++) bins[at + MORE + i] = counts[i]!;
  }

  /** Index of the newest bin in `bins`. */
  private at(): number {
    return (this.points - 1) * this.length;
  }

  private bin(tick: number): number {
    return Math.floor((tick - this.first) / this.width);
  }

  /** Doubles the width of the bins. With gaps their number may not decrease; then it is repeated. */
  private merge(): void {
    const { bins, length, measures } = this;
    this.width *= 2;
    let to = 0;
    for (let from = 1; from < this.points; from++) {
      const [a, b] = [to * length, from * length];
      if (this.bin(bins[a + TICK]!) === this.bin(bins[b + TICK]!)) {
        bins[a + TICK] = bins[b + TICK]!;
        bins[a + TICKS]! += bins[b + TICKS]!;
        for (let i = 0; i < measures.price; i++) bins[a + MORE + i]! += bins[b + MORE + i]!;
        for (let i = measures.price; i < measures.length; i++) bins[a + MORE + i] = bins[b + MORE + i]!;
      } else {
        to++;
        bins.copyWithin(to * length, b, b + length);
      }
    }
    this.points = to + 1;
  }

  private make(): Series {
    const { measures, header } = this;
    const curve = (of: (at: number) => number): Float64Array =>
      Float64Array.from({ length: this.points }, (_, point) => of(point * this.length));
    const bins = this.bins;
    const sum = (measure: number) => curve((at) => bins[at + MORE + measure]!);
    const mean = (measure: number) => curve((at) => bins[at + MORE + measure]! / bins[at + TICKS]!);
    const deaths = header.causes.map((_, cause) => sum(measures.deaths + cause));
    const usedUp = measures.materials.map((material, i) => [
      header.materials[material]!.name,
      mean(measures.usedUp + i),
    ]);
    return {
      tick: curve((at) => bins[at + TICK]!),
      ticks: curve((at) => bins[at + TICKS]!),
      population: Array.from({ length: header.populations }, (_, p) => mean(measures.population + p)),
      lifetime: curve((at) => {
        let dead = 0;
        for (let cause = 0; cause < deaths.length; cause++)
          dead += bins[at + MORE + measures.deaths + cause]!;
        return bins[at + MORE + measures.lifetimes]! / dead; // 0 / 0 is NaN
      }),
      deaths,
      births: sum(measures.births),
      usedUp: Object.fromEntries(usedUp) as Series["usedUp"],
      price: Array.from({ length: measures.items }, (_, item) =>
        curve((at) => header.prices[bins[at + MORE + measures.price + item]! - 1] ?? NaN),
      ),
    };
  }
}

/** Additional fields of a bin: its newest tick, and the number of its ticks. */
const [TICK, TICKS, MORE] = [0, 1, 2];
