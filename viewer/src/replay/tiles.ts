/** Depleted tiles per tick, from one bit per tile and the tiles that each tick flips. */
import type { Contents } from "./decode";

const BUDGET = 4 << 20;

/** Number of ticks whose bits are kept. */
function maxKept(bytes: number, ticks: number): number {
  return Math.min(ticks, Math.max(4, Math.floor(BUDGET / bytes)));
}

/** Maximum memory of a `UsedUp` of some tiles and ticks, bytes. */
export function keptBytes(tiles: number, ticks: number): number {
  const bytes = Math.ceil(tiles / 8);
  return maxKept(bytes, ticks) * bytes;
}

/** The bits of all ticks of a chunk; only some are kept, others are computed from the nearest of these. */
export class UsedUp {
  private readonly kept = new Map<number, Uint8Array>();
  private readonly maxKept: number;

  constructor(private readonly contents: Pick<Contents, "used" | "starts" | "changed">) {
    this.maxKept = maxKept(contents.used.length, contents.starts.length - 1);
  }

  /** One bit per tile at the end of the chunk's t-th tick. */
  at(t: number): Uint8Array {
    const known = this.kept.get(t) ?? this.make(t);
    // The most recently used last.
    this.kept.delete(t);
    this.kept.set(t, known);
    if (this.kept.size > this.maxKept) this.kept.delete(this.kept.keys().next().value!);
    return known;
  }

  private make(t: number): Uint8Array {
    let [nearest, bits] = [0, this.contents.used];
    for (const [other, its] of this.kept) {
      if (Math.abs(other - t) < Math.abs(nearest - t)) [nearest, bits] = [other, its];
    }
    const copy = bits.slice();
    // A change flips a bit, so changes can be applied in either direction.
    const { starts, changed } = this.contents;
    const [low, high] = nearest < t ? [nearest, t] : [t, nearest];
    for (let i = starts[low + 1]!; i < starts[high + 1]!; i++)
      copy[changed[i]! >> 3]! ^= 1 << (changed[i]! & 7);
    return copy;
  }
}
