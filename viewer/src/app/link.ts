import type { State } from "../model/session";
import type { Overlay } from "../model/types";
import { speeds } from "../ui/format";

/** State that a link restores; fields that it does not contain are null. */
export interface Link {
  readonly time: number | null;
  readonly camera: string | null;
  readonly selected: State["selected"];
  readonly following: boolean;
  readonly overlay: Overlay | null;
  readonly overlayPopulation: number | null;
  readonly speed: number | null;
}

const OVERLAYS: readonly Overlay[] = ["none", "visits", "value", "danger", "resources"];

/** The fragment of the address for the current view. */
export function writeLink(state: Readonly<State>, camera: string): string {
  const fields = new URLSearchParams();
  fields.set("tick", String(Math.round(100 * state.time) / 100));
  fields.set("camera", camera);
  if (state.selected) fields.set("agent", `${state.selected.slot}.${state.selected.entity}`);
  if (state.following) fields.set("follow", "1");
  if (state.overlay !== "none") fields.set("overlay", state.overlay);
  if (state.overlay !== "none" && state.overlayPopulation >= 0) {
    fields.set("population", String(state.overlayPopulation));
  }
  if (state.speed !== 1) fields.set("speed", String(state.speed));
  return `#${fields}`;
}

/** Parses such a fragment; invalid parts are ignored. */
export function readLink(hash: string): Link {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const [slot, entity] = (fields.get("agent") ?? "").split(".").map(natural);
  const overlay = OVERLAYS.find((name) => name === fields.get("overlay")) ?? null;
  const speed = Number(fields.get("speed"));
  const time = fields.has("tick") ? Number(fields.get("tick")) : NaN;
  return {
    time: Number.isFinite(time) && time >= 0 ? time : null,
    camera: fields.get("camera"),
    selected: slot != null && entity != null ? { slot, entity } : null,
    following: fields.get("follow") === "1",
    overlay,
    overlayPopulation: natural(fields.get("population") ?? ""),
    speed: speeds.includes(speed) ? speed : null,
  };
}

/** The state changes that a link requests; slots or populations that do not exist are ignored. */
export function fromLink(link: Link, entities: number, populations: number): Partial<State> {
  const patch: Partial<State> = {};
  if (link.time !== null) Object.assign(patch, { time: link.time, playing: false, live: false });
  const selected = link.selected && link.selected.slot < entities ? link.selected : null;
  if (link.time !== null || selected)
    Object.assign(patch, { selected, following: !!selected && link.following });
  if (link.overlay) patch.overlay = link.overlay;
  if (link.overlayPopulation !== null && link.overlayPopulation < populations) {
    patch.overlayPopulation = link.overlayPopulation;
  }
  if (link.speed) patch.speed = link.speed;
  return patch;
}

function natural(text: string): number | null {
  return /^\d{1,10}$/.test(text) ? Number(text) : null;
}
