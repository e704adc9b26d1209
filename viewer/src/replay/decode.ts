/** Decodes the payload of a `FRAM` chunk into columns. */
import type { Column, Header, Numbers } from "../model/types";
import { ReplayError } from "./error";
import { BYTES, numbersOf } from "./header";

/** Consecutive decoded ticks. One buffer holds all data, so that a worker can transfer it. */
export interface Decoded {
  readonly first: number;
  readonly ticks: number;
  readonly buffer: ArrayBuffer;
}

/** Contents of a decoded chunk's buffer. */
export interface Contents {
  /** name -> [ticks, n * width]. */
  readonly columns: ReadonlyMap<string, Numbers>;
  /** One bit per tile: depleted at the end of the first tick. */
  readonly used: Uint8Array;
  /** [ticks + 1]: the tiles that tick t flipped are `changed` from `starts[t]` to `starts[t + 1]`. */
  readonly starts: Uint32Array;
  readonly changed: Uint32Array;
}

const ARRAYS = { u8: Uint8Array, i16: Int16Array, i32: Int32Array, u32: Uint32Array } as const;

/** Views of a buffer; the buffer's length determines the number of tile changes. */
export function contentsOf(header: Header, ticks: number, buffer: ArrayBuffer): Contents {
  const { places, used, starts, changed } = layoutOf(header, ticks);
  const columns = new Map<string, Numbers>();
  for (const { column, offset, count } of places) {
    columns.set(column.name, new ARRAYS[column.type](buffer, offset, count));
  }
  return {
    columns,
    used: new Uint8Array(buffer, used, Math.ceil((header.height * header.width) / 8)),
    starts: new Uint32Array(buffer, starts, ticks + 1),
    changed: new Uint32Array(buffer, changed),
  };
}

/** Length of a decoded chunk without tile changes, bytes. */
export function decodedBytes(header: Header, ticks: number): number {
  return layoutOf(header, ticks).changed;
}

function layoutOf(header: Header, ticks: number) {
  let end = 0;
  const take = (bytes: number): number => {
    const offset = end;
    end += Math.ceil(bytes / 4) * 4;
    return offset;
  };
  const places = header.columns.map((column) => {
    const count = ticks * numbersOf(column, header);
    return { column, count, offset: take(count * BYTES[column.type]) };
  });
  const used = take(Math.ceil((header.height * header.width) / 8));
  return { places, used, starts: take(4 * (ticks + 1)), changed: end };
}

/**
 * Decodes the payload of a `FRAM` chunk whose length has been checked.
 *
 * Throws a ReplayError if a number points outside the map or the tables, so that callers need no checks.
 */
export function decodeFrames(header: Header, first: number, ticks: number, payload: Uint8Array): Decoded {
  const tiles = header.height * header.width;
  const fixed =
    header.columns.reduce((sum, each) => sum + BYTES[each.type] * numbersOf(each, header), 0) * ticks;
  const bits = Math.ceil(tiles / 8);
  const changes = (payload.length - fixed - bits - 4 * ticks) / 4;
  const buffer = new ArrayBuffer(decodedBytes(header, ticks) + 4 * changes);
  const contents = contentsOf(header, ticks, buffer);
  let offset = 0;
  for (const column of header.columns) {
    const numbers = contents.columns.get(column.name)!;
    undo(column, payload, offset, numbers, ticks);
    offset += numbers.byteLength;
  }
  contents.used.set(payload.subarray(offset, offset + bits));
  offset += bits;
  const counts = new Uint32Array(ticks);
  combine4(payload, offset, counts, 0, ticks);
  combine4(payload, offset + 4 * ticks, contents.changed, 0, changes);
  addUp(counts, contents, tiles, first);
  check(header, first, ticks, contents);
  return { first, ticks, buffer };
}

/** Converts counts and differences of changed tiles to positions in `changed` and tile indices. */
function addUp(counts: Uint32Array, { starts, changed }: Contents, tiles: number, first: number): void {
  let total = 0;
  for (const count of counts) total += count;
  if (counts[0] !== 0 || total !== changed.length) {
    throw new ReplayError(`The number of tile changes from tick ${first} on is wrong. ${DAMAGED}`);
  }
  let end = 0;
  for (let t = 0; t < counts.length; t++) {
    starts[t] = end;
    end += counts[t]!;
    let tile = -1;
    for (let i = starts[t]!; i < end; i++) {
      const step = changed[i]!;
      // Within a tick they ascend; only the first may be tile 0.
      if (tile >= 0 && step === 0) tile = tiles;
      tile = Math.max(tile, 0) + step;
      if (tile >= tiles)
        throw new ReplayError(`Tick ${first + t} changes a tile outside the map. ${DAMAGED}`);
      changed[i] = tile;
    }
  }
  starts[counts.length] = end;
}

const DAMAGED = "The file is damaged.";

/** Decodes the planes and differences of one column. */
function undo(column: Column, payload: Uint8Array, offset: number, numbers: Numbers, ticks: number): void {
  const count = numbers.length;
  const step = column.delta ? count / ticks : 0;
  const width = BYTES[column.type];
  if (width === 1) {
    numbers.set(payload.subarray(offset, offset + count));
    if (step > 0) for (let i = step; i < count; i++) numbers[i]! += numbers[i - step]!;
  } else if (width === 2) {
    combine2(payload, offset, numbers, step, count);
  } else {
    combine4(payload, offset, numbers, step, count);
  }
}

/** Two-byte numbers, stored as two planes; from index `step` on, differences to the number `step` earlier. */
function combine2(data: Uint8Array, low: number, out: Numbers, step: number, count: number): void {
  const high = low + count;
  const plain = step > 0 ? Math.min(step, count) : count;
  for (let i = 0; i < plain; i++) out[i] = data[low + i]! | (data[high + i]! << 8);
  for (let i = plain; i < count; i++) out[i] = out[i - step]! + (data[low + i]! | (data[high + i]! << 8));
}

/** The same with four bytes. */
function combine4(data: Uint8Array, low: number, out: Numbers, step: number, count: number): void {
  const [second, third, high] = [low + count, low + 2 * count, low + 3 * count];
  const plain = step > 0 ? Math.min(step, count) : count;
  for (let i = 0; i < count; i++) {
    const number =
      data[low + i]! | (data[second + i]! << 8) | (data[third + i]! << 16) | (data[high + i]! << 24);
    out[i] = i < plain ? number : out[i - step]! + number;
  }
}

/** Validates what rendering relies on: living and dying entities are on the map, and indices are valid. */
function check(header: Header, first: number, ticks: number, { columns }: Contents): void {
  const column = (name: string): Numbers => columns.get(name)!;
  const [alive, row, col, cause, style] = ["alive", "row", "col", "cause", "style"].map(column) as [
    Numbers,
    Numbers,
    Numbers,
    Numbers,
    Numbers,
  ];
  const { entities, height, width, causes, styles } = header;
  for (let i = 0; i < ticks * entities; i++) {
    if (cause[i]! >= causes.length)
      throw new ReplayError(`${tickOf(i)} has an unknown cause of death. ${DAMAGED}`);
    if (alive[i] === 0 && cause[i] === 0) continue;
    const stands = row[i]! >= 0 && row[i]! < height && col[i]! >= 0 && col[i]! < width;
    if (!stands) throw new ReplayError(`${tickOf(i)} has an entity outside the map. ${DAMAGED}`);
    if (style[i]! >= styles.length)
      throw new ReplayError(`${tickOf(i)} has an unknown attack style. ${DAMAGED}`);
  }

  function tickOf(index: number): string {
    return `Tick ${first + Math.floor(index / entities)}`;
  }
}
