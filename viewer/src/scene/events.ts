import { canAttack, combatOf, type Combat } from "../model/slots";
import type { Frame, Header, Numbers } from "../model/types";

/** State of a slot between two frames. */
export const ABSENT = 0;
export const LIVING = 1;
export const BORN = 2;
export const DIED = 3;

const NOTHING = new Int32Array(0);

/** The columns of a frame that the scene needs; missing ones are empty. */
export class Columns {
  tick = -1;
  alive: Numbers = NOTHING;
  entity: Numbers = NOTHING;
  row: Numbers = NOTHING;
  col: Numbers = NOTHING;
  health: Numbers = NOTHING;
  food: Numbers = NOTHING;
  water: Numbers = NOTHING;
  freeze: Numbers = NOTHING;
  damage: Numbers = NOTHING;
  cause: Numbers = NOTHING;
  style: Numbers = NOTHING;
  target: Numbers = NOTHING;
  level: Numbers = NOTHING;

  take(frame: Frame): void {
    this.tick = frame.tick;
    for (const name of NAMES) this[name] = frame.column(name) ?? NOTHING;
  }
}

const NAMES = [
  "alive",
  "entity",
  "row",
  "col",
  "health",
  "food",
  "water",
  "freeze",
  "damage",
  "cause",
  "style",
  "target",
  "level",
] as const;

/** Events between two frames, for every slot. Arrays are allocated once, and overwritten by `update`. */
export class Events {
  readonly before = new Columns();
  readonly after = new Columns();
  /** [entities]: ABSENT, LIVING, BORN or DIED. */
  readonly fate: Uint8Array;
  /** [entities]: slot attacked with effect, or -1. */
  readonly attacked: Int32Array;
  /** Attacking slots. */
  readonly attackers: Int32Array;
  attacks = 0;
  private shown: readonly [Frame, Frame] | null = null;
  private readonly combat: Combat;

  constructor(private readonly header: Header) {
    this.fate = new Uint8Array(header.entities);
    this.attacked = new Int32Array(header.entities).fill(-1);
    this.attackers = new Int32Array(header.entities);
    this.combat = combatOf(header);
  }

  /** Compares two frames; returns false if they are those of the last call. */
  update(before: Frame, after: Frame): boolean {
    if (this.shown?.[0] === before && this.shown[1] === after) return false;
    this.shown = [before, after];
    this.before.take(before);
    this.after.take(after);
    const { fate, header } = this;
    const [was, is] = [this.before, this.after];
    for (let slot = 0; slot < header.entities; slot++) {
      const [then, now] = [was.alive[slot], is.alive[slot]];
      if (now) fate[slot] = then && was.entity[slot] === is.entity[slot] ? LIVING : BORN;
      else fate[slot] = then ? DIED : ABSENT;
    }
    this.findAttacks(before);
    return true;
  }

  /** The attacks that count, from the previous positions; unknown without the immediately previous frame. */
  private findAttacks(frame: Frame): void {
    const { before, after, attacked, attackers, header, combat } = this;
    attacked.fill(-1);
    this.attacks = 0;
    if (after.tick !== before.tick + 1) return;
    for (let slot = 0; slot < header.entities; slot++) {
      const target = after.target[slot] ?? -1;
      if (target < 0 || !canAttack(header, frame, slot, target, after.style[slot] ?? 0, combat)) continue;
      attacked[slot] = target;
      attackers[this.attacks++] = slot;
    }
  }
}
