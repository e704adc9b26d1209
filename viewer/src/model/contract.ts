/**
 * Interfaces between the viewer's parts. Each is implemented by one part and used by the others: replay/
 * (bytes: Recording, Scan), scene/ (Stage), ui/ (everything around the canvas), app/ (assembly).
 */
import type { Frame, Header, Heat, Overlay, Series } from "./types";

/** A recording, with as much of it in memory as is needed. */
export interface RecordingLike {
  readonly header: Header;
  /** [height * width]: base material of every tile. */
  readonly base: Uint8Array;
  /** First and last available tick so far. */
  readonly first: number;
  readonly last: number;
  /** Ranges of ticks without gaps, ascending: [first, last] each. */
  readonly spans: readonly (readonly [number, number])[];
  /** The frame of a tick if it is in memory; fetches it if not. In a gap: the newest frame before it. */
  frame(tick: number): Frame | undefined;
  /** The same, asynchronously. Rejects with a ReplayError if the frame cannot be read. */
  load(tick: number): Promise<Frame>;
  /** Maps of numbers in the recording itself. */
  readonly heats: readonly (Heat & { readonly population: number; readonly tick: number })[];
  /** Calls the listener when ticks or maps have been added. */
  listen(listener: () => void): () => void;
}

/** Goes through a whole recording in the background and computes statistics. */
export interface ScanLike {
  /** Share of the known ticks that has been processed, 0 to 1. */
  readonly progress: number;
  readonly series: Series;
  /** Visits or deaths per tile so far, population -1 for all; null, and a notification later, if not known
  yet. */
  heat(name: "visits" | "danger", population: number): Heat | null;
  /** Calls the listener a few times per second while there are changes. */
  listen(listener: () => void): () => void;
}

/** Position of a tile on the screen. */
export interface Projected {
  /** CSS pixels from the canvas' upper left corner. */
  readonly x: number;
  readonly y: number;
  /** In front of the camera and inside the canvas. */
  readonly visible: boolean;
}

/** The 3D scene. */
export interface StageLike {
  /** Draws the moment between two frames: fraction 0 shows `before`, 1 shows `after`. */
  draw(before: Frame, after: Frame, fraction: number): void;
  /** Drawing the same moment again would show more: the camera moves, or land is still being built. */
  readonly unsettled: boolean;
  /** Fits the canvas to its place on the page. */
  resize(): void;
  /** Slot of the entity at a point (CSS pixels of the canvas), or null. */
  pick(x: number, y: number): number | null;
  /** Position of a tile's center, at ground height; fractional tiles are allowed. */
  project(row: number, col: number): Projected;
  /** The tile at a point, or null outside the map. */
  tileAt(x: number, y: number): { row: number; col: number } | null;
  /** Draws a map over the terrain; null removes it. */
  overlay(heat: Heat | null, kind: Overlay): void;
  /** Looks at a tile; `distance` in tiles, unchanged by default. */
  lookAt(row: number, col: number, distance?: number): void;
  /** Corners of the part of the map in view, [row, col] each, for the minimap. */
  footprint(): readonly (readonly [number, number])[];
  /** The camera as a short text, and its inverse. */
  camera(): string;
  setCamera(text: string): void;
  /** The canvas content as PNG. */
  screenshot(): Promise<Blob>;
  /** The canvas itself, for recording a video. */
  readonly canvas: HTMLCanvasElement;
  /** Recent frames per second; draw calls and triangles of the last frame. */
  readonly statistics: { fps: number; calls: number; triangles: number; renderer: string };
  dispose(): void;
}
