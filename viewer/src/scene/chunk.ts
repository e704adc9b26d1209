import { BufferAttribute, BufferGeometry, Sphere, Vector3 } from "three";
import { HIGH, LOW, LOW_HEIGHT, MIDDLE, noise, type Ground } from "./ground";

/** Direction of the light: from above, west and a little south. */
export const LIGHT = new Vector3(-0.5, 0.75, 0.42).normalize();

/** Depth of the map's edge below the water, tiles. */
const EDGE = 1.1;
/** Keeps the color lookup of a face inside its own tile. */
const INSET = 30;

/** Brightness of a face with this normal; 1 for level ground. */
export function shade(x: number, y: number, z: number): number {
  const length = Math.hypot(x, y, z) || 1;
  const cosine = (x * LIGHT.x + y * LIGHT.y + z * LIGHT.z) / length;
  return 0.5 + (0.5 * (0.25 + Math.max(cosine, 0))) / (0.25 + LIGHT.y);
}

/** Collects the vertices of faces: position, and the attributes of the terrain shader (see terrain.ts). */
class Faces {
  private positions = new Float32Array(3 << 12);
  private extras = new Uint8Array(4 << 12);
  private indices = new Uint32Array(6 << 10);
  vertices = 0;
  private corners = 0;

  /** A vertex: position, brightness, offset of its color lookup (-1 to 1), and whether it waves. */
  vertex(
    x: number,
    y: number,
    z: number,
    brightness: number,
    insetX: number,
    insetZ: number,
    liquid = 0,
  ): void {
    if (3 * this.vertices + 3 > this.positions.length) {
      this.positions = grown(this.positions);
      this.extras = grown(this.extras);
    }
    this.positions.set([x, y, z], 3 * this.vertices);
    const level = Math.min(255, Math.max(0, brightness * 160));
    this.extras.set([level, 127 + insetX * INSET, 127 + insetZ * INSET, 255 * liquid], 4 * this.vertices);
    this.vertices++;
  }

  /** Two triangles over the last four corners (north-west, north-east, south-west, south-east). */
  quad(): void {
    const first = this.vertices - 4;
    this.triangles([first, first + 2, first + 1, first + 1, first + 2, first + 3]);
  }

  triangles(corners: readonly number[]): void {
    if (this.corners + corners.length > this.indices.length) this.indices = grown(this.indices);
    this.indices.set(corners, this.corners);
    this.corners += corners.length;
  }

  clear(): void {
    this.vertices = this.corners = 0;
  }

  geometry(sphere: Sphere): BufferGeometry {
    const geometry = new BufferGeometry();
    const indices = this.indices.slice(0, this.corners);
    geometry.setAttribute("position", new BufferAttribute(this.positions.slice(0, 3 * this.vertices), 3));
    geometry.setAttribute("extra", new BufferAttribute(this.extras.slice(0, 4 * this.vertices), 4, true));
    geometry.setIndex(new BufferAttribute(this.vertices < 65536 ? Uint16Array.from(indices) : indices, 1));
    geometry.boundingSphere = sphere;
    return geometry;
  }
}

const faces = new Faces();

/** A part of the map: rows from `top` to before `bottom`, columns from `left` to before `right`. */
export interface Part {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** The full-detail mesh: each tile's face, and cliffs down to lower neighbors. */
export function fine(ground: Ground, part: Part): BufferGeometry {
  faces.clear();
  for (let row = part.top; row < part.bottom; row++) {
    for (let col = part.left; col < part.right; col++) {
      const of = ground.classAt(row, col);
      face(ground, row, col, of);
      cliff(ground, row, col, of, -1, 0);
      cliff(ground, row, col, of, 1, 0);
      cliff(ground, row, col, of, 0, -1);
      cliff(ground, row, col, of, 0, 1);
    }
  }
  return faces.geometry(sphere(part));
}

/** The low-detail mesh: `cells` x `cells` faces at the mean height. */
export function coarse(ground: Ground, part: Part, cells: number): BufferGeometry {
  faces.clear();
  const [rows, cols] = [part.bottom - part.top, part.right - part.left];
  const lines = cells + 2; // one more on every side, hanging down, to close gaps to the neighbors
  for (let i = -1; i <= cells + 1; i++) {
    for (let j = -1; j <= cells + 1; j++) {
      const z = part.top + (rows * clamp(i, cells)) / cells;
      const x = part.left + (cols * clamp(j, cells)) / cells;
      const hanging = i < 0 || j < 0 || i > cells || j > cells;
      const [dx, dz] = [cols / cells, rows / cells];
      const west = mean(ground, x - dx / 2, z);
      const east = mean(ground, x + dx / 2, z);
      const north = mean(ground, x, z - dz / 2);
      const south = mean(ground, x, z + dz / 2);
      const y = hanging ? LOW_HEIGHT - EDGE : (west + east + north + south) / 4;
      const brightness = hanging ? 0.55 : shade((west - east) / dx, 1, (north - south) / dz);
      faces.vertex(x, y, z, brightness, Math.sign(cells / 2 - j), Math.sign(cells / 2 - i));
    }
  }
  for (let i = 0; i < lines; i++) {
    for (let j = 0; j < lines; j++) {
      const first = i * (lines + 1) + j;
      const [east, south] = [first + 1, first + lines + 1];
      faces.triangles([first, south, east, east, south, south + 1]);
    }
  }
  return faces.geometry(sphere(part));
}

function clamp(line: number, cells: number): number {
  return Math.min(Math.max(line, 0), cells);
}

function mean(ground: Ground, x: number, z: number): number {
  return (
    (ground.at(x - 0.5, z - 0.5) +
      ground.at(x + 0.5, z - 0.5) +
      ground.at(x - 0.5, z + 0.5) +
      ground.at(x + 0.5, z + 0.5)) /
    4
  );
}

function sphere(part: Part): Sphere {
  const center = new Vector3((part.left + part.right) / 2, 0.5, (part.top + part.bottom) / 2);
  return new Sphere(center, Math.hypot(part.right - part.left, part.bottom - part.top) / 2 + 3);
}

function face(ground: Ground, row: number, col: number, of: number): void {
  const northWest = ground.corner(row, col, of);
  const northEast = ground.corner(row, col + 1, of);
  const southWest = ground.corner(row + 1, col, of);
  const southEast = ground.corner(row + 1, col + 1, of);
  const slope = shade(
    (northWest + southWest - northEast - southEast) / 2,
    1,
    (northWest + northEast - southWest - southEast) / 2,
  );
  // Slightly varied brightness makes the tiles distinguishable.
  const level = of === LOW ? 1 : slope * (0.965 + 0.07 * noise(row + 7919, col));
  const liquid = Number(of === LOW);
  faces.vertex(col, northWest, row, level * corner(ground, row, col, of), 1, 1, liquid);
  faces.vertex(col + 1, northEast, row, level * corner(ground, row, col + 1, of), -1, 1, liquid);
  faces.vertex(col, southWest, row + 1, level * corner(ground, row + 1, col, of), 1, -1, liquid);
  faces.vertex(col + 1, southEast, row + 1, level * corner(ground, row + 1, col + 1, of), -1, -1, liquid);
  faces.quad();
}

/** Brightness of a corner from its surroundings: darker below cliffs, lighter water along the shore. */
function corner(ground: Ground, row: number, col: number, of: number): number {
  let higher = 0;
  let lower = 0;
  for (let k = 0; k < 4; k++) {
    const other = ground.classAt(row - (k >> 1), col - (k & 1));
    if (other > of) higher++;
    else if (other < of) lower++;
  }
  if (of === LOW) return higher ? 1.1 : 0.94;
  return (higher ? 0.84 : 1) * (of === HIGH && lower ? 1.06 : 1);
}

function cliff(ground: Ground, row: number, col: number, of: number, down: number, east: number): void {
  const [otherRow, otherCol] = [row + down, col + east];
  const outside = otherRow < 0 || otherCol < 0 || otherRow >= ground.height || otherCol >= ground.width;
  const other = ground.classAt(otherRow, otherCol);
  if (!outside && other >= of) return;
  // The edge from left to right, as seen from the lower side.
  const [firstRow, firstCol] = down
    ? [down > 0 ? row + 1 : row, down > 0 ? col : col + 1]
    : [east > 0 ? row + 1 : row, east > 0 ? col + 1 : col];
  const [lastRow, lastCol] = [firstRow - east, firstCol + down];
  // Extends slightly below the water, which waves.
  const bottomFirst = outside ? LOW_HEIGHT - EDGE : ground.corner(firstRow, firstCol, other) - 0.06;
  const bottomLast = outside ? LOW_HEIGHT - EDGE : ground.corner(lastRow, lastCol, other) - 0.06;
  const light = shade(east, 0, down) * (of === MIDDLE ? 0.86 : 0.98);
  const dark = light * 0.72;
  const liquid = Number(of === LOW);
  faces.vertex(firstCol, ground.corner(firstRow, firstCol, of), firstRow, light, -east, -down, liquid);
  faces.vertex(lastCol, ground.corner(lastRow, lastCol, of), lastRow, light, -east, -down, liquid);
  faces.vertex(firstCol, bottomFirst, firstRow, dark, -east, -down);
  faces.vertex(lastCol, bottomLast, lastRow, dark, -east, -down);
  faces.quad();
}

function grown<T extends Float32Array | Uint8Array | Uint32Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}
