import { CanvasTexture, LinearFilter } from "three";
import { square } from "./crowd";
import { Instances } from "./instances";
import { shaded, type Shared } from "./shading";

const CELL_WIDTH = 40;
const CELL_HEIGHT = 48;
const COLUMNS = 16;
const FONT = 32;

/** Short texts over the scene, of a constant size on screen: one instanced square per letter. */
export class Texts {
  readonly instances: Instances;
  private readonly texture: CanvasTexture;
  private readonly cells = new Map<string, number>();
  /** Widths of letters, relative to the font size. */
  private readonly widths: number[] = [];

  /** @param letters All supported letters; others are replaced by a question mark. */
  constructor(letters: string, shared: Shared) {
    const all = [...new Set(`${letters}?0123456789`)];
    const canvas = document.createElement("canvas");
    canvas.width = COLUMNS * CELL_WIDTH;
    canvas.height = Math.ceil(all.length / COLUMNS) * CELL_HEIGHT;
    const context = canvas.getContext("2d");
    if (!context) throw new Error("This browser cannot draw text.");
    context.font = `600 ${FONT}px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 6;
    context.fillStyle = "white";
    context.strokeStyle = "black";
    all.forEach((letter, cell) => {
      this.cells.set(letter, cell);
      const width = context.measureText(letter).width;
      this.widths.push(width / FONT);
      const x = (cell % COLUMNS) * CELL_WIDTH + (CELL_WIDTH - width) / 2;
      const y = (Math.floor(cell / COLUMNS) + 0.5) * CELL_HEIGHT;
      context.strokeText(letter, x, y);
      context.fillText(letter, x, y);
    });
    this.texture = new CanvasTexture(canvas);
    this.texture.minFilter = this.texture.magFilter = LinearFilter;
    this.texture.generateMipmaps = false;
    const material = shaded({
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: {
        ...shared.uniforms,
        letters: { value: this.texture },
        cell: { value: [1 / COLUMNS, CELL_HEIGHT / canvas.height, CELL_WIDTH / FONT, CELL_HEIGHT / FONT] },
      },
      transparent: true,
      depthTest: false,
      depthWrite: false,
    });
    this.instances = new Instances(square(), material, { place: 4, letter: 4, color: 4 }, 512);
    this.instances.mesh.renderOrder = 30;
  }

  /** Width of a text, relative to the font size. */
  width(text: string): number {
    let width = 0;
    for (const letter of text) width += this.widths[this.cell(letter)] ?? 0;
    return width;
  }

  begin(room: number): void {
    this.instances.begin(room);
  }

  /**
   * Writes a text, centered `up` CSS pixels above a position; `size` is the font size in CSS pixels. There
   * must be room for its letters.
   */
  write(
    text: string,
    x: number,
    y: number,
    z: number,
    up: number,
    size: number,
    red: number,
    green: number,
    blue: number,
    opacity: number,
  ): void {
    let left = (-this.width(text) * size) / 2;
    const { data } = this.instances;
    for (const letter of text) {
      const cell = this.cell(letter);
      const wide = (this.widths[cell] ?? 0) * size;
      let at = this.instances.next();
      data[at++] = x;
      data[at++] = y;
      data[at++] = z;
      data[at++] = left + wide / 2;
      data[at++] = up;
      data[at++] = size;
      data[at++] = cell;
      data[at++] = 0;
      data[at++] = red;
      data[at++] = green;
      data[at++] = blue;
      data[at] = opacity;
      left += wide;
    }
  }

  end(): void {
    this.instances.end();
  }

  dispose(): void {
    this.texture.dispose();
    this.instances.mesh.material.dispose();
    this.instances.dispose();
  }

  private cell(letter: string): number {
    return this.cells.get(letter) ?? this.cells.get("?") ?? 0;
  }
}

const VERTEX = `
  uniform vec3 screen;
  uniform vec4 cell;
  in vec4 place, letter, color;
  out vec2 at;
  out vec4 tint;
  void main() {
    vec4 where = projectionMatrix * viewMatrix * vec4(place.xyz, 1.0);
    vec2 off = vec2(place.w, letter.x) + position.xy * 0.5 * letter.y * cell.zw;
    where.xy += off * screen.z * 2.0 / screen.xy * where.w;
    float column = mod(letter.z, 16.0);
    float row = floor(letter.z / 16.0);
    at = vec2((column + position.x * 0.5 + 0.5) * cell.x, 1.0 - (row + 0.5 - position.y * 0.5) * cell.y);
    tint = color;
    gl_Position = where;
  }
`;

const FRAGMENT = `
  uniform sampler2D letters;
  in vec2 at;
  in vec4 tint;
  out vec4 color;
  void main() {
    vec4 ink = texture(letters, at);
    // Premultiplied or not, the letter itself is white.
    color = vec4(tint.rgb * ink.r, ink.a * tint.a);
  }
`;
