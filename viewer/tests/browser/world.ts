import { gzipSync } from "node:zlib";

// A small recording with known events, built byte by byte as described in docs/replay-format.md.

/** First and last tick; the ticks of the gap are not recorded. */
export const FIRST = 3;
export const LAST = 80;
export const GAP = [41, 50] as const;
/** The agent of this slot dies of hunger at `death`; from `heir` on agent HEIR has the slot. */
export const MORTAL = { slot: 3, entity: 13, death: 30, heir: 35 } as const;
export const HEIR = 99;
export const AGENTS = 12;

const [HEIGHT, WIDTH] = [24, 30];
const POPULATIONS = 3;
const COLUMNS = [
  ["entity", "u32", 4],
  ["age", "i32", 4],
  ["target", "i32", 4],
  ["row", "i16", 2],
  ["col", "i16", 2],
  ["health", "i16", 2],
  ["food", "i16", 2],
  ["water", "i16", 2],
  ["freeze", "i16", 2],
  ["damage", "i16", 2],
  ["alive", "u8", 1],
  ["cause", "u8", 1],
  ["style", "u8", 1],
  ["day.light", "u8", 1],
] as const;

const HEADER = {
  format: "nmmo-gpu replay",
  version: 2,
  software: "tests",
  title: "A small world",
  realm: 0,
  height: HEIGHT,
  width: WIDTH,
  border: 2,
  agents: AGENTS,
  entities: AGENTS,
  populations: POPULATIONS,
  vision: 4,
  nearest: 5,
  reach: [1, 2, 3],
  immune_ticks: 0,
  maxima: { health: 10, food: 32, water: 32 },
  materials: [
    { name: "lava", color: [196, 62, 28], walkable: true },
    { name: "water", color: [52, 118, 190], walkable: false },
    { name: "grass", color: [122, 168, 82], walkable: true },
    { name: "scrub", color: [168, 158, 98], walkable: true },
    { name: "forest", color: [38, 98, 52], walkable: true },
  ],
  used_up: [0, 1, 2, 3, 3],
  causes: ["none", "lava", "hunger", "thirst", "combat"],
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
  columns: COLUMNS.map(([name, type]) => ({
    name,
    type,
    of: name === "day.light" ? "agents" : "entities",
    width: 1,
    delta: false,
    scale: 1,
  })),
  systems: [
    {
      name: "day",
      class: "tests:Day",
      settings: { period: 50, dark_side: false },
      edits: true,
      fields: [{ name: "light", about: "Light in percent.", low: 0, high: 100, light: true, shape: [] }],
    },
  ],
  config: {},
};

/** Returns a column of a slot at a tick. Agents walk east, one tile every other tick. */
function valueOf(name: string, slot: number, tick: number): number {
  const mortal = slot === MORTAL.slot;
  const heir = mortal && tick >= MORTAL.heir;
  if (name === "entity") return heir ? HEIR : 10 + slot;
  if (name === "age") return heir ? tick - MORTAL.heir : tick + slot;
  if (name === "target") return -1;
  if (name === "row") return 4 + slot;
  if (name === "col") return 4 + (Math.floor(tick / 2) % 20);
  if (name === "health") return 10 - (slot % 4);
  if (name === "food") return Math.max(0, 30 - Math.floor(tick / 4));
  if (name === "water") return 20 + slot;
  if (name === "day.light") return 100 - slot;
  if (name === "alive") return mortal && tick >= MORTAL.death && tick < MORTAL.heir ? 0 : 1;
  if (name === "cause") return mortal && tick === MORTAL.death ? 2 : 0;
  return 0;
}

function chunk(type: string, raw: Buffer, ticks = 0, first = 0): Buffer {
  const stored = gzipSync(raw);
  const header = Buffer.alloc(24);
  header.write(type, "ascii");
  header.writeUInt32LE(stored.length, 4);
  header.writeUInt32LE(raw.length, 8);
  header.writeUInt32LE(ticks, 12);
  header.writeBigUInt64LE(BigInt(first), 16);
  return Buffer.concat([header, stored]);
}

/** Encodes numbers plane by plane: first the lowest byte of all numbers, then the next. */
function planes(numbers: readonly number[], bytes: number): Buffer {
  return Buffer.concat(
    Array.from({ length: bytes }, (_, k) => Buffer.from(numbers.map((number) => (number >> (8 * k)) & 255))),
  );
}

function frames(first: number, ticks: number): Buffer {
  const columns = COLUMNS.map(([name, , bytes]) => {
    const numbers: number[] = [];
    for (let tick = first; tick < first + ticks; tick++) {
      for (let slot = 0; slot < AGENTS; slot++) numbers.push(valueOf(name, slot, tick));
    }
    return planes(numbers, bytes);
  });
  // No tile is depleted, and none changes.
  const tiles = Buffer.alloc(Math.ceil((HEIGHT * WIDTH) / 8) + 4 * ticks);
  return chunk("FRAM", Buffer.concat([...columns, tiles]), ticks, first);
}

/** Returns the recording as a file. */
export function smallWorld(): Buffer {
  const base = Buffer.alloc(HEIGHT * WIDTH, 2);
  for (let tile = 0; tile < base.length; tile += 7) base[tile] = 4;
  const preamble = Buffer.alloc(16);
  Buffer.from([0x89, 0x4e, 0x4d, 0x4d, 0x4f, 0x0d, 0x0a, 0x1a]).copy(preamble);
  preamble.writeUInt32LE(2, 8);
  const parts = [preamble, chunk("HEAD", Buffer.from(JSON.stringify(HEADER))), chunk("TILE", base)];
  for (let tick = FIRST; tick <= LAST; ) {
    const end = tick < GAP[0] ? GAP[0] - 1 : LAST;
    const ticks = Math.min(16, end - tick + 1);
    parts.push(frames(tick, ticks));
    tick += ticks;
    if (tick === GAP[0]) tick = GAP[1] + 1;
  }
  return Buffer.concat(parts);
}
