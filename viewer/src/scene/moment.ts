import type { Header } from "../model/types";
import { ABSENT, BORN, DIED, type Events } from "./events";
import type { Ground } from "./ground";

/** Positions of all entities at a moment between two frames, in scene coordinates. */
export class Moment {
  /** [entities]: center of the feet. */
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly z: Float32Array;
  /** [entities]: direction, radians from east to south. */
  readonly yaw: Float32Array;
  /** [entities]: 0 to 1; grows at birth, shrinks at death. */
  readonly size: Float32Array;
  /** [entities]: 0 to 1, progress of a step; 0 while standing. */
  readonly step: Float32Array;
  fraction = 0;
  /** [entities]: yaw and height of the ground at the two frames. */
  private readonly from: Float32Array;
  private readonly to: Float32Array;
  private readonly start: Float32Array;
  private readonly end: Float32Array;

  constructor(
    private readonly header: Header,
    private readonly ground: Ground,
    private readonly events: Events,
  ) {
    const n = header.entities;
    [this.x, this.y, this.z] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    [this.yaw, this.size, this.step] = [
      new Float32Array(n).fill(NaN),
      new Float32Array(n),
      new Float32Array(n),
    ];
    [this.from, this.to] = [new Float32Array(n), new Float32Array(n)];
    [this.start, this.end] = [new Float32Array(n), new Float32Array(n)];
  }

  /** Two new frames are shown: entities turn towards their move, or towards their target. */
  turn(): void {
    const { before, after, fate, attacked } = this.events;
    for (let slot = 0; slot < this.header.entities; slot++) {
      if (fate[slot] === ABSENT) continue;
      const start = this.yaw[slot];
      // Faces south-east initially.
      this.from[slot] = start === undefined || Number.isNaN(start) || fate[slot] === BORN ? 0.9 : start;
      const other = attacked[slot] ?? -1;
      let rows = fate[slot] === BORN ? 0 : (after.row[slot] ?? 0) - (before.row[slot] ?? 0);
      let cols = fate[slot] === BORN ? 0 : (after.col[slot] ?? 0) - (before.col[slot] ?? 0);
      if (other >= 0) {
        rows = (before.row[other] ?? 0) - (before.row[slot] ?? 0);
        cols = (before.col[other] ?? 0) - (before.col[slot] ?? 0);
      }
      this.to[slot] = rows || cols ? Math.atan2(rows, cols) : (this.from[slot] ?? 0);
      this.start[slot] = this.ground.at((before.col[slot] ?? 0) + 0.5, (before.row[slot] ?? 0) + 0.5);
      this.end[slot] = this.ground.at((after.col[slot] ?? 0) + 0.5, (after.row[slot] ?? 0) + 0.5);
    }
  }

  /** Places all entities; 0 is the first frame, 1 the second. */
  place(fraction: number): void {
    this.fraction = fraction;
    const { header } = this;
    const { before, after, fate, attacked } = this.events;
    const { x, y, z, yaw, size, step } = this;
    const way = fraction;
    const turned = Math.min(fraction * 4, 1);
    const lunge = Math.sin(Math.PI * Math.min(Math.max((fraction - 0.1) / 0.6, 0), 1));
    for (let slot = 0; slot < header.entities; slot++) {
      const state = fate[slot];
      size[slot] = 0;
      if (state === ABSENT) continue;
      const [endRow, endCol] = [after.row[slot] ?? 0, after.col[slot] ?? 0];
      let [row, col] = [before.row[slot] ?? 0, before.col[slot] ?? 0];
      const far = Math.max(Math.abs(endRow - row), Math.abs(endCol - col));
      const jump = state === BORN || far > 2 * (after.tick - before.tick);
      if (jump) [row, col] = [endRow, endCol];
      step[slot] = jump || !far ? 0 : way;
      let px = col + (endCol - col) * way + 0.5;
      let pz = row + (endRow - row) * way + 0.5;
      const endY = this.end[slot] ?? 0;
      const startY = jump ? endY : (this.start[slot] ?? 0);
      y[slot] = startY + (endY - startY) * way + (far && !jump ? 0.05 * Math.sin(Math.PI * way) : 0);
      const other = attacked[slot] ?? -1;
      if (other >= 0 && (slot >= header.agents || after.style[slot] === 0)) {
        // A thrust towards the target.
        const toX = (before.col[other] ?? 0) - (before.col[slot] ?? 0);
        const toZ = (before.row[other] ?? 0) - (before.row[slot] ?? 0);
        const share = (0.22 * lunge) / (Math.hypot(toX, toZ) || 1);
        px += toX * share;
        pz += toZ * share;
      }
      x[slot] = px;
      z[slot] = pz;
      let angle = (this.to[slot] ?? 0) - (this.from[slot] ?? 0);
      angle -= 2 * Math.PI * Math.round(angle / (2 * Math.PI));
      yaw[slot] = (this.from[slot] ?? 0) + angle * turned;
      if (state === BORN) size[slot] = smooth(Math.min(fraction * 1.4, 1));
      else if (state === DIED) size[slot] = 1 - smooth(Math.min(Math.max((fraction - 0.45) / 0.55, 0), 1));
      else size[slot] = 1;
    }
  }
}

/** Eases from 0 to 1. */
export function smooth(share: number): number {
  return share * share * (3 - 2 * share);
}
