/** Life spans: a slot is reused after a death. */
import type { RecordingLike } from "./contract";
import { isAlive, numberOf } from "./slots";
import type { Frame, Selection } from "./types";

/** Whether the selected entity exists in a frame. A slot is reused after a death, with a higher id. */
export type Life = "unborn" | "alive" | "dead";

/** No entity has lived in the slot yet: -1 in 32 bits. */
const NOBODY = 0xffffffff;

export function lifeAt(frame: Frame, { slot, entity }: Selection): Life {
  const there = entityAt(frame, slot);
  if (there === NOBODY || there < entity) return "unborn";
  return there === entity && isAlive(frame, slot) ? "alive" : "dead";
}

/** Id of the entity in a slot, or of the last one that lived there. */
export function entityAt(frame: Frame, slot: number): number {
  return numberOf(frame, "entity", slot) >>> 0;
}

/** The living entity in a slot, as a selection; null if the slot is empty. */
export function whoIs(frame: Frame, slot: number): Selection | null {
  return isAlive(frame, slot) ? { slot, entity: entityAt(frame, slot) } : null;
}

/**
 * First tick at which the selected entity is dead, or null if it lives to the end of the recording. Ids in a
 * slot only increase, so a few frames are enough.
 *
 * @param from a tick at which it is not dead; by default the first.
 */
export async function findDeath(
  recording: RecordingLike,
  selection: Selection,
  from = recording.first,
): Promise<number | null> {
  return search(recording, from, (frame) => lifeAt(frame, selection) === "dead");
}

/** First tick at which the selected entity exists; null if there is none. */
export async function findBirth(recording: RecordingLike, selection: Selection): Promise<number | null> {
  return search(recording, recording.first, (frame) => lifeAt(frame, selection) !== "unborn");
}

/** First recorded tick from a given one whose frame, and all later frames, satisfy a condition. */
async function search(
  recording: RecordingLike,
  from: number,
  so: (frame: Frame) => boolean,
): Promise<number | null> {
  const { last } = recording;
  // In most cases the newest frame decides.
  if (last < from || !so(await recording.load(last))) return null;
  let [low, high] = [from, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const frame = await recording.load(middle);
    // In a gap, the frame before it was tested.
    if (so(frame)) high = Math.min(middle, frame.tick);
    else low = middle + 1;
  }
  return recordedFrom(recording, low);
}

/** The tick itself, or the first one after the gap that contains it. */
function recordedFrom(recording: RecordingLike, tick: number): number {
  return Math.max(tick, recording.spans.find(([, last]) => last >= tick)?.[0] ?? tick);
}
