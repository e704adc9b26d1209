/** What agents observe of systems: parts of the rules that users have added. */
import { entityAt } from "./life";
import { isAlive } from "./slots";
import type { Frame, Header, Selection, SystemField } from "./types";

/** Numbers of a field per agent. */
export function widthOf({ shape }: Pick<SystemField, "shape">): number {
  return shape.reduce((width, size) => width * size, 1);
}

/** What the agent in a slot observes of a field; empty for an NPC. */
export function observed(header: Header, frame: Frame, field: SystemField, slot: number): readonly number[] {
  const numbers = slot < header.agents ? frame.column(field.column) : undefined;
  const width = widthOf(field);
  return numbers ? Array.from(numbers.subarray(slot * width, (slot + 1) * width)) : [];
}

/**
 * Daylight in a frame, 0 (night) to 1 (day): that which the selected agent observes, or else the living agent
 * of the first slot. With several fields of light, their product. Null without such a field, or if all agents
 * are dead.
 */
export function lightOf(header: Header, frame: Frame, selected: Selection | null): number | null {
  const fields = header.systems.flatMap((system) => system.fields.filter(({ light }) => light));
  const slot = fields.length ? observer(header, frame, selected) : -1;
  if (slot < 0) return null;
  return fields.reduce((light, field) => light * share(field, observed(header, frame, field, slot)), 1);
}

/** Daylight between two frames; day if it is unknown in both. */
export function lightBetween(before: number | null, after: number | null, fraction: number): number {
  const [from, to] = [before ?? after ?? 1, after ?? before ?? 1];
  return from + (to - from) * Math.min(Math.max(fraction, 0), 1);
}

function observer(header: Header, frame: Frame, selected: Selection | null): number {
  if (selected && selected.slot < header.agents && isAlive(frame, selected.slot)) {
    if (entityAt(frame, selected.slot) === selected.entity) return selected.slot;
  }
  for (let slot = 0; slot < header.agents; slot++) if (isAlive(frame, slot)) return slot;
  return -1;
}

/** Mean of the numbers, on a scale from `low` to `high`. */
function share({ low, high }: SystemField, numbers: readonly number[]): number {
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  return Math.min(Math.max((mean - low) / (high - low), 0), 1);
}
