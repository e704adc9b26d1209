import type { RecordingLike, ScanLike, StageLike } from "../model/contract";
import type { Session } from "../model/session";
import type { Frame } from "../model/types";
import type { Panels } from "./panels";

/** What buttons and keys do. */
export interface Actions {
  /** Goes to a moment, ticks; one before the newest tick is no longer live. */
  seek(time: number): void;
  step(direction: 1 | -1): void;
  togglePlay(): void;
  changeSpeed(direction: 1 | -1): void;
  goLive(): void;
  /** Selects whoever is in the slot now; null for nobody. */
  select(slot: number | null): void;
  /** Selects the living in the next or previous slot of the same sort. */
  neighbour(direction: 1 | -1): void;
  toggleFollow(): void;
  cycleOverlay(): void;
  toggleTheme(): void;
  screenshot(): void;
  /** Begins or ends a film of the canvas. */
  toggleFilm(): void;
  copyLink(): void;
  toggleHelp(): void;
  /** Back to the start page. */
  leave(): void;
}

/** What the parts of the page work with. */
export interface Context {
  readonly session: Session;
  readonly recording: RecordingLike;
  readonly scan: ScanLike;
  readonly stage: StageLike;
  readonly actions: Actions;
  readonly panels: Panels;
  /** The frame of the tick before; undefined while it is fetched, and across a gap. */
  before(frame: Frame): Frame | undefined;
  /** A population's colour, as CSS has it. */
  colour(population: number): string;
}

/** A part of the page. */
export interface Part {
  readonly element: HTMLElement;
  /** Shows a frame; called when it, or what else is shown, has changed and the part is in sight. */
  show(frame: Frame): void;
  dispose?(): void;
}
