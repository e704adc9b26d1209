import type { RecordingLike } from "../model/contract";
import { entityAt, kindOf, numberAt, populationOf } from "../model/life";
import type { Frame } from "../model/types";
import { fitCanvas } from "./dom";
import { cssColour, materialAt } from "./tiles";

/** Somebody whom an agent sees. */
export interface Seen {
  readonly slot: number;
  readonly entity: number;
  /** Offset in tiles, south and east positive. */
  readonly row: number;
  readonly col: number;
  /** Chebyshev distance, tiles. */
  readonly distance: number;
}

/** Living others within so many tiles of a slot, nearest first, ties row by row. */
export function seenFrom(recording: RecordingLike, frame: Frame, slot: number, vision: number): Seen[] {
  const { header } = recording;
  const [rows, cols, alive] = [frame.column("row"), frame.column("col"), frame.column("alive")];
  const [row0, col0] = [rows?.[slot] ?? 0, cols?.[slot] ?? 0];
  const seen: Seen[] = [];
  for (let other = 0; other < header.entities; other++) {
    if (other === slot || !alive?.[other]) continue;
    const [row, col] = [(rows?.[other] ?? 0) - row0, (cols?.[other] ?? 0) - col0];
    const distance = Math.max(Math.abs(row), Math.abs(col));
    if (distance <= vision) seen.push({ slot: other, entity: entityAt(frame, other), row, col, distance });
  }
  return seen.sort((a, b) => a.distance - b.distance || a.row - b.row || a.col - b.col);
}

/** "2 north, 1 west" of an offset in tiles. */
export function direction(row: number, col: number): string {
  const parts = [
    row ? `${Math.abs(row)} ${row < 0 ? "north" : "south"}` : "",
    col ? `${Math.abs(col)} ${col < 0 ? "west" : "east"}` : "",
  ].filter(Boolean);
  return parts.join(", ") || "here";
}

/** "agent 12" or "goblin 70". */
export function nameOf(recording: RecordingLike, frame: Frame, slot: number): string {
  return `${kindOf(recording.header, slot)} ${entityAt(frame, slot)}`;
}

/** A square of the map around a slot, on a canvas. */
export class Around {
  private readonly side: number;
  private readonly context: CanvasRenderingContext2D;
  private readonly row: number;
  private readonly col: number;

  /**
   * @param radius tiles to each side.
   * @param size of the canvas, CSS pixels.
   */
  constructor(
    canvas: HTMLCanvasElement,
    private readonly recording: RecordingLike,
    private readonly frame: Frame,
    slot: number,
    private readonly radius: number,
    size: number,
  ) {
    this.side = size / (2 * radius + 1);
    this.context = fitCanvas(canvas, size, size);
    this.row = numberAt(frame, "row", slot);
    this.col = numberAt(frame, "col", slot);
  }

  terrain(dimmed = 0): void {
    const { header } = this.recording;
    for (let y = -this.radius; y <= this.radius; y++) {
      for (let x = -this.radius; x <= this.radius; x++) {
        const [row, col] = [this.row + y, this.col + x];
        const inside = row >= 0 && col >= 0 && row < header.height && col < header.width;
        this.context.fillStyle = inside
          ? cssColour(header, materialAt(this.recording, this.frame, row * header.width + col))
          : "#222";
        this.fillTile(y, x);
      }
    }
    this.context.fillStyle = `rgba(24, 26, 30, ${dimmed})`;
    this.context.fillRect(0, 0, this.context.canvas.width, this.context.canvas.height);
  }

  /** Everybody who stands there: agents round, NPCs square. */
  everybody(colour: (population: number) => string): void {
    const { header } = this.recording;
    const [rows, cols, alive] = ["row", "col", "alive"].map((name) => this.frame.column(name));
    for (let slot = 0; slot < header.entities; slot++) {
      const [y, x] = [(rows?.[slot] ?? 0) - this.row, (cols?.[slot] ?? 0) - this.col];
      if (!alive?.[slot] || Math.abs(y) > this.radius || Math.abs(x) > this.radius) continue;
      const agent = slot < header.agents;
      this.context.fillStyle = agent ? colour(populationOf(header, slot)) : "#e8e4d8";
      this.context.strokeStyle = "rgba(0, 0, 0, 0.7)";
      this.context.lineWidth = 1;
      this.context.beginPath();
      const [cx, cy] = this.middle(y, x);
      const r = this.side * 0.36;
      if (agent) this.context.arc(cx, cy, r, 0, 2 * Math.PI);
      else this.context.rect(cx - r, cy - r, 2 * r, 2 * r);
      this.context.fill();
      this.context.stroke();
    }
    this.outline(0, "#fff", 1.5);
  }

  /** The border of all tiles within so many tiles (Chebyshev) of the middle. */
  outline(reach: number, colour: string, width: number, dash: readonly number[] = []): void {
    const [x, y] = this.middle(-reach, -reach);
    const size = this.side * (2 * reach + 1) - 1;
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.setLineDash([...dash]);
    this.context.strokeRect(x - this.side / 2 + 0.5, y - this.side / 2 + 0.5, size, size);
    this.context.setLineDash([]);
  }

  /** Colours a tile, offset from the middle. */
  tint(y: number, x: number, colour: string): void {
    this.context.fillStyle = colour;
    this.fillTile(y, x);
  }

  /** A line from the middle to a tile. */
  line(y: number, x: number, colour: string): void {
    this.context.strokeStyle = colour;
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.moveTo(...this.middle(0, 0));
    this.context.lineTo(...this.middle(y, x));
    this.context.stroke();
  }

  private fillTile(y: number, x: number): void {
    const [left, top] = [(x + this.radius) * this.side, (y + this.radius) * this.side];
    this.context.fillRect(left, top, this.side + 0.5, this.side + 0.5);
  }

  private middle(y: number, x: number): [number, number] {
    return [(x + this.radius + 0.5) * this.side, (y + this.radius + 0.5) * this.side];
  }
}
