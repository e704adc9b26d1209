import type { Frame, Header } from "../model/types";
import { populationOf } from "../model/slots";

/** Sort keys of the list of agents. */
export type SortKey = "id" | "population" | "age" | "health" | "food" | "water" | "gold" | "levels";

/** Filter of the list: all agents, those of a population, or those whose id begins with some digits. */
export type Query = { readonly population: number } | { readonly id: string } | null;

/** Columns of the list for a world; gold and levels exist in the full game. */
export function sortKeys(header: Header): readonly SortKey[] {
  const names = new Set(header.columns.map((column) => column.name));
  const keys: SortKey[] = ["id", "population", "age", "health", "food", "water"];
  if (names.has("gold")) keys.push("gold");
  if (names.has("level")) keys.push("levels");
  return keys;
}

/** "12" matches ids that begin with 12; "p3", "pop 3" and "population 3" match a population. */
export function parseQuery(text: string): Query | "unknown" {
  const words = text.trim().toLowerCase();
  if (!words) return null;
  const population = /^(?:p|pop|population)\s*\.?\s*(\d+)$/.exec(words);
  if (population) return { population: Number(population[1]) };
  const id = /^(?:#|id|agent)?\s*(\d+)$/.exec(words);
  return id?.[1] ? { id: id[1] } : "unknown";
}

/** The sort value of a slot. */
export function valueOf(frame: Frame, header: Header, key: SortKey): (slot: number) => number {
  if (key === "population") return (slot) => populationOf(header, slot);
  if (key === "levels") {
    const [levels, width] = [frame.column("level"), header.skills.length];
    return (slot) => {
      let sum = 0;
      for (let skill = 0; skill < width; skill++) sum += levels?.[slot * width + skill] ?? 0;
      return sum;
    };
  }
  const numbers = frame.column(key === "id" ? "entity" : key);
  return key === "id" ? (slot) => (numbers?.[slot] ?? 0) >>> 0 : (slot) => numbers?.[slot] ?? 0;
}

/**
 * Slots of the living agents that match a query, sorted; ties by slot.
 *
 * @param descending largest first.
 */
export function listAgents(
  frame: Frame,
  header: Header,
  query: Query,
  key: SortKey,
  descending: boolean,
): Uint32Array {
  const alive = frame.column("alive");
  const id = valueOf(frame, header, "id");
  const slots: number[] = [];
  for (let slot = 0; slot < header.agents; slot++) {
    if (!alive?.[slot]) continue;
    if (query && "population" in query && populationOf(header, slot) !== query.population) continue;
    if (query && "id" in query && !String(id(slot)).startsWith(query.id)) continue;
    slots.push(slot);
  }
  const value = valueOf(frame, header, key);
  const sign = descending ? -1 : 1;
  const values = new Float64Array(header.agents);
  for (const slot of slots) values[slot] = value(slot);
  return Uint32Array.from(slots).sort((a, b) => sign * ((values[a] ?? 0) - (values[b] ?? 0)) || a - b);
}
