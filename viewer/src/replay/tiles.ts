/** Which tiles are used up, tick by tick, from a bit per tile and the tiles that each tick turns over. */
import type { Contents } from "./decode";

const BUDGET = 4 << 20;

/** How many ticks' bits are kept. */
function most(bytes: number, ticks: number): number {
  return Math.min(ticks, Math.max(4, Math.floor(BUDGET / bytes)));
}

/** Most that a `UsedUp` of so many tiles and ticks holds, bytes. */
export function keptBytes(tiles: number, ticks: number): number {
  const bytes = Math.ceil(tiles / 8);
  return most(bytes, ticks) * bytes;
}

/** The bits of all ticks of a chunk; only some are kept, others are made from the nearest of these. */
export class UsedUp {
  private readonly kept = new Map<number, Uint8Array>();
  private readonly most: number;

  constructor(private readonly contents: Pick<Contents, "used" | "starts" | "changed">) {
    this.most = most(contents.used.length, contents.starts.length - 1);
  }

  /** A bit per tile at the end of the chunk's t-th tick. */
  at(t: number): Uint8Array {
    const known = this.kept.get(t) ?? this.make(t);
    // The most recently used last.
    this.kept.delete(t);
    this.kept.set(t, known);
    if (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value!);
    return known;
  }

  private make(t: number): Uint8Array {
    let [nearest, bits] = [0, this.contents.used];
    for (const [other, its] of this.kept) {
      if (Math.abs(other - t) < Math.abs(nearest - t)) [nearest, bits] = [other, its];
    }
    const copy = bits.slice();
    // A change turns a bit over, so that it can be gone through in either direction.
    const { starts, changed } = this.contents;
    const [low, high] = nearest < t ? [nearest, t] : [t, nearest];
    for (let i = starts[low + 1]!; i < starts[high + 1]!; i++)
      copy[changed[i]! >> 3]! ^= 1 << (changed[i]! & 7);
    return copy;
  }
}
