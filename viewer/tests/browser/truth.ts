import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Color } from "./pixels";

// Expected contents of the worlds that tests/viewer/worlds.py records.

/** Folder of the recordings; undefined unless tests/viewer/test_browser.py runs the tests. */
export const WORLDS = process.env["NMMO_GPU_WORLDS"];

export interface Panel {
  readonly slot: number;
  readonly title: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly meters: Readonly<Record<string, string>>;
  readonly skills?: Readonly<Record<string, number>>;
  readonly inventory?: Readonly<Record<string, number>>;
}

/** An agent's observation: materials and occupants, [side * side]. */
export interface Saw {
  readonly slot: number;
  readonly material: readonly number[];
  /** 0 empty, 1 own population, 2 another population, 3 and above an NPC. */
  readonly occupant: readonly number[];
}

export interface Tick {
  readonly tick: number;
  readonly columns: Readonly<Record<string, readonly number[]>>;
  /** Current material of every tile. */
  readonly material: readonly number[];
  readonly panels?: readonly Panel[];
  readonly seen: readonly Saw[];
}

type Grids = Readonly<Record<string, readonly number[]>>;

export interface World {
  readonly height: number;
  readonly width: number;
  readonly slots: number;
  readonly populations: number;
  readonly vision: number;
  /** Number of ticks in a chunk of the file. */
  readonly chunk: number;
  readonly styles: readonly string[];
  readonly materials: readonly { readonly name: string; readonly color: Color }[];
  readonly base: readonly number[];
  readonly heads: Readonly<Record<string, number>>;
  readonly ticks: readonly Tick[];
  readonly population: readonly (readonly number[])[];
  readonly deaths: readonly (readonly number[])[];
  readonly births: readonly number[];
  readonly lifetime: readonly (number | null)[];
  readonly usedUp: Grids;
  /** By population, "-1" for all: [height * width]. */
  readonly visits: Grids;
  readonly danger: Grids;
  /** By item and tick. */
  readonly prices: readonly (readonly (number | null)[])[];
}

export interface Being {
  readonly slot: number;
  readonly entity: number;
  readonly row: number;
  readonly col: number;
  /** -1: an NPC. */
  readonly population: number;
  readonly frozen: boolean;
}

export function recordingOf(name: string): string {
  return join(WORLDS ?? "", `${name}.replay`);
}

export function readWorld(name: string): World {
  return JSON.parse(readFileSync(join(WORLDS ?? "", `${name}.json`), "utf8")) as World;
}

export const firstOf = (world: World): number => world.ticks[0]!.tick;
export const lastOf = (world: World): number => world.ticks.at(-1)!.tick;

export function at(world: World, tick: number): Tick {
  return world.ticks[tick - firstOf(world)]!;
}

/** Returns the entities alive at the end of a tick, in the order of slots. */
export function living(world: World, tick: number): Being[] {
  const { columns } = at(world, tick);
  return columns["alive"]!.flatMap((alive, slot) => {
    if (!alive) return [];
    const of = (name: string): number => columns[name]![slot]!;
    const population = slot < world.slots ? Math.floor(slot / (world.slots / world.populations)) : -1;
    return [
      { slot, entity: of("entity"), row: of("row"), col: of("col"), population, frozen: of("freeze") > 0 },
    ];
  });
}
