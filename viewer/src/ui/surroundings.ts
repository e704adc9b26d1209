import { NOWHERE, type Perception } from "../model/perception";
import { populationOf } from "../model/slots";
import type { Header } from "../model/types";
import { css } from "../scene/colors";
import { fitCanvas } from "./dom";

/** "2 north, 1 west" of an offset in tiles. */
export function direction(row: number, col: number): string {
  const parts = [
    row ? `${Math.abs(row)} ${row < 0 ? "north" : "south"}` : "",
    col ? `${Math.abs(col)} ${col < 0 ? "west" : "east"}` : "",
  ].filter(Boolean);
  return parts.join(", ") || "here";
}

/** An agent's view on a canvas: the part of the window within `radius` tiles. */
export class Around {
  private readonly side: number;
  private readonly context: CanvasRenderingContext2D;
  private readonly radius: number;

  /** @param size of the canvas, CSS pixels. */
  constructor(
    canvas: HTMLCanvasElement,
    private readonly header: Header,
    private readonly seen: Perception,
    radius: number,
    size: number,
  ) {
    this.radius = Math.min(radius, header.vision);
    this.side = size / (2 * this.radius + 1);
    this.context = fitCanvas(canvas, size, size);
  }

  /** @param dimmed 0 to 1. */
  terrain(dimmed = 0): void {
    this.tiles((row, col, cell) => {
      const material = this.seen.material[cell] ?? NOWHERE;
      this.tint(row, col, material === NOWHERE ? "#222" : css(this.header.materials[material]!.color));
    });
    this.context.fillStyle = `rgba(24, 26, 30, ${dimmed})`;
    this.context.fillRect(0, 0, this.context.canvas.width, this.context.canvas.height);
  }

  /** All entities in view: agents round, NPCs square. */
  everybody(color: (population: number) => string): void {
    const { context, header } = this;
    this.tiles((row, col, cell) => {
      const slot = this.seen.occupant[cell] ?? -1;
      if (slot < 0) return;
      const agent = slot < header.agents;
      context.fillStyle = agent ? color(populationOf(header, slot)) : "#e8e4d8";
      context.strokeStyle = "rgba(0, 0, 0, 0.7)";
      context.lineWidth = 1;
      context.beginPath();
      const [x, y] = this.middle(row, col);
      const r = this.side * 0.36;
      if (agent) context.arc(x, y, r, 0, 2 * Math.PI);
      else context.rect(x - r, y - r, 2 * r, 2 * r);
      context.fill();
      context.stroke();
    });
    this.outline(0, "#fff", 1.5);
  }

  /** Colors tiles by a number from 0 to 1 for each cell of the window. */
  shares(values: Float32Array, color: string): void {
    this.tiles((row, col, cell) => {
      const share = values[cell] ?? 0;
      if (!share) return;
      this.context.globalAlpha = 0.15 + 0.85 * share;
      this.tint(row, col, color);
    });
    this.context.globalAlpha = 1;
  }

  /** The border of all tiles within a Chebyshev distance of the center. */
  outline(reach: number, color: string, width: number, dash: readonly number[] = []): void {
    const [x, y] = this.middle(-reach, -reach);
    const size = this.side * (2 * reach + 1) - 1;
    this.context.strokeStyle = color;
    this.context.lineWidth = width;
    this.context.setLineDash([...dash]);
    this.context.strokeRect(x - this.side / 2 + 0.5, y - this.side / 2 + 0.5, size, size);
    this.context.setLineDash([]);
  }

  /** A line from the center to a tile. */
  line(row: number, col: number, color: string): void {
    this.context.strokeStyle = color;
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.moveTo(...this.middle(0, 0));
    this.context.lineTo(...this.middle(row, col));
    this.context.stroke();
  }

  private tint(row: number, col: number, color: string): void {
    const { side, radius, context } = this;
    context.fillStyle = color;
    context.fillRect((col + radius) * side, (row + radius) * side, side + 0.5, side + 0.5);
  }

  private tiles(each: (row: number, col: number, cell: number) => void): void {
    const { vision } = this.header;
    for (let row = -this.radius; row <= this.radius; row++) {
      for (let col = -this.radius; col <= this.radius; col++) {
        each(row, col, (row + vision) * this.seen.side + col + vision);
      }
    }
  }

  private middle(row: number, col: number): [number, number] {
    return [(col + this.radius + 0.5) * this.side, (row + this.radius + 0.5) * this.side];
  }
}
