/** Who is in a slot, and what happens to it from one tick to the next. */
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
export function npcOf(header: Header, slot: number): NpcKind | undefined {
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
export function levelOf(header: Header, frame: Frame, slot: number, skill: string): number | undefined {
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

/** Slots of the living, rising; all, or only those of agents. */
export function living(header: Header, frame: Frame, who: "all" | "agents" = "all"): number[] {
  const alive = needed(frame, "alive");
  const slots: number[] = [];
  const end = who === "all" ? header.entities : header.agents;
  for (let slot = 0; slot < end; slot++) if (alive[slot] !== 0) slots.push(slot);
  return slots;
}

/** Slots in which somebody lives now who did not live there before. */
export function births(before: Frame, after: Frame): number[] {
  const [alive, entity] = [needed(after, "alive"), needed(after, "entity")];
  const [was, who] = [needed(before, "alive"), needed(before, "entity")];
  const slots: number[] = [];
  for (let slot = 0; slot < alive.length; slot++) {
    if (alive[slot] !== 0 && (was[slot] === 0 || who[slot] !== entity[slot])) slots.push(slot);
  }
  return slots;
}

/** Somebody's end. */
export interface Death {
  readonly slot: number;
  /** Who it was. */
  readonly entity: number;
  /** Index into `header.causes`; 0 if it happened in ticks between the frames. */
  readonly cause: number;
}

/** Who lived before and does not any more. */
export function deaths(before: Frame, after: Frame): Death[] {
  const [alive, entity, cause] = [needed(after, "alive"), needed(after, "entity"), needed(after, "cause")];
  const [was, who] = [needed(before, "alive"), needed(before, "entity")];
  const gone: Death[] = [];
  for (let slot = 0; slot < alive.length; slot++) {
    const same = who[slot] === entity[slot];
    if (was[slot] === 0 || (alive[slot] !== 0 && same)) continue;
    gone.push({ slot, entity: who[slot]!, cause: same ? cause[slot]! : 0 });
  }
  return gone;
}

/** Chebyshev distance between two slots, tiles. */
export function apart(frame: Frame, one: number, other: number): number {
  const [row, col] = [needed(frame, "row"), needed(frame, "col")];
  return Math.max(Math.abs(row[one]! - row[other]!), Math.abs(col[one]! - col[other]!));
}

/** Too young to be hurt. NPCs never are. */
export function isImmune(header: Header, frame: Frame, slot: number): boolean {
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

export interface Attack {
  readonly from: number;
  readonly to: number;
  /** Index into `header.styles`. */
  readonly style: number;
  /** Whether the one attacked was hurt in this tick, by whomever. */
  readonly hit: boolean;
  /** How much it was hurt; known only if nobody else attacked it. */
  readonly damage?: number;
}

/** The attacks of a frame's tick that count; none if the frame before is not that of the tick before. */
export function attacks(header: Header, before: Frame, frame: Frame): Attack[] {
  if (frame.tick !== before.tick + 1) return [];
  const [target, style, damage] = [needed(frame, "target"), needed(frame, "style"), needed(frame, "damage")];
  const combat = combatOf(header);
  const found: Attack[] = [];
  const attackers = new Map<number, number>();
  for (let from = 0; from < target.length; from++) {
    const to = target[from]!;
    if (to < 0 || to >= target.length || !canAttack(header, before, from, to, style[from]!, combat)) continue;
    found.push({ from, to, style: style[from]!, hit: damage[to]! > 0 });
    attackers.set(to, (attackers.get(to) ?? 0) + 1);
  }
  return found.map((each) => (attackers.get(each.to) === 1 ? { ...each, damage: damage[each.to]! } : each));
}

/** A column that every recording has. */
function needed(frame: Frame, name: string): Numbers {
  const numbers = frame.column(name);
  if (!numbers) throw new Error(`a frame without column ${name}`);
  return numbers;
}
