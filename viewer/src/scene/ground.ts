import type { Header } from "../model/types";

/** Height class of a material: water and lava low, walkable tiles in the middle, rock high. */
export const LOW = 0;
export const MIDDLE = 1;
export const HIGH = 2;

/** Height of water and lava, tiles. */
export const LOW_HEIGHT = -0.3;

/**
 * The shape of the land. One tile is one unit wide; x points east, y up, z south, so the tile in row r and
 * column c spans x from c to c + 1 and z from r to r + 1. Neighboring tiles of one class share the heights of
 * their common corners; between classes there are cliffs. Depleted tiles keep their height.
 */
export class Ground {
  readonly height: number;
  readonly width: number;
  /** [height * width]: LOW, MIDDLE or HIGH. */
  readonly classes: Uint8Array;
  /** [(height + 1) * (width + 1)]: gentle hills at the tiles' corners, in 200ths of a tile. */
  private readonly hills: Uint8Array;

  constructor(header: Header, base: Uint8Array) {
    this.height = header.height;
    this.width = header.width;
    const classOf = header.materials.map(({ name, walkable }) =>
      name === "water" || name === "lava" ? LOW : walkable ? MIDDLE : HIGH,
    );
    this.classes = base.map((material) => classOf[material] ?? MIDDLE);
    // Ground rises towards forest and rock and falls towards water.
    const rise = header.materials.map(({ name }, material) =>
      name === "forest" ? 150 : ([60, 110, 255][classOf[material] ?? MIDDLE] ?? 0),
    );
    let field = base.map((material) => rise[material] ?? 0);
    for (let pass = 0; pass < 2; pass++) field = blur(field, this.height, this.width, 2);
    this.hills = new Uint8Array((this.height + 1) * (this.width + 1));
    for (let row = 0; row <= this.height; row++) {
      const north = Math.max(row - 1, 0) * this.width;
      const south = Math.min(row, this.height - 1) * this.width;
      for (let col = 0; col <= this.width; col++) {
        const west = Math.max(col - 1, 0);
        const east = Math.min(col, this.width - 1);
        const sum =
          at(field, north + west) +
          at(field, north + east) +
          at(field, south + west) +
          at(field, south + east);
        this.hills[row * (this.width + 1) + col] = Math.max(0, sum / 4 - 85);
      }
    }
  }

  /** Class of a tile; LOW outside the map. */
  classAt(row: number, col: number): number {
    if (row < 0 || col < 0 || row >= this.height || col >= this.width) return LOW;
    return this.classes[row * this.width + col] ?? LOW;
  }

  /** Height of a corner (north-west of the tile in this row and column) for a tile of a class. */
  corner(row: number, col: number, of: number): number {
    if (of === LOW) return LOW_HEIGHT;
    const hill = at(this.hills, row * (this.width + 1) + col) / 200;
    return of === MIDDLE ? hill : hill + 0.55 + 0.75 * noise(row, col);
  }

  /** Height at a point of the map, exactly as in the mesh; LOW_HEIGHT outside the map. */
  at(x: number, z: number): number {
    const row = Math.floor(z);
    const col = Math.floor(x);
    const of = this.classAt(row, col);
    if (of === LOW) return LOW_HEIGHT;
    const [u, v] = [x - col, z - row];
    const northEast = this.corner(row, col + 1, of);
    const southWest = this.corner(row + 1, col, of);
    if (u + v < 1) {
      const northWest = this.corner(row, col, of);
      return northWest + (northEast - northWest) * u + (southWest - northWest) * v;
    }
    const southEast = this.corner(row + 1, col + 1, of);
    return southEast + (southWest - southEast) * (1 - u) + (northEast - southEast) * (1 - v);
  }

  /**
   * Intersection of a ray with the land: [x, z], or null if it misses the map. `x, y, z` is the origin and
   * `dx, dy, dz` the direction, with dy below 0.
   */
  hit(x: number, y: number, z: number, dx: number, dy: number, dz: number): readonly [number, number] | null {
    // The maximum height: start there.
    let t = Math.max(0, (3 - y) / dy);
    const end = (LOW_HEIGHT - y) / dy;
    while (t < end) {
      const col = Math.floor(x + dx * t + Math.sign(dx) * 1e-9);
      const row = Math.floor(z + dz * t + Math.sign(dz) * 1e-9);
      const leaveX = dx === 0 ? Infinity : (col + (dx > 0 ? 1 : 0) - x) / dx;
      const leaveZ = dz === 0 ? Infinity : (row + (dz > 0 ? 1 : 0) - z) / dz;
      const leave = Math.min(Math.max(Math.min(leaveX, leaveZ), t + 1e-6), end);
      if (row >= 0 && col >= 0 && row < this.height && col < this.width) {
        // Inside one tile: sample some points of the path.
        for (let step = 0; step <= 8; step++) {
          const s = t + ((leave - t) * step) / 8;
          const [px, pz] = [clampInto(x + dx * s, col), clampInto(z + dz * s, row)];
          if (y + dy * s <= this.at(px, pz) + 1e-6) return [px, pz];
        }
      }
      t = leave;
    }
    const [px, pz] = [x + dx * end, z + dz * end];
    return px >= 0 && pz >= 0 && px < this.width && pz < this.height ? [px, pz] : null;
  }
}

/** A pseudo-random number in 0 to 1 for a position. */
export function noise(row: number, col: number): number {
  let hash = Math.imul(row + 101, 0x85ebca6b) ^ Math.imul(col + 57, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
  return ((hash ^ (hash >>> 15)) >>> 8) / 0x1000000;
}

function at(array: Uint8Array, index: number): number {
  return array[index] ?? 0;
}

function clampInto(value: number, tile: number): number {
  return Math.min(Math.max(value, tile), tile + 1 - 1e-9);
}

/** Mean over the tiles within `radius`, rows first and then columns. */
function blur(
  field: Uint8Array<ArrayBuffer>,
  height: number,
  width: number,
  radius: number,
): Uint8Array<ArrayBuffer> {
  const rows = new Uint8Array(field.length);
  const out = new Uint8Array(field.length);
  line(field, rows, height, width, width, 1, radius);
  line(rows, out, width, height, 1, width, radius);
  return out;
}

function line(
  from: Uint8Array,
  to: Uint8Array,
  lines: number,
  length: number,
  lineStep: number,
  step: number,
  radius: number,
): void {
  const last = length - 1;
  for (let n = 0; n < lines; n++) {
    const start = n * lineStep;
    let sum = 0;
    for (let k = -radius; k <= radius; k++) sum += at(from, start + Math.min(Math.max(k, 0), last) * step);
    for (let k = 0; k < length; k++) {
      to[start + k * step] = sum / (2 * radius + 1);
      sum +=
        at(from, start + Math.min(k + radius + 1, last) * step) -
        at(from, start + Math.max(k - radius, 0) * step);
    }
  }
}
