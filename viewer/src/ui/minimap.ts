import { entityAt } from "../model/life";
import { shownMaterial } from "../model/perception";
import { numberOf, populationOf } from "../model/slots";
import type { Frame } from "../model/types";
import { populationColor, type Rgb } from "../scene/colors";
import type { Context, Part } from "./context";
import { el, fitCanvas } from "./dom";

/** Outline of an agent's dot, and color of NPCs: 0xAABBGGRR. */
const EDGE = 0xff242424;

/** The whole map from above: current materials, agents as dots, the camera's view. Drag to move the view. */
export class Minimap implements Part {
  readonly element: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly materials: Uint32Array;
  private readonly populations: Uint32Array;
  private image = new ImageData(1, 1);

  constructor(private readonly context: Context) {
    const { header } = context.recording;
    this.materials = packedColors(header.materials.map(({ color }) => color));
    this.populations = packedColors(
      Array.from({ length: header.populations }, (_, population) => populationColor(population)),
    );
    this.canvas = el("canvas", {
      role: "img",
      "aria-label": "Map of the whole world: click or drag to move the view",
      title: "Click or drag to move the view",
      style: `aspect-ratio: ${header.width} / ${header.height}`,
    });
    // Kept in main memory: thousands of dots would need thousands of GPU commands.
    this.canvas.getContext("2d", { willReadFrequently: true });
    this.element = el("section", { class: "panel map", "aria-label": "Map" }, this.canvas);
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.goTo(event);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) this.goTo(event);
    });
  }

  show(frame: Frame): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width < 8 || height < 8) return;
    const context = fitCanvas(this.canvas, width, height);
    this.paint(frame, this.canvas.width / width);
    context.putImageData(this.image, 0, 0);
    const { recording, stage, session } = this.context;
    const [across, down] = [width / recording.header.width, height / recording.header.height];
    const twice = (under: number, over: number): void => {
      for (const [thick, style] of [
        [under, "rgba(0, 0, 0, 0.6)"],
        [over, "#fff"],
      ] as const) {
        context.lineWidth = thick;
        context.strokeStyle = style;
        context.stroke();
      }
    };
    const { selected } = session.state;
    if (selected && entityAt(frame, selected.slot) === selected.entity) {
      const x = (numberOf(frame, "col", selected.slot) + 0.5) * across;
      const y = (numberOf(frame, "row", selected.slot) + 0.5) * down;
      context.beginPath();
      context.arc(x, y, 6, 0, 2 * Math.PI);
      twice(4, 2);
    }
    const corners = stage.footprint();
    if (corners.length < 2) return;
    context.beginPath();
    for (const [row, col] of corners) context.lineTo(col * across, row * down);
    context.closePath();
    twice(3, 1.5);
  }

  /** Tiles and dots, pixel by pixel. @param ratio Pixels per CSS pixel. */
  private paint(frame: Frame, ratio: number): void {
    const { header, base } = this.context.recording;
    const { width, height } = this.canvas;
    if (this.image.width !== width || this.image.height !== height) this.image = new ImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    const { usedUp } = frame;
    const cols = Uint32Array.from({ length: width }, (_, x) =>
      Math.floor(((x + 0.5) * header.width) / width),
    );
    for (let y = 0; y < height; y++) {
      const row = Math.floor(((y + 0.5) * header.height) / height) * header.width;
      for (let x = 0; x < width; x++) {
        const tile = row + cols[x]!;
        pixels[y * width + x] = this.materials[shownMaterial(header, base, usedUp, tile)]!;
      }
    }
    const [alive, rows, columns] = ["alive", "row", "col"].map((name) => frame.column(name));
    const [across, down] = [width / header.width, height / header.height];
    const dot = (slot: number, side: number, color: number): void => {
      const left = Math.round(((columns?.[slot] ?? 0) + 0.5) * across - side / 2);
      const top = Math.round(((rows?.[slot] ?? 0) + 0.5) * down - side / 2);
      const [right, bottom] = [Math.min(left + side, width), Math.min(top + side, height)];
      for (let y = Math.max(0, top); y < bottom; y++) {
        for (let x = Math.max(0, left); x < right; x++) pixels[y * width + x] = color;
      }
    };
    // In a crowd, dots are kept apart as far as there is room.
    const room = Math.sqrt((width * height) / header.agents) / 4;
    const size = Math.round(Math.max(1.5 * ratio, Math.min(room, 4.5 * ratio)));
    const edge = Math.ceil(0.75 * ratio);
    for (let slot = header.entities - 1; slot >= 0; slot--) {
      if (!alive?.[slot]) continue;
      if (slot < header.agents) dot(slot, size + 2 * edge, EDGE);
      else dot(slot, Math.max(1, size - edge), EDGE);
    }
    for (let slot = 0; slot < header.agents; slot++) {
      if (alive?.[slot]) dot(slot, size, this.populations[populationOf(header, slot)]!);
    }
  }

  private goTo(event: PointerEvent): void {
    const box = this.canvas.getBoundingClientRect();
    const { header } = this.context.recording;
    const row = ((event.clientY - box.top) / box.height) * header.height;
    const col = ((event.clientX - box.left) / box.width) * header.width;
    this.context.session.change({ following: false });
    const within = (value: number, size: number): number => Math.min(Math.max(value, 0), size - 1);
    this.context.stage.lookAt(within(row, header.height), within(col, header.width));
  }
}

/** Colors as 0xAABBGGRR, for the pixels of a canvas. */
function packedColors(colors: readonly Rgb[]): Uint32Array {
  return Uint32Array.from(
    colors,
    ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0,
  );
}
