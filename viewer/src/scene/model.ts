import { BufferAttribute } from "three";

/** A small solid with flat faces, composed of cones, boxes and balls. +x is ahead, y up. */
export class Model {
  private readonly positions: number[] = [];
  private readonly normals: number[] = [];
  private readonly paints: number[] = [];
  private color: readonly [number, number, number, number] = [1, 1, 1, 1];

  /** Four shader values of the faces added from now on. */
  paint(a: number, b: number, c: number, d: number): this {
    this.color = [a, b, c, d];
    return this;
  }

  /** A cone or cylinder, upright on (x, y, z), with an optional lid. */
  cone(
    x: number,
    y: number,
    z: number,
    low: number,
    high: number,
    height: number,
    sides: number,
    lid: boolean,
  ): this {
    const ring = (k: number, radius: number, level: number): Point => {
      const angle = (2 * Math.PI * (k + 0.5)) / sides;
      return [x + radius * Math.cos(angle), level, z - radius * Math.sin(angle)];
    };
    for (let k = 0; k < sides; k++) {
      const [a, b] = [ring(k, low, y), ring(k + 1, low, y)];
      const [c, d] = [ring(k, high, y + height), ring(k + 1, high, y + height)];
      if (low > 0) this.triangle(a, b, high > 0 ? d : [x, y + height, z]);
      if (high > 0) this.triangle(a, d, c);
      if (lid && high > 0) this.triangle(c, d, [x, y + height, z]);
    }
    return this;
  }

  /** A scaled ball with a given number of sides and rings, by its center. */
  ball(x: number, y: number, z: number, rx: number, ry: number, rz: number, sides = 7, rings = 4): this {
    const point = (k: number, ring: number): Point => {
      const [around, down] = [(2 * Math.PI * k) / sides, (Math.PI * ring) / rings];
      const out = Math.sin(down);
      return [x + rx * out * Math.cos(around), y + ry * Math.cos(down), z - rz * out * Math.sin(around)];
    };
    for (let ring = 0; ring < rings; ring++) {
      for (let k = 0; k < sides; k++) {
        const [a, b, c, d] = [point(k, ring + 1), point(k + 1, ring + 1), point(k, ring), point(k + 1, ring)];
        if (ring < rings - 1) this.triangle(a, b, d);
        if (ring > 0) this.triangle(a, d, c);
      }
    }
    return this;
  }

  /** A box by its center, with its top narrowed to a share of its bottom. */
  box(x: number, y: number, z: number, dx: number, dy: number, dz: number, top = 1): this {
    const corner = (sx: number, sy: number, sz: number): Point => {
      const share = (sy > 0 ? top : 1) / 2;
      return [x + sx * dx * share, y + (sy * dy) / 2, z + sz * dz * share];
    };
    const side = (a: Point, b: Point, c: Point, d: Point): void => {
      this.triangle(a, b, c);
      this.triangle(a, c, d);
    };
    side(corner(-1, -1, 1), corner(1, -1, 1), corner(1, 1, 1), corner(-1, 1, 1));
    side(corner(1, -1, -1), corner(-1, -1, -1), corner(-1, 1, -1), corner(1, 1, -1));
    side(corner(1, -1, 1), corner(1, -1, -1), corner(1, 1, -1), corner(1, 1, 1));
    side(corner(-1, -1, -1), corner(-1, -1, 1), corner(-1, 1, 1), corner(-1, 1, -1));
    side(corner(-1, 1, 1), corner(1, 1, 1), corner(1, 1, -1), corner(-1, 1, -1));
    side(corner(-1, -1, -1), corner(1, -1, -1), corner(1, -1, 1), corner(-1, -1, 1));
    return this;
  }

  triangle(a: Point, b: Point, c: Point): this {
    const [ux, uy, uz] = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
    const [vx, vy, vz] = [c[0] - a[0], c[1] - a[1], c[2] - a[2]];
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    const length = Math.hypot(nx, ny, nz) || 1;
    this.positions.push(...a, ...b, ...c);
    for (let k = 0; k < 3; k++) {
      this.normals.push(nx / length, ny / length, nz / length);
      this.paints.push(...this.color);
    }
    return this;
  }

  attributes(): Readonly<Record<"position" | "normal" | "paint", BufferAttribute>> {
    return {
      position: new BufferAttribute(new Float32Array(this.positions), 3),
      normal: new BufferAttribute(new Float32Array(this.normals), 3),
      paint: new BufferAttribute(new Float32Array(this.paints), 4),
    };
  }
}

export type Point = readonly [number, number, number];
