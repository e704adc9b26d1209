/** Recordings written by Python with their expected contents; see tests/viewer/fixtures.py. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The observation of one agent. */
export interface Saw {
  readonly slot: number;
  readonly material: readonly number[];
  readonly occupant: readonly number[];
  /** Slots of the rows of the entity table, -1 for none. */
  readonly rows: readonly number[];
  readonly offsets: readonly (readonly [number, number])[];
  /** [styles][1 + rows] of 0 and 1. */
  readonly targets: readonly (readonly number[])[];
}

export interface Tick {
  readonly tick: number;
  readonly columns: Readonly<Record<string, readonly number[]>>;
  readonly usedUp: readonly number[];
  /** [from, to, style] */
  readonly attacks: readonly (readonly [number, number, number])[];
  readonly seen: readonly Saw[];
}

export interface Truth {
  readonly base: readonly number[];
  readonly heads: Readonly<Record<string, number>>;
  readonly ticks: readonly Tick[];
}

/** Set by tests/viewer/test_reader.py; without it these tests are skipped. */
export const FOLDER = process.env["NMMO_GPU_FIXTURES"];

export function names(): string[] {
  if (!FOLDER) return [];
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -5));
}

export function bytesOf(name: string): Uint8Array {
  // Not a Buffer, whose slices are not copies.
  return new Uint8Array(readFileSync(join(FOLDER!, `${name}.replay`)));
}

export function truthOf(name: string): Truth {
  return JSON.parse(readFileSync(join(FOLDER!, `${name}.json`), "utf-8")) as Truth;
}
