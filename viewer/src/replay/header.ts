/** Validation of the header of a recording. */
import { widthOf } from "../model/systems";
import type { Column, Header, Material, NpcKind, System, SystemField } from "../model/types";
import { ReplayError } from "./error";

/** Version of the recording format. */
export const VERSION = 2;
export const MAX_SIDE = 8192;
export const MAX_ENTITIES = 1 << 24;
export const MAX_COLUMNS = 256;
export const MAX_WIDTH = 4096;

/** Bytes of one number. */
export const BYTES = { u8: 1, i16: 2, i32: 4, u32: 4 } as const;

const MAX_POPULATIONS = 256;
const MAX_LISTED = 4096;
const MAX_TEXT = 4096;
const MAX_DIMENSIONS = 16;
const LARGEST = 0x7fffffff;

/** Numbers of a column per tick. */
export function numbersOf(column: Column, header: Pick<Header, "entities" | "agents">): number {
  const slots = { entities: header.entities, agents: header.agents, realm: 1 }[column.of];
  return slots * column.width;
}

type Shape = readonly [type: Column["type"], of: Column["of"], width: number];

/** Required columns. */
const NEEDED: Readonly<Record<string, Shape>> = {
  entity: ["u32", "entities", 1],
  age: ["i32", "entities", 1],
  target: ["i32", "entities", 1],
  row: ["i16", "entities", 1],
  col: ["i16", "entities", 1],
  health: ["i16", "entities", 1],
  food: ["i16", "entities", 1],
  water: ["i16", "entities", 1],
  freeze: ["i16", "entities", 1],
  damage: ["i16", "entities", 1],
  alive: ["u8", "entities", 1],
  cause: ["u8", "entities", 1],
  style: ["u8", "entities", 1],
};

/** Optional columns; others are ignored. */
function optional(header: Header): Readonly<Record<string, Shape>> {
  const items = header.items.length;
  const choices = Object.values(header.heads).reduce((sum, each) => sum + each, 0);
  return {
    gold: ["i32", "agents", 1],
    offer: ["i16", "agents", 1],
    offer_left: ["i16", "agents", 1],
    offer_price: ["u8", "agents", 1],
    inventory: ["i16", "agents", items],
    worn: ["u8", "agents", Object.keys(header.gear).length],
    token: ["u8", "agents", 1],
    work: ["u8", "agents", 1],
    level: ["u8", "entities", header.skills.length],
    quotes: ["u8", "realm", items * 3],
    value: ["i16", "agents", 1],
    probability: ["u8", "agents", choices],
  };
}

/** Parses the JSON of a `HEAD` chunk; throws a ReplayError if it is foreign or invalid. */
export function parseHeader(payload: Uint8Array): Header {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new ReplayError("The recording's header is damaged. Copy the file from its source again.");
  }
  return checkHeader(value);
}

/** The same from parsed JSON. */
export function checkHeader(value: unknown): Header {
  const fields = record(value, "it");
  if (fields["format"] !== "nmmo-gpu replay" || fields["version"] !== VERSION) {
    throw new ReplayError(`The file's header is not that of an nmmo-gpu recording, version ${VERSION}.`);
  }
  const whole = (name: string, min: number, max: number): number => integer(fields[name], name, min, max);
  const entities = whole("entities", 1, MAX_ENTITIES);
  const agents = whole("agents", 1, entities);
  const vision = whole("vision", 1, 64);
  const materials = list(fields["materials"], "materials", 256).map(material);
  const maxima = record(fields["maxima"], "maxima");
  const styles = texts(fields["styles"], "styles");
  const items = list(fields["items"], "items", MAX_LISTED).map((item) => {
    const { name, gear } = record(item, "items");
    return { name: text(name, "items"), gear: text(gear, "items") };
  });
  const gear = Object.entries(record(fields["gear"], "gear")).map(([name, ranks]) => [
    name,
    list(ranks, "gear", MAX_LISTED).map((item) => integer(item, "gear", 0, items.length - 1)),
  ]);
  const heads = Object.entries(record(fields["heads"], "heads")).map(([name, choices]) => [
    name,
    integer(choices, "heads", 1, MAX_WIDTH),
  ]);
  const header: Header = {
    software: text(fields["software"], "software"),
    title: text(fields["title"], "title"),
    realm: whole("realm", 0, LARGEST),
    height: whole("height", 1, MAX_SIDE),
    width: whole("width", 1, MAX_SIDE),
    border: whole("border", 0, MAX_SIDE),
    agents,
    entities,
    populations: whole("populations", 1, Math.min(agents, MAX_POPULATIONS)),
    vision,
    nearest: whole("nearest", 1, (2 * vision + 1) ** 2 - 1),
    reach: list(fields["reach"], "reach", MAX_LISTED).map((tiles) => integer(tiles, "reach", 0, MAX_SIDE)),
    immune_ticks: whole("immune_ticks", 0, LARGEST),
    maxima: {
      health: maxima["health"] === null ? null : integer(maxima["health"], "maxima", 1, LARGEST),
      food: integer(maxima["food"], "maxima", 1, LARGEST),
      water: integer(maxima["water"], "maxima", 1, LARGEST),
    },
    materials,
    used_up: list(fields["used_up"], "used_up", 256).map((m) =>
      integer(m, "used_up", 0, materials.length - 1),
    ),
    causes: texts(fields["causes"], "causes"),
    styles,
    moves: list(fields["moves"], "moves", MAX_LISTED).map(move),
    skills: texts(fields["skills"], "skills"),
    works: texts(fields["works"], "works"),
    prices: list(fields["prices"], "prices", MAX_LISTED).map((gold) => integer(gold, "prices", 0, LARGEST)),
    words: whole("words", 0, MAX_WIDTH),
    items,
    gear: Object.fromEntries(gear) as Header["gear"],
    npcs: list(fields["npcs"], "npcs", MAX_LISTED).map(npc),
    heads: Object.fromEntries(heads) as Header["heads"],
    columns: list(fields["columns"], "columns", MAX_COLUMNS).map(column),
    // Recordings of earlier versions have no systems.
    systems:
      fields["systems"] === undefined ? [] : list(fields["systems"], "systems", MAX_LISTED).map(system),
    config: fields["config"],
  };
  checkTogether(header);
  return header;
}

function checkTogether(header: Header): void {
  if (header.agents % header.populations !== 0) {
    throw wrong("populations", `${header.agents} agents cannot be divided equally by ${header.populations}`);
  }
  if (header.reach.length !== header.styles.length)
    throw wrong("reach", "it does not have one number per style");
  if (header.used_up.length !== header.materials.length)
    throw wrong("used_up", "it does not have one entry per material");
  if (header.materials.length === 0) throw wrong("materials", "it is empty");
  let free = header.agents;
  for (const kind of header.npcs) {
    if (kind.first < free || kind.first + kind.count > header.entities) {
      throw wrong("npcs", `the slots of ${kind.name} overlap with others or do not exist`);
    }
    free = kind.first + kind.count;
  }
  checkColumns(header);
}

function checkColumns(header: Header): void {
  const byName = new Map(header.columns.map((each) => [each.name, each]));
  if (byName.size !== header.columns.length) throw wrong("columns", "two have the same name");
  for (const name of Object.keys(NEEDED)) {
    if (!byName.has(name)) throw wrong("columns", `${name} is missing`);
  }
  for (const [name, [type, of, width]] of Object.entries({ ...NEEDED, ...optional(header) })) {
    const there = byName.get(name);
    if (there && (there.type !== type || there.of !== of || there.width !== width)) {
      throw wrong("columns", `${name} has the wrong type or shape`);
    }
  }
  for (const field of header.systems.flatMap(({ fields }) => fields)) {
    const there = byName.get(field.column);
    if (there?.of !== "agents" || there.width !== widthOf(field)) {
      throw wrong("systems", `${field.column} has no column, or one of another shape`);
    }
  }
}

function material(value: unknown): Material {
  const { name, color, walkable } = record(value, "materials");
  const parts = list(color, "materials", 3).map((part) => integer(part, "materials", 0, 255));
  const [red, green, blue] = parts;
  if (red === undefined || green === undefined || blue === undefined || typeof walkable !== "boolean") {
    throw wrong("materials", "a material has no color or no walkable flag");
  }
  return { name: text(name, "materials"), color: [red, green, blue], walkable };
}

function move(value: unknown): [number, number] {
  const [rows, columns] = list(value, "moves", 2).map((tiles) =>
    integer(tiles, "moves", -MAX_SIDE, MAX_SIDE),
  );
  if (rows === undefined || columns === undefined) throw wrong("moves", "a move is not a pair of numbers");
  return [rows, columns];
}

function npc(value: unknown): NpcKind {
  const { name, health, level, hunts, first, count } = record(value, "npcs");
  if (hunts !== "never" && hunts !== "provoked" && hunts !== "always")
    throw wrong("npcs", "a kind has an unknown hunting behavior");
  return {
    name: text(name, "npcs"),
    health: integer(health, "npcs", 0, LARGEST),
    level: integer(level, "npcs", 0, LARGEST),
    hunts,
    first: integer(first, "npcs", 0, MAX_ENTITIES),
    count: integer(count, "npcs", 0, MAX_ENTITIES),
  };
}

function system(value: unknown): System {
  const { name, settings, edits, fields } = record(value, "systems");
  const system = text(name, "systems");
  if (typeof edits !== "boolean") throw wrong("systems", "a system has no edits flag");
  return {
    name: system,
    settings: record(settings, "systems"),
    edits,
    fields: list(fields, "systems", MAX_COLUMNS).map((field) => systemField(system, field)),
  };
}

function systemField(system: string, value: unknown): SystemField {
  const { name, about, low, high, light, shape } = record(value, "systems");
  const least = integer(low, "systems", -LARGEST, LARGEST);
  if (typeof light !== "boolean") throw wrong("systems", "a field has no light flag");
  return {
    name: text(name, "systems"),
    column: `${system}.${text(name, "systems")}`,
    about: text(about, "systems"),
    low: least,
    high: integer(high, "systems", least + 1, LARGEST),
    light,
    shape: list(shape, "systems", MAX_DIMENSIONS).map((size) => integer(size, "systems", 1, MAX_WIDTH)),
  };
}

function column(value: unknown): Column {
  const { name, type, of, width, delta, scale } = record(value, "columns");
  if (type !== "u8" && type !== "i16" && type !== "i32" && type !== "u32") {
    throw wrong(
      "columns",
      "a column has a type that this viewer does not support; use the nmmo-gpu version that wrote the file",
    );
  }
  if (of !== "entities" && of !== "agents" && of !== "realm") {
    throw wrong(
      "columns",
      "a column belongs to something that this viewer does not support; use the nmmo-gpu version that wrote the file",
    );
  }
  if (typeof delta !== "boolean" || typeof scale !== "number" || !Number.isFinite(scale)) {
    throw wrong("columns", "a column has no scale or no delta flag");
  }
  return {
    name: text(name, "columns"),
    type,
    of,
    width: integer(width, "columns", 1, MAX_WIDTH),
    delta,
    scale,
  };
}

function wrong(field: string, why: string): ReplayError {
  return new ReplayError(`The recording's header is invalid (${field}: ${why}). The file is damaged.`);
}

function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(field, "it has no fields");
  return value as Record<string, unknown>;
}

function list(value: unknown, field: string, max: number): unknown[] {
  if (!Array.isArray(value) || value.length > max)
    throw wrong(field, `it is not a list of at most ${max} entries`);
  return value as unknown[];
}

function texts(value: unknown, field: string): string[] {
  return list(value, field, MAX_LISTED).map((each) => text(each, field));
}

function text(value: unknown, field: string): string {
  if (typeof value !== "string" || value.length > MAX_TEXT)
    throw wrong(field, "it is not a text, or too long");
  return value;
}

function integer(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw wrong(field, `it is not a number from ${min} to ${max}`);
  }
  return value;
}
