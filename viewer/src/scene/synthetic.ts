import type { Column, Frame, Header, Numbers, SystemField } from "../model/types";
import { noise } from "./ground";

/** A synthetic world for development and tests of the scene; recordings come from replay/. */

export const LAVA = 0;
export const WATER = 1;
export const GRASS = 2;
export const SCRUB = 3;
export const FOREST = 4;
export const STONE = 5;
export const ORE = 6;

/** State and actions of a slot in a synthetic tick; fields that are not given are 0, or at their maximum. */
export interface Being {
  readonly slot: number;
  readonly row: number;
  readonly col: number;
  readonly entity?: number;
  readonly alive?: boolean;
  readonly health?: number;
  readonly food?: number;
  readonly water?: number;
  readonly freeze?: number;
  readonly damage?: number;
  readonly cause?: number;
  readonly style?: number;
  readonly target?: number;
  /** Daylight that it observes, in percent. */
  readonly "day.light"?: number;
}

const NPCS = [
  { name: "chicken", health: 5, level: 1, hunts: "never", share: 0.5 },
  { name: "goblin", health: 15, level: 5, hunts: "provoked", share: 0.35 },
  { name: "bear", health: 40, level: 15, hunts: "always", share: 0.15 },
] as const;

const TYPES = {
  entity: "u32",
  age: "i32",
  target: "i32",
  row: "i16",
  col: "i16",
  health: "i16",
  food: "i16",
  water: "i16",
  freeze: "i16",
  damage: "i16",
  alive: "u8",
  cause: "u8",
  style: "u8",
  "day.light": "u8",
} as const;

const LIGHT: SystemField = {
  name: "light",
  column: "day.light",
  about: "light in percent",
  low: 0,
  high: 100,
  light: true,
  shape: [],
};

const ARRAYS = { u8: Uint8Array, i16: Int16Array, i32: Int32Array, u32: Uint32Array } as const;

/** A header as the recorder writes it. */
export function madeHeader(
  height: number,
  width: number,
  agents: number,
  npcs: number,
  populations = 8,
): Header {
  let first = agents;
  const kinds = NPCS.map(({ share, ...kind }, index) => {
    const count = index === NPCS.length - 1 ? agents + npcs - first : Math.floor(npcs * share);
    first += count;
    return { ...kind, first: first - count, count };
  });
  const columns: Column[] = Object.entries(TYPES).map(([name, type]) => ({
    name,
    type,
    of: name === "day.light" ? "agents" : "entities",
    width: 1,
    delta: false,
    scale: 1,
  }));
  return {
    software: "made up",
    title: "A synthetic world",
    realm: 0,
    height,
    width,
    border: 2,
    agents,
    entities: agents + npcs,
    populations,
    vision: 7,
    nearest: 10,
    reach: [1, 3, 4],
    immune_ticks: 15,
    maxima: { health: 10, food: 32, water: 32 },
    materials: [
      { name: "lava", walkable: true, color: [196, 62, 28] },
      { name: "water", walkable: false, color: [52, 118, 190] },
      { name: "grass", walkable: true, color: [122, 168, 82] },
      { name: "scrub", walkable: true, color: [168, 158, 98] },
      { name: "forest", walkable: true, color: [38, 98, 52] },
      { name: "stone", walkable: false, color: [122, 122, 126] },
      { name: "orerock", walkable: false, color: [150, 110, 70] },
    ],
    used_up: [LAVA, WATER, GRASS, SCRUB, SCRUB, STONE, STONE],
    causes: ["none", "lava", "hunger", "thirst", "combat"],
    styles: ["melee", "range", "mage"],
    moves: [
      [0, 0],
      [-1, 0],
      [1, 0],
      [0, 1],
      [0, -1],
    ],
    skills: [],
    works: [],
    prices: [],
    words: 0,
    items: [],
    gear: {},
    npcs: npcs ? kinds : [],
    heads: {},
    columns,
    systems: [{ name: "day", settings: {}, edits: false, fields: [LIGHT] }],
    config: {},
  };
}

/** Terrain with the game's shares of materials, and a border of lava. */
export function madeTerrain({ height, width, border }: Header, seed = 1): Uint8Array {
  const base = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    for (let col = 0; col < width; col++) {
      const edge = Math.min(row, col, height - 1 - row, width - 1 - col);
      const level = 0.6 * wave(row / 9, col / 9, seed) + 0.4 * wave(row / 4, col / 4, seed + 1);
      base[row * width + col] =
        edge < border
          ? LAVA
          : edge === border
            ? GRASS
            : level < 0.35
              ? WATER
              : level < 0.53
                ? GRASS
                : level < 0.65
                  ? FOREST
                  : noise(row, col + 999) < 0.1
                    ? ORE
                    : STONE;
    }
  }
  return base;
}

/** A frame with exactly these entities. */
export function madeFrame(
  header: Header,
  tick: number,
  beings: readonly Being[],
  used: Iterable<number> = [],
): Frame {
  const columns = new Map<string, Numbers>();
  for (const [name, type] of Object.entries(TYPES)) columns.set(name, new ARRAYS[type](header.entities));
  columns.get("target")?.fill(-1);
  for (const being of beings) {
    const { slot, alive = true, ...rest } = being;
    const full = {
      entity: slot + 1,
      age: 1,
      health: 10,
      food: 32,
      water: 32,
      alive: Number(alive),
      "day.light": 100,
      ...rest,
    };
    for (const [name, value] of Object.entries(full)) {
      const column = columns.get(name);
      if (column) column[slot] = value;
    }
  }
  const usedUp = new Uint8Array(Math.ceil((header.height * header.width) / 8));
  for (const tile of used) usedUp[tile >> 3]! |= 1 << (tile & 7);
  return { tick, column: (name) => columns.get(name), usedUp };
}

/** A running world: entities wander, fight their neighbors, eat the forest, die and spawn. */
export class MadeWorld {
  private tick = 0;
  private state = 12345;
  private ids: number;
  private readonly used = new Set<number>();
  private beings: (Being & {
    health: number;
    food: number;
    water: number;
    freeze: number;
    entity: number;
  })[] = [];
  private readonly land: number[] = [];

  constructor(
    readonly header: Header,
    readonly base: Uint8Array,
  ) {
    base.forEach((material, tile) => {
      if (material === GRASS || material === FOREST) this.land.push(tile);
    });
    this.ids = 1;
    for (let slot = 0; slot < header.entities; slot++) this.beings.push(this.born(slot));
  }

  /** The next frame. */
  next(): Frame {
    const { header, base } = this;
    this.tick++;
    const near = new Map<number, number>();
    for (const { slot, row, col, alive } of this.beings)
      if (alive !== false) near.set(row * header.width + col, slot);
    const hurt = new Map<number, number>();
    const chilled = new Set<number>();
    const deeds = this.beings.map((being) => {
      if (being.alive === false) return { style: 0, target: -1 };
      const style = being.slot < header.agents ? Math.floor(this.random() * 3) : 0;
      const reach = being.slot < header.agents ? (header.reach[style] ?? 1) : 1;
      for (let tries = 0; tries < 6 && this.random() < 0.8; tries++) {
        const row = being.row + Math.round((this.random() * 2 - 1) * reach);
        const col = being.col + Math.round((this.random() * 2 - 1) * reach);
        const target = near.get(row * header.width + col);
        if (target === undefined || target === being.slot) continue;
        hurt.set(target, (hurt.get(target) ?? 0) + style + 1);
        if (style === 2) chilled.add(target);
        return { style, target };
      }
      return { style, target: -1 };
    });
    this.beings = this.beings.map((being, slot) => {
      if (being.alive === false) return this.random() < 0.3 ? this.born(slot) : { ...being, cause: 0 };
      let { row, col } = being;
      const [down, right] = header.moves[Math.floor(this.random() * 5)] ?? [0, 0];
      const goal = (row + down) * header.width + col + right;
      const material = base[goal] ?? WATER;
      if (!being.freeze && !near.has(goal) && (material === GRASS || material === FOREST)) {
        near.delete(row * header.width + col);
        near.set(goal, slot);
        [row, col] = [row + down, col + right];
      }
      const tile = row * header.width + col;
      if (base[tile] === FOREST && slot < header.agents) this.used.add(tile);
      const damage = hurt.get(slot) ?? 0;
      const health = Math.min(10, being.health + 0.2 - damage);
      const dead = health <= 0;
      return {
        ...being,
        ...deeds[slot],
        row,
        col,
        damage,
        health: Math.max(0, health),
        alive: !dead,
        cause: dead ? 4 : 0,
        food: 4 + ((being.food + 27) % 28),
        water: 4 + ((being.water + 26) % 28),
        freeze: chilled.has(slot) ? 3 : Math.max(0, being.freeze - 1),
      };
    });
    return madeFrame(header, this.tick, this.beings, this.used);
  }

  private born(slot: number): (typeof this.beings)[number] {
    const tile = this.land[Math.floor(this.random() * this.land.length)] ?? 0;
    const { width } = this.header;
    return {
      slot,
      row: Math.floor(tile / width),
      col: tile % width,
      entity: this.ids++,
      health: 4 + 6 * this.random(),
      food: Math.floor(32 * this.random()),
      water: Math.floor(32 * this.random()),
      freeze: 0,
      alive: true,
      target: -1,
    };
  }

  private random(): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return this.state / 0x100000000;
  }
}

/** Smooth noise, 0 to 1. */
function wave(row: number, col: number, seed: number): number {
  const [r, c] = [Math.floor(row), Math.floor(col)];
  const [u, v] = [row - r, col - c].map((x) => x * x * (3 - 2 * x)) as [number, number];
  const at = (dr: number, dc: number): number => noise(r + dr + 1000 * seed, c + dc);
  return (at(0, 0) * (1 - v) + at(0, 1) * v) * (1 - u) + (at(1, 0) * (1 - v) + at(1, 1) * v) * u;
}
