import type { RecordingLike, ScanLike, StageLike } from "../model/contract";
import type { Session } from "../model/session";
import type { Frame } from "../model/types";
import type { Panels } from "./panels";

/** Actions of buttons and keys. */
export interface Actions {
  /** Goes to a moment, in ticks; a moment before the newest tick leaves live mode. */
  seek(time: number): void;
  step(direction: 1 | -1): void;
  togglePlay(): void;
  changeSpeed(direction: 1 | -1): void;
  goLive(): void;
  /** Selects the entity that is in the slot now; null clears the selection. */
  select(slot: number | null): void;
  /** Selects the next or previous living entity of the same kind. */
  neighbor(direction: 1 | -1): void;
  toggleFollow(): void;
  cycleOverlay(): void;
  toggleTheme(): void;
  screenshot(): void;
  /** Starts or stops a video of the canvas. */
  toggleFilm(): void;
  copyLink(): void;
  toggleHelp(): void;
  /** Returns to the start page. */
  leave(): void;
}

/** What the parts of the page share. */
export interface Context {
  readonly session: Session;
  readonly recording: RecordingLike;
  readonly scan: ScanLike;
  readonly stage: StageLike;
  readonly actions: Actions;
  readonly panels: Panels;
  /** The frame of the previous tick; undefined while it is being fetched, and across a gap. */
  before(frame: Frame): Frame | undefined;
  /** A population's color in CSS. */
  color(population: number): string;
}

/** A part of the page. */
export interface Part {
  readonly element: HTMLElement;
  /** Shows a frame; called when the frame or other displayed state has changed and the part is visible. */
  show(frame: Frame): void;
  dispose?(): void;
}
