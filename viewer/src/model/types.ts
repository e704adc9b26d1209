/** Contents of a recording as the rest of the viewer uses them; docs/replay-format.md describes the file. */

/** Numbers of a column, to be multiplied by the column's scale. */
export type Numbers = Uint8Array | Int16Array | Int32Array | Uint32Array;

export interface Column {
  readonly name: string;
  readonly type: "u8" | "i16" | "i32" | "u32";
  readonly of: "entities" | "agents" | "realm";
  readonly width: number;
  readonly delta: boolean;
  readonly scale: number;
}

export interface Material {
  readonly name: string;
  /** Red, green, blue, 0 to 255. */
  readonly color: readonly [number, number, number];
  readonly walkable: boolean;
}

export interface NpcKind {
  readonly name: string;
  readonly health: number;
  readonly level: number;
  readonly hunts: "never" | "provoked" | "always";
  /** First slot of the kind; the kind has `count` consecutive slots. */
  readonly first: number;
  readonly count: number;
}

/** A field that a system adds to the agents' observation. */
export interface SystemField {
  readonly name: string;
  /** Name of the column with its numbers. */
  readonly column: string;
  readonly about: string;
  /** Range of the numbers. */
  readonly low: number;
  readonly high: number;
  /** The scene shows it as daylight: `low` is night, `high` is day. */
  readonly light: boolean;
  /** Shape per agent; empty for one number. */
  readonly shape: readonly number[];
}

/** A part of the rules that a user has added. */
export interface System {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** It changes the observation of the rules, which `perceive` does not know. */
  readonly edits: boolean;
  readonly fields: readonly SystemField[];
}

/** The validated header of a recording; its fields are those of docs/replay-format.md. */
export interface Header {
  readonly software: string;
  readonly title: string;
  readonly realm: number;
  readonly height: number;
  readonly width: number;
  readonly border: number;
  /** Number of agent slots; NPC slots follow them. */
  readonly agents: number;
  /** Total number of slots. */
  readonly entities: number;
  readonly populations: number;
  readonly vision: number;
  readonly nearest: number;
  /** Per style, tiles (Chebyshev). */
  readonly reach: readonly number[];
  readonly immune_ticks: number;
  /** Maxima; health null: it is the level in constitution (for an NPC, the health of its kind). */
  readonly maxima: { readonly health: number | null; readonly food: number; readonly water: number };
  readonly materials: readonly Material[];
  /** Per material, the material that is shown where it is depleted. */
  readonly used_up: readonly number[];
  readonly causes: readonly string[];
  readonly styles: readonly string[];
  /** [rows, columns] of each move. */
  readonly moves: readonly (readonly [number, number])[];
  readonly skills: readonly string[];
  readonly works: readonly string[];
  readonly prices: readonly number[];
  readonly words: number;
  readonly items: readonly { readonly name: string; readonly gear: string }[];
  readonly gear: Readonly<Record<string, readonly number[]>>;
  readonly npcs: readonly NpcKind[];
  /** Choices of each head of the policy, in the order of column `probability`; empty if not recorded. */
  readonly heads: Readonly<Record<string, number>>;
  readonly columns: readonly Column[];
  readonly systems: readonly System[];
  readonly config: unknown;
}

/** The world at the end of a tick, and the actions in it. Arrays are shared views: do not write to them. */
export interface Frame {
  readonly tick: number;
  /** A column at this tick, [n * width]; undefined if it was not recorded. */
  column(name: string): Numbers | undefined;
  /** One bit per tile, row by row (bit i & 7 of byte i >> 3): depleted. */
  readonly usedUp: Uint8Array;
}

/** A map of numbers over the terrain; cell (r, c) covers the tiles from (r * stride, c * stride) on. */
export interface Heat {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly stride: number;
  /** One sentence: the meaning of the numbers, with their unit. */
  readonly about: string;
  /** [rows * cols]; NaN where there is no value. */
  readonly values: Float32Array;
}

/** Overlays over the terrain. */
export type Overlay = "none" | "visits" | "value" | "danger" | "resources";

/** Curves over the whole recording. All arrays have one entry per point of `tick`. */
export interface Series {
  readonly tick: Float64Array;
  /** Recorded ticks since the last point, without those of gaps. */
  readonly ticks: Float64Array;
  /** Living agents of each population. */
  readonly population: readonly Float64Array[];
  /** Mean age at death of the agents that died since the last point; NaN if none did. */
  readonly lifetime: Float64Array;
  /** Deaths of agents since the last point, per cause (index 0, none, stays 0). */
  readonly deaths: readonly Float64Array[];
  /** Births of agents since the last point. */
  readonly births: Float64Array;
  /** Depleted tiles, per material that can be depleted (key: material's name). */
  readonly usedUp: Readonly<Record<string, Float64Array>>;
  /** Last price paid per item, gold; NaN before the first trade. Empty without an exchange. */
  readonly price: readonly Float64Array[];
}

/** The selected entity: its slot and id, because a slot is reused after a death. */
export interface Selection {
  readonly slot: number;
  readonly entity: number;
}
