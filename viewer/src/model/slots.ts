/** Who is in a slot, and whom it can attack. */
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

/** Most health that whoever is in the slot can have. */
export function maxHealth(header: Header, frame: Frame, slot: number): number {
  const npc = npcOf(header, slot);
  if (npc) return npc.health;
  if (header.most.health !== null) return header.most.health;
  return levelOf(header, frame, slot, "constitution") ?? 1;
}

/** Level in a skill, by its name; undefined where there are none. */
function levelOf(header: Header, frame: Frame, slot: number, skill: string): number | undefined {
  const index = header.skills.indexOf(skill);
  return index < 0 ? undefined : frame.column("level")?.[slot * header.skills.length + index];
}

/** What to call somebody, such as "Agent 1234" or "Goblin 77". */
export function nameOf(header: Header, slot: number, entity: number): string {
  const kind = npcOf(header, slot)?.name ?? (isNpc(header, slot) ? "NPC" : "agent");
  return `${kind.charAt(0).toUpperCase()}${kind.slice(1)} ${entity}`;
}

/** One number of a slot, of a column with one per slot; 0 where it was not recorded. */
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

/** Too young to be hurt. NPCs never are. */
function isImmune(header: Header, frame: Frame, slot: number): boolean {
  return !isNpc(header, slot) && numberOf(frame, "age", slot) < header.immune_ticks;
}

/** How attacks are decided, from the config that the recording holds. */
export interface Combat {
  /** Attacks hit and hurt by rolls of levels and gear; the immune are safe, and throwing takes a knife. */
  readonly rolls: boolean;
  /** Damage per style where there are no rolls; one without damage does nothing. Empty if it is not known. */
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

function fieldsOf(told: unknown): Readonly<Record<string, unknown>> {
  return typeof told === "object" && told !== null ? (told as Record<string, unknown>) : {};
}

/**
 * Whether somebody could attack somebody else: as both stood before the tick, alive, within the reach of the
 * style, and as the rules of the recording have it.
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
