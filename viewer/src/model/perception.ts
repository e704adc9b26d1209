/**
 * An agent's observation, computed from a frame as the environment does it (docs/observation.md). What systems
 * change in it is not recorded.
 */
import { canAttack, combatOf, isAlive, populationOf } from "./slots";
import type { Frame, Header } from "./types";

/** Material of a cell outside the map. */
export const NOWHERE = 255;

/** A row of the entity table. */
export interface Seen {
  readonly slot: number;
  /** Tiles south and east of the observer. */
  readonly rowOffset: number;
  readonly colOffset: number;
  /** Chebyshev, tiles. */
  readonly distance: number;
  /** Per style: whether an attack would count. */
  readonly reachable: readonly boolean[];
}

export interface Perception {
  readonly slot: number;
  /** Position of the observer. */
  readonly row: number;
  readonly col: number;
  /** Cells on a side, 2 * vision + 1. */
  readonly side: number;
  /** [side * side]: current material, including depleted tiles; NOWHERE outside the map. */
  readonly material: Uint8Array;
  /** [side * side]: slot of the occupant, including the observer; -1 for none. */
  readonly occupant: Int32Array;
  /** The nearest other entities, by distance, ties row by row. */
  readonly entities: readonly Seen[];
}

/** Current material of a tile. */
export function shownMaterial(header: Header, base: Uint8Array, usedUp: Uint8Array, tile: number): number {
  const material = base[tile]!;
  return (usedUp[tile >> 3]! >> (tile & 7)) & 1 ? header.used_up[material]! : material;
}

/**
 * The observation of an agent (or an NPC, as if it were an agent) at the end of a tick, used in the next
 * tick.
 *
 * @param base of the recording. @returns undefined if the slot is empty.
 */
export function perceive(
  header: Header,
  base: Uint8Array,
  frame: Frame,
  slot: number,
): Perception | undefined {
  if (!isAlive(frame, slot)) return undefined;
  const { vision, height, width, nearest } = header;
  const side = 2 * vision + 1;
  const [rows, cols, alive] = [frame.column("row")!, frame.column("col")!, frame.column("alive")!];
  const [row, col] = [rows[slot]!, cols[slot]!];

  const material = new Uint8Array(side * side).fill(NOWHERE);
  const { usedUp } = frame;
  for (let r = Math.max(0, row - vision); r <= Math.min(height - 1, row + vision); r++) {
    for (let c = Math.max(0, col - vision); c <= Math.min(width - 1, col + vision); c++) {
      material[(r - row + vision) * side + c - col + vision] = shownMaterial(
        header,
        base,
        usedUp,
        r * width + c,
      );
    }
  }

  const combat = combatOf(header);
  const occupant = new Int32Array(side * side).fill(-1);
  const others: Seen[] = [];
  for (let other = 0; other < alive.length; other++) {
    if (alive[other] === 0) continue;
    const [rowOffset, colOffset] = [rows[other]! - row, cols[other]! - col];
    const distance = Math.max(Math.abs(rowOffset), Math.abs(colOffset));
    if (distance > vision) continue;
    occupant[(rowOffset + vision) * side + colOffset + vision] = other;
    if (other === slot) continue;
    const reachable = header.styles.map((_, style) => canAttack(header, frame, slot, other, style, combat));
    others.push({ slot: other, rowOffset, colOffset, distance, reachable });
  }
  others.sort((a, b) => a.distance - b.distance || a.rowOffset - b.rowOffset || a.colOffset - b.colOffset);
  return { slot, row, col, side, material, occupant, entities: others.slice(0, nearest) };
}

/**
 * The policy's probabilities of an agent in the frame of the tick for which it decided: one array per head,
 * each with a sum of about 1. Undefined if they were not recorded.
 */
export function probabilitiesOf(
  header: Header,
  frame: Frame,
  slot: number,
): ReadonlyMap<string, Float64Array> | undefined {
  const column = header.columns.find(({ name }) => name === "probability");
  const numbers = frame.column("probability");
  if (!column || !numbers || slot >= header.agents) return undefined;
  const heads = new Map<string, Float64Array>();
  let at = slot * column.width;
  for (const [name, choices] of Object.entries(header.heads)) {
    heads.set(
      name,
      Float64Array.from(numbers.subarray(at, at + choices), (number) => number * column.scale),
    );
    at += choices;
  }
  return heads;
}

/** Value estimate at the decision, in rewards times 1 - gamma; undefined if not recorded. */
export function valueOf(header: Header, frame: Frame, slot: number): number | undefined {
  const column = header.columns.find(({ name }) => name === "value");
  const number = slot < header.agents ? frame.column("value")?.[slot] : undefined;
  return column && number !== undefined ? number * column.scale : undefined;
}

/**
 * The probability that an agent attacks the occupant of each cell of its window, in the style that it chose:
 * the probability of that style times that of the target. Targets in other styles are not recorded.
 *
 * @param seen its observation at the end of the previous tick.
 * @param probabilities `probabilitiesOf` the frame of the tick. @param style its choice, from the same frame.
 * @returns [side * side], 0 to 1.
 */
export function attackMap(
  header: Header,
  seen: Perception,
  probabilities: ReadonlyMap<string, Float64Array>,
  style: number,
): Float32Array {
  const { side, entities } = seen;
  const map = new Float32Array(side * side);
  const targets = probabilities.get("target");
  if (!targets) return map;
  const ofStyle = probabilities.get("style")?.[style] ?? 1;
  const put = (other: Seen | undefined, probability: number): void => {
    if (!other) return;
    const vision = (side - 1) / 2;
    map[(other.rowOffset + vision) * side + other.colOffset + vision] = ofStyle * probability;
  };
  // By rule there are two choices: none, or the nearest target in reach of another population.
  const byRule = targets.length === 2 && header.nearest !== 1;
  if (byRule) {
    const own = populationOf(header, seen.slot);
    put(
      entities.find((other) => other.reachable[style] && populationOf(header, other.slot) !== own),
      targets[1]!,
    );
  } else {
    entities.forEach((other, row) => put(other, targets[row + 1] ?? 0));
  }
  return map;
}
