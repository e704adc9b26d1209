/** From when to when the selected lives: a slot passes on at death. */
import type { RecordingLike } from "./contract";
import { isAlive, numberOf } from "./slots";
import type { Frame, Selection } from "./types";

/** Whether the selected is there at a frame. A slot passes on at death, to somebody with a higher id. */
export type Life = "unborn" | "alive" | "dead";

/** No entity has lived in the slot yet: -1 in 32 bits. */
const NOBODY = 0xffffffff;

export function lifeAt(frame: Frame, { slot, entity }: Selection): Life {
  const there = entityAt(frame, slot);
  if (there === NOBODY || there < entity) return "unborn";
  return there === entity && isAlive(frame, slot) ? "alive" : "dead";
}

/** Id of who lives in a slot, or lived there last. */
export function entityAt(frame: Frame, slot: number): number {
  return numberOf(frame, "entity", slot) >>> 0;
}

/** Whoever lives in a slot, as a selection; null if nobody does. */
export function whoIs(frame: Frame, slot: number): Selection | null {
  return isAlive(frame, slot) ? { slot, entity: entityAt(frame, slot) } : null;
}

/**
 * First tick at which the selected is dead, or null if it lives to the end of what is there. Ids of a slot
 * only rise, so that a few frames tell.
 *
 * @param from a tick at which it is not dead; the first if that is not known.
 */
export async function findDeath(
  recording: RecordingLike,
  selection: Selection,
  from = recording.first,
): Promise<number | null> {
  return search(recording, from, (frame) => lifeAt(frame, selection) === "dead");
}

/** First tick at which the selected is there; null if it never is. */
export async function findBirth(recording: RecordingLike, selection: Selection): Promise<number | null> {
  return search(recording, recording.first, (frame) => lifeAt(frame, selection) !== "unborn");
}

/** First recorded tick from one on whose frame is so, if all that come after are so, too. */
async function search(
  recording: RecordingLike,
  from: number,
  so: (frame: Frame) => boolean,
): Promise<number | null> {
  const { last } = recording;
  // Most often all is decided by the newest frame.
  if (last < from || !so(await recording.load(last))) return null;
  let [low, high] = [from, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const frame = await recording.load(middle);
    // In a gap it is the frame before that was asked.
    if (so(frame)) high = Math.min(middle, frame.tick);
    else low = middle + 1;
  }
  return recordedFrom(recording, low);
}

/** The tick itself, or the first after the gap that it is in. */
function recordedFrom(recording: RecordingLike, tick: number): number {
  return Math.max(tick, recording.spans.find(([, last]) => last >= tick)?.[0] ?? tick);
}
