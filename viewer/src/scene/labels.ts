import { Matrix4, type PerspectiveCamera } from "three";
import { nameOf } from "../model/slots";
import type { Header } from "../model/types";
import { ABSENT, DIED, type Events } from "./events";
import type { Crowd } from "./crowd";
import type { Moment } from "./moment";
import type { Texts } from "./text";

/** Maximum number of names, and their maximum distance from the camera (tiles). */
const MAX_LABELS = 40;
const REACH = 34;
/** The same for damage numbers. */
const WOUND_REACH = 75;
/** Height of names, CSS pixels. */
const SIZE = 13;

/** Names over entities near the camera and the selected entity, and damage numbers. */
export class Labels {
  private readonly names = new Map<number, { entity: number; level: number; text: string }>();
  /** Slots of the nearest entities, and their distances; `near` of them. */
  private readonly slots = new Int32Array(MAX_LABELS);
  private readonly distances = new Float32Array(MAX_LABELS);
  private near = 0;
  private readonly matrix = new Matrix4();
  /** Names drawn so far, CSS pixels: center x, center y, half width. */
  private readonly drawn = new Float32Array(3 * (MAX_LABELS + 1));
  private drawnNames = 0;
  private width = 1;
  private height = 1;

  constructor(
    private readonly header: Header,
    private readonly events: Events,
    private readonly moment: Moment,
    private readonly crowd: Crowd,
    private readonly texts: Texts,
  ) {}

  /** Letters that may be needed. */
  static letters(header: Header): string {
    const names = [...header.npcs.map(({ first }) => first), 0].map((slot) => nameOf(header, slot, 0));
    return `${names.join("")} level-0123456789·`;
  }

  /** @param width, height of the canvas, CSS pixels. */
  update(
    camera: PerspectiveCamera,
    width: number,
    height: number,
    selected: number,
    { names, effects, bars }: Readonly<Record<"names" | "effects" | "bars", boolean>>,
  ): void {
    const { texts, distances } = this;
    const eye = camera.position;
    this.matrix.multiplyMatrices(camera.projectionMatrix, camera.matrixWorldInverse);
    [this.width, this.height] = [width, height];
    this.near = this.drawnNames = 0;
    const wounds = effects && this.moment.fraction > 0.6 && this.moment.fraction < 1;
    texts.begin((MAX_LABELS + 1) * 32 + (wounds ? this.header.entities * 3 : 0));
    if (names) {
      this.findNearest(eye);
      if (selected >= 0 && (this.moment.size[selected] ?? 0) > 0) this.name(selected, 1, bars);
      for (let n = 0; n < this.near; n++) {
        const fade = 1 - Math.min(Math.max(((distances[n] ?? 0) - REACH * 0.7) / (REACH * 0.3), 0), 1);
        if (this.slots[n] !== selected) this.name(this.slots[n] ?? 0, fade, bars);
      }
    }
    if (wounds) this.wounds(eye);
    texts.end();
  }

  private findNearest(camera: { x: number; y: number; z: number }): void {
    const { slots, distances, moment } = this;
    const { fate } = this.events;
    const m = this.matrix.elements;
    for (let slot = 0; slot < this.header.entities; slot++) {
      if (fate[slot] === ABSENT || fate[slot] === DIED) continue;
      const [x, z] = [moment.x[slot] ?? 0, moment.z[slot] ?? 0];
      const away = Math.sqrt((x - camera.x) ** 2 + (z - camera.z) ** 2 + camera.y * camera.y);
      if (away > REACH || (this.near === MAX_LABELS && away >= (distances[MAX_LABELS - 1] ?? 0))) continue;
      // Skips entities behind the camera, or far outside the canvas.
      const y = moment.y[slot] ?? 0;
      const w = m[3] * x + m[7] * y + m[11] * z + m[15];
      if (Math.abs(m[0] * x + m[4] * y + m[8] * z + m[12]) > 1.1 * w) continue;
      // Inserts it into the sorted list of the nearest.
      let place = this.near < MAX_LABELS ? this.near++ : MAX_LABELS - 1;
      for (; place > 0 && (distances[place - 1] ?? 0) > away; place--) {
        distances[place] = distances[place - 1] ?? 0;
        slots[place] = slots[place - 1] ?? 0;
      }
      distances[place] = away;
      slots[place] = slot;
    }
  }

  /** Writes a name, unless it would overlap an existing one. */
  private name(slot: number, opacity: number, bars: boolean): void {
    const { moment, drawn, texts } = this;
    const [x, z] = [moment.x[slot] ?? 0, moment.z[slot] ?? 0];
    const y = (moment.y[slot] ?? 0) + (this.crowd.heights[slot] ?? 1);
    const up = bars ? 27 : 15;
    const text = this.text(slot);
    const m = this.matrix.elements;
    const w = m[3] * x + m[7] * y + m[11] * z + m[15];
    const middle = ((m[0] * x + m[4] * y + m[8] * z + m[12]) / w) * 0.5 * this.width;
    const level = ((m[1] * x + m[5] * y + m[9] * z + m[13]) / w) * 0.5 * this.height + up;
    const half = 0.5 * SIZE * texts.width(text);
    for (let n = 0; n < this.drawnNames; n++) {
      const beside = Math.abs((drawn[3 * n] ?? 0) - middle) > (drawn[3 * n + 2] ?? 0) + half + 3;
      if (!beside && Math.abs((drawn[3 * n + 1] ?? 0) - level) < SIZE + 1) return;
    }
    const at = 3 * this.drawnNames++;
    drawn[at] = middle;
    drawn[at + 1] = level;
    drawn[at + 2] = half;
    texts.write(text, x, y, z, up, SIZE, 1, 1, 1, opacity);
  }

  /** "Agent 123" or "Bear 45"; in the full game with its level. */
  private text(slot: number): string {
    const { after } = this.events;
    const entity = (after.entity[slot] ?? 0) >>> 0;
    const level = this.level(slot);
    const known = this.names.get(slot);
    if (known?.entity === entity && known.level === level) return known.text;
    const name = nameOf(this.header, slot, entity);
    const text = level ? `${name} · level ${level}` : name;
    this.names.set(slot, { entity, level, text });
    return text;
  }

  /** Combat level, as in nmmo_gpu/content/tables.py; 0 without skills. */
  private level(slot: number): number {
    const { skills, styles } = this.header;
    const { level } = this.events.after;
    if (!skills.length || !level.length) return 0;
    const of = (name: string): number => level[slot * skills.length + skills.indexOf(name)] ?? 0;
    const best = Math.max(...styles.map(of));
    return Math.floor((5 * (of("defense") + of("constitution")) + 13 * best) / 20);
  }

  private wounds(camera: { x: number; y: number; z: number }): void {
    const { moment, texts, header } = this;
    const { before, after } = this.events;
    if (before.tick === after.tick) return;
    const share = (moment.fraction - 0.6) / 0.4;
    for (let slot = 0; slot < header.entities; slot++) {
      const damage = after.damage[slot] ?? 0;
      if (damage <= 0 || (moment.size[slot] ?? 0) <= 0) continue;
      const [x, y, z] = [moment.x[slot] ?? 0, moment.y[slot] ?? 0, moment.z[slot] ?? 0];
      const away = Math.hypot(x - camera.x, y - camera.y, z - camera.z) / WOUND_REACH;
      if (away > 1) continue;
      const opacity = Math.min(1, 3 * (1 - share)) * Math.min(1, 5 * (1 - away));
      texts.write(String(Math.min(damage, 999)), x, y + 0.7, z, 6 + 26 * share, 17, 1, 0.3, 0.24, opacity);
    }
  }
}
