import {
  BufferAttribute,
  BufferGeometry,
  DoubleSide,
  DynamicDrawUsage,
  Group,
  Mesh,
  type ShaderMaterial,
  Vector4,
} from "three";
import type { Ground } from "./ground";
import { MIXED, shaded } from "./shading";

const RING = 40;

/** Marks of the selected entity: a ring around it, and the outline of its window, both on the ground. */
export class Marks {
  readonly group = new Group();
  private readonly ring: Ribbon;
  private readonly window: Ribbon;

  /** @param vision Tiles to each side that an agent sees. */
  constructor(
    private readonly ground: Ground,
    private readonly vision: number,
  ) {
    this.ring = new Ribbon(RING, new Vector4(1, 0.93, 0.35, 1));
    this.window = new Ribbon(8 * (2 * vision + 1), new Vector4(1, 1, 1, 0.7));
    this.group.add(this.window.mesh, this.ring.mesh);
    this.hide();
  }

  hide(): void {
    this.group.visible = false;
  }

  /** Marks the entity at (x, z); `tile` is the height of a pixel there in tiles, `window`: show its window. */
  show(x: number, z: number, tile: number, window: boolean): void {
    this.group.visible = true;
    const { ground, ring } = this;
    const radius = Math.max(0.46, 9 * tile);
    const thick = Math.max(0.1, 2.6 * tile);
    const level = ground.at(x, z);
    for (let k = 0; k <= RING; k++) {
      const [cos, sin] = [Math.cos((2 * Math.PI * k) / RING), Math.sin((2 * Math.PI * k) / RING)];
      // Follows gentle slopes, but not cliffs.
      const y =
        Math.min(Math.max(ground.at(x + cos * radius, z + sin * radius), level - 0.1), level + 0.1) + 0.04;
      ring.point(
        k,
        x + cos * radius,
        y,
        z + sin * radius,
        x + cos * (radius + thick),
        z + sin * (radius + thick),
      );
    }
    ring.written();
    this.window.mesh.visible = window;
    if (window) this.outline(x, z, Math.max(0.07, 1.1 * tile));
  }

  dispose(): void {
    this.ring.dispose();
    this.window.dispose();
  }

  private outline(x: number, z: number, thick: number): void {
    const half = this.vision + 0.5;
    const side = 2 * (2 * this.vision + 1);
    for (let k = 0; k <= 4 * side; k++) {
      const along = -half + (k % side) / 2;
      const edge = Math.floor(k / side) % 4;
      const [u, v] =
        edge === 0
          ? [along, -half]
          : edge === 1
            ? [half, along]
            : edge === 2
              ? [-along, half]
              : [-half, -along];
      // Clipped at the edge of the map.
      const px = Math.min(Math.max(x + u, 0.01), this.ground.width - 0.01);
      const pz = Math.min(Math.max(z + v, 0.01), this.ground.height - 0.01);
      const shrink = thick / half;
      this.window.point(k, px, this.ground.at(px, pz) + 0.06, pz, px - u * shrink, pz - v * shrink);
    }
    this.window.written();
  }
}

/** A closed band between an outer and an inner line. */
class Ribbon {
  readonly mesh: Mesh<BufferGeometry, ShaderMaterial>;
  private readonly places: BufferAttribute;

  constructor(steps: number, color: Vector4) {
    const geometry = new BufferGeometry();
    this.places = new BufferAttribute(new Float32Array(6 * (steps + 1)), 3);
    this.places.setUsage(DynamicDrawUsage);
    geometry.setAttribute("position", this.places);
    const corners = Array.from({ length: steps }, (_, k) => [
      2 * k,
      2 * k + 1,
      2 * k + 2,
      2 * k + 2,
      2 * k + 1,
      2 * k + 3,
    ]);
    geometry.setIndex(corners.flat());
    const material = shaded({
      vertexShader: `void main() { gl_Position = projectionMatrix * viewMatrix * vec4(position, 1.0); }`,
      fragmentShader: `uniform vec4 tint; out vec4 color; void main() { color = tint; }`,
      uniforms: { tint: { value: color } },
      // Drawn directly after the land and before objects on it, so not with the transparent objects.
      ...MIXED,
      depthTest: false,
      side: DoubleSide,
    });
    this.mesh = new Mesh(geometry, material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = -5;
    this.mesh.matrixAutoUpdate = false;
  }

  point(index: number, x: number, y: number, z: number, innerX: number, innerZ: number): void {
    const array = this.places.array as Float32Array;
    const at = 6 * index;
    array[at] = x;
    array[at + 1] = y;
    array[at + 2] = z;
    array[at + 3] = innerX;
    array[at + 4] = y;
    array[at + 5] = innerZ;
  }

  written(): void {
    this.places.needsUpdate = true;
  }

  dispose(): void {
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
  }
}
