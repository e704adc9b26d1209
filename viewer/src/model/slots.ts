/** The entity in a slot, and its possible targets. */
import type { Frame, Header, NpcKind, Numbers } from "./types";

/** Population of an agent's slot; -1 for an NPC's. */
export function populationOf(header: Header, slot: number): number {
  return slot < header.agents ? Math.floor(slot / (header.agents / header.populations)) : -1;
}

export function isNpc(header: Header, slot: number): boolean {
  return slot >= header.agents;
}

/** Index into `header.npcs` of an NPC's slot; -1 for an agent's, and for slots of no kind. */
export function kindOf(header: Header, slot: number): number {
  return header.npcs.findIndex(({ first, count }) => slot >= first && slot < first + count);
}

/** The kind itself. */
function npcOf(header: Header, slot: number): NpcKind | undefined {
  return header.npcs[kindOf(header, slot)];
}

/** Maximum health of the entity in the slot. */
export function maxHealth(header: Header, frame: Frame, slot: number): number {
  const npc = npcOf(header, slot);
  if (npc) return npc.health;
  if (header.maxima.health !== null) return header.maxima.health;
  return levelOf(header, frame, slot, "constitution") ?? 1;
}

/** Level in a skill, by name; undefined without skills. */
function levelOf(header: Header, frame: Frame, slot: number, skill: string): number | undefined {
  const index = header.skills.indexOf(skill);
  return index < 0 ? undefined : frame.column("level")?.[slot * header.skills.length + index];
}

/** Display name of an entity, such as "Agent 1234" or "Goblin 77". */
export function nameOf(header: Header, slot: number, entity: number): string {
  const kind = npcOf(header, slot)?.name ?? (isNpc(header, slot) ? "NPC" : "agent");
  return `${kind.charAt(0).toUpperCase()}${kind.slice(1)} ${entity}`;
}

/** The value of a slot in a column with one number per slot; 0 if it was not recorded. */
export function numberOf(frame: Frame, column: string, slot: number): number {
  return frame.column(column)?.[slot] ?? 0;
}

export function isAlive(frame: Frame, slot: number): boolean {
  return numberOf(frame, "alive", slot) !== 0;
}

/** Chebyshev distance between two slots, tiles. */
function apart(frame: Frame, one: number, other: number): number {
  const [row, col] = [needed(frame, "row"), needed(frame, "col")];
  return Math.max(Math.abs(row[one]! - row[other]!), Math.abs(col[one]! - col[other]!));
}

/** Too young to take damage. NPCs are never immune. */
function isImmune(header: Header, frame: Frame, slot: number): boolean {
  return !isNpc(header, slot) && numberOf(frame, "age", slot) < header.immune_ticks;
}

/** The attack rules, from the config in the recording. */
export interface Combat {
  /** Attacks are rolled from levels and gear; immune entities are safe, and throwing requires a knife. */
  readonly rolls: boolean;
  /** Damage per style without rolls; a style without damage has no effect. Empty if unknown. */
  readonly damage: readonly number[];
}

export function combatOf(header: Header): Combat {
  const world = fieldsOf(fieldsOf(header.config)["world"]);
  const damage = world["damage"];
  return {
    rolls: world["rolls"] === true,
    damage: Array.isArray(damage) ? damage.filter((each) => typeof each === "number") : [],
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/**
 * Whether one entity could attack another: both alive at their positions before the tick, within the reach of
 * the style, and according to the rules of the recording.
 */
export function canAttack(
  header: Header,
  before: Frame,
  from: number,
  to: number,
  style: number,
  combat: Combat = combatOf(header),
): boolean {
  if (from === to || !isAlive(before, from) || !isAlive(before, to)) return false;
  if (apart(before, from, to) > (header.reach[style] ?? -1)) return false;
  if (!combat.rolls) return (combat.damage[style] ?? 1) > 0;
  return (
    !isImmune(header, before, to) && (header.styles[style] !== "range" || hasKnife(header, before, from))
  );
}

function hasKnife(header: Header, frame: Frame, slot: number): boolean {
  const kinds = Object.keys(header.gear);
  const worn = isNpc(header, slot) ? undefined : frame.column("worn");
  return (worn?.[slot * kinds.length + kinds.indexOf("knife")] ?? 0) > 0;
}

/** A column that every recording has. */
function needed(frame: Frame, name: string): Numbers {
  const numbers = frame.column(name);
  if (!numbers) throw new Error(`a frame without column ${name}`);
  return numbers;
}
