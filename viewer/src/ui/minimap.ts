import { entityAt } from "../model/life";
import { shownMaterial } from "../model/perception";
import { numberOf, populationOf } from "../model/slots";
import type { Frame } from "../model/types";
import type { Context, Part } from "./context";
import { el, fitCanvas } from "./dom";
import { packedColours } from "./tiles";

/** Most tiles a side of the map's picture; of a larger world every other tile is shown, or fewer. */
const MOST = 512;

/** The whole map from above: materials now, agents as dots, what the camera sees. Drag to go there. */
export class Minimap implements Part {
  readonly element: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly terrain = document.createElement("canvas");
  private readonly stride: number;
  private readonly colours: Uint32Array;
  private readonly image: ImageData;
  private usedUp: Uint8Array = new Uint8Array(0);

  constructor(private readonly context: Context) {
    const { header } = context.recording;
    this.stride = Math.ceil(Math.max(header.height, header.width) / MOST);
    this.terrain.width = Math.ceil(header.width / this.stride);
    this.terrain.height = Math.ceil(header.height / this.stride);
    this.image = new ImageData(this.terrain.width, this.terrain.height);
    this.colours = packedColours(header);
    this.canvas = el("canvas", {
      tabindex: 0,
      role: "img",
      "aria-label": "Map of the whole world: click or drag to look somewhere else",
      title: "Click or drag to look there",
      style: `aspect-ratio: ${header.width} / ${header.height}`,
    });
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
    const box = this.canvas.getBoundingClientRect();
    if (box.width < 8 || box.height < 8) return;
    this.paintTerrain(frame);
    const { recording, stage, session, colour } = this.context;
    const { header } = recording;
    const context = fitCanvas(this.canvas, box.width, box.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.terrain, 0, 0, box.width, box.height);
    const [across, down] = [box.width / header.width, box.height / header.height];
    const [alive, rows, cols] = [frame.column("alive"), frame.column("row"), frame.column("col")];
    // Of a crowd, as many as there is room for are still told apart.
    const room = Math.sqrt((box.width * box.height) / header.agents);
    const size = Math.max(1.5, Math.min(room / 4, 4.5));
    const dot = (slot: number, grown: number): void => {
      const side = size + grown;
      const x = ((cols?.[slot] ?? 0) + 0.5) * across - side / 2;
      context.fillRect(x, ((rows?.[slot] ?? 0) + 0.5) * down - side / 2, side, side);
    };
    context.fillStyle = "rgba(20, 20, 20, 0.8)";
    for (let slot = 0; slot < header.agents; slot++) if (alive?.[slot]) dot(slot, 1.5);
    for (let slot = header.agents; slot < header.entities; slot++) if (alive?.[slot]) dot(slot, -1);
    const each = header.agents / header.populations;
    for (let population = 0; population < header.populations; population++) {
      context.fillStyle = colour(population);
      for (let slot = Math.round(population * each); slot < Math.round((population + 1) * each); slot++) {
        if (alive?.[slot] && populationOf(header, slot) === population) dot(slot, 0);
      }
    }
    const { selected } = session.state;
    if (selected && entityAt(frame, selected.slot) === selected.entity) {
      const x = (numberOf(frame, "col", selected.slot) + 0.5) * across;
      const y = (numberOf(frame, "row", selected.slot) + 0.5) * down;
      for (const [width, style] of [
        [4, "rgba(0, 0, 0, 0.6)"],
        [2, "#fff"],
      ] as const) {
        // prettier-ignore
        context.lineWidth = width;
        context.strokeStyle = style;
        context.beginPath();
        context.arc(x, y, size / 2 + 4, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    const corners = stage.footprint();
    if (corners.length < 2) return;
    context.beginPath();
    for (const [row, col] of corners) context.lineTo(col * across, row * down);
    context.closePath();
    context.lineWidth = 3;
    context.strokeStyle = "rgba(0, 0, 0, 0.45)";
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = "#fff";
    context.stroke();
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

  /** Only when tiles have changed: a frame's bits are compared, which is little next to painting. */
  private paintTerrain(frame: Frame): void {
    const now = frame.usedUp;
    if (this.usedUp.length === now.length && this.usedUp.every((byte, k) => byte === now[k])) return;
    this.usedUp = now.slice();
    const { header, base } = this.context.recording;
    const pixels = new Uint32Array(this.image.data.buffer);
    for (let y = 0; y < this.image.height; y++) {
      for (let x = 0; x < this.image.width; x++) {
        const tile = y * this.stride * header.width + x * this.stride;
        pixels[y * this.image.width + x] = this.colours[shownMaterial(header, base, now, tile)] ?? 0;
      }
    }
    this.terrain.getContext("2d")?.putImageData(this.image, 0, 0);
  }
}
