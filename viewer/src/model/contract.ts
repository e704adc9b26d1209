/**
 * How the viewer's parts meet. Each interface is implemented by one part and used by the others:
 * replay/ (Player of bytes: Recording, Scan), scene/ (Stage), ui/ (what is around the canvas), app/ (puts them
 * together).
 */
import type { Frame, Header, Heat, Overlay, Series } from "./types";

/** A recording, of which as much is in memory as is needed. */
export interface RecordingLike {
  readonly header: Header;
  /** [height * width]: base material of every tile. */
  readonly base: Uint8Array;
  /** First and last tick that are there, so far. */
  readonly first: number;
  readonly last: number;
  /** Stretches of ticks without gaps, rising: [first, last] each. */
  readonly spans: readonly (readonly [number, number])[];
  /** The frame of a tick if it is in memory; fetches it if it is not. In a gap: the newest before it. */
  frame(tick: number): Frame | undefined;
  /** The same, waited for. Rejects with a ReplayError if it cannot be read. */
  load(tick: number): Promise<Frame>;
  /** Maps of numbers that the recording itself holds. */
  readonly heats: readonly (Heat & { readonly population: number; readonly tick: number })[];
  /** Calls the listener when ticks or maps have been added. */
  listen(listener: () => void): () => void;
}

/** Goes through a whole recording in the background, and keeps count. */
export interface ScanLike {
  /** Share of the known ticks that has been counted, 0 to 1. */
  readonly progress: number;
  readonly series: Series;
  /** Visits or deaths per tile so far, population -1 for all; null, and news of it later, if it is not known yet. */
  heat(name: "visits" | "danger", population: number): Heat | null;
  /** Calls the listener a few times a second while there is news. */
  listen(listener: () => void): () => void;
}

/** Where a tile is on the screen. */
export interface Projected {
  /** CSS pixels from the canvas' upper left corner. */
  readonly x: number;
  readonly y: number;
  /** In front of the camera and inside the canvas. */
  readonly visible: boolean;
}

/** The picture. */
export interface StageLike {
  /** Draws the moment between two frames: fraction 0 shows `before`, 1 shows `after`. */
  draw(before: Frame, after: Frame, fraction: number): void;
  /** Fits the canvas to its place on the page. */
  resize(): void;
  /** Slot of whoever is under a point (CSS pixels of the canvas), or null. */
  pick(x: number, y: number): number | null;
  /** Where a tile's middle is, on its ground; a fraction of a tile is fine. */
  project(row: number, col: number): Projected;
  /** The tile under a point, or null beside the map. */
  tileAt(x: number, y: number): { row: number; col: number } | null;
  /** Lays a map over the terrain; null takes it off. */
  overlay(heat: Heat | null, kind: Overlay): void;
  /** Looks at a tile; `distance` in tiles, as it is if not given. */
  lookAt(row: number, col: number, distance?: number): void;
  /** Corners of the part of the map in view, [row, col] each, for the minimap. */
  footprint(): readonly (readonly [number, number])[];
  /** The camera as a short text, and back. */
  camera(): string;
  setCamera(text: string): void;
  /** What is on the canvas, as PNG. */
  screenshot(): Promise<Blob>;
  /** The canvas itself, for recording a film. */
  readonly canvas: HTMLCanvasElement;
  /** Frames per second of late, draw calls and triangles of the last frame. */
  readonly statistics: { fps: number; calls: number; triangles: number; renderer: string };
  dispose(): void;
}
