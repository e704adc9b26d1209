import {
  Group,
  InstancedBufferAttribute,
  InstancedBufferGeometry,
  Mesh,
  type ShaderMaterial,
  Sphere,
  Vector3,
  type BufferAttribute,
  type Texture,
} from "three";
import type { Header } from "../model/types";
import type { Part } from "./chunk";
import { type Ground, noise } from "./ground";
import { FOG, SKY, type Shared, shaded } from "./shading";
import { Model } from "./model";

/** Trees of forest tiles and ore of orerocks; only a stump of depleted ones is left. */
export class Woods {
  readonly group = new Group();
  private readonly material: ShaderMaterial;
  private readonly models = { tree: tree(), ore: ore() };
  /** Per chunk its meshes, and the number of instances that are the first on their tile; those come first. */
  private readonly chunks: { mesh: Mesh<InstancedBufferGeometry>; firsts: number }[][] = [];

  constructor(
    private readonly header: Header,
    private readonly base: Uint8Array,
    private readonly ground: Ground,
    tiles: Texture,
    shared: Shared,
  ) {
    this.material = shaded({
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: { ...shared.uniforms, tiles: { value: tiles } },
    });
  }

  /** Creates the trees of a chunk. */
  add(part: Part): void {
    const forest = this.header.materials.findIndex(({ name }) => name === "forest");
    const rock = this.header.materials.findIndex(({ name }) => name === "orerock");
    const trees: number[] = [];
    const seconds: number[] = [];
    const ores: number[] = [];
    for (let row = part.top; row < part.bottom; row++) {
      for (let col = part.left; col < part.right; col++) {
        const material = this.base[row * this.header.width + col];
        if (material === forest) this.plant(trees, seconds, row, col);
        else if (material === rock) {
          const [x, z] = [
            col + 0.5 + 0.3 * (noise(row, col + 31) - 0.5),
            row + 0.5 + 0.3 * (noise(row + 31, col) - 0.5),
          ];
          ores.push(x, this.ground.at(x, z) - 0.05, z, 0.9 + 0.4 * noise(row, col + 77));
        }
      }
    }
    const firsts = trees.length / 4;
    for (const number of seconds) trees.push(number);
    const [wood, rocks] = [this.mesh(this.models.tree, trees, part), this.mesh(this.models.ore, ores, part)];
    this.chunks.push([]);
    if (wood) this.chunks.at(-1)?.push({ mesh: wood, firsts });
    if (rocks) this.chunks.at(-1)?.push({ mesh: rocks, firsts: ores.length / 4 });
  }

  /** @param thinned Only one tree per tile. */
  show(chunk: number, visible: boolean, thinned: boolean): void {
    for (const { mesh, firsts } of this.chunks[chunk] ?? []) {
      mesh.visible = visible;
      const places = mesh.geometry.getAttribute("place");
      mesh.geometry.instanceCount = thinned ? firsts : places.count;
    }
  }

  dispose(): void {
    for (const { mesh } of this.chunks.flat()) mesh.geometry.dispose();
    this.material.dispose();
  }

  /** One tree in a corner of the tile, often a second in the opposite corner: the center stays visible. */
  private plant(trees: number[], seconds: number[], row: number, col: number): void {
    const choice = noise(row + 13, col + 5);
    const [right, down] = [choice < 0.5 ? 1 : -1, noise(row + 3, col + 17) < 0.65 ? -1 : 1];
    const number = (choice * 7) % 1 < 0.45 ? 2 : 1;
    for (let n = 0; n < number; n++) {
      const side = n === 0 ? 0.27 : -0.3;
      const x = col + 0.5 + right * side + 0.12 * (noise(row + n, col + 41) - 0.5);
      const z = row + 0.5 + down * side + 0.12 * (noise(row + 41, col + n) - 0.5);
      (n === 0 ? trees : seconds).push(
        x,
        this.ground.at(x, z) - 0.03,
        z,
        (n === 0 ? 0.8 : 0.55) + 0.35 * noise(row + 9, col + n),
      );
    }
  }

  private mesh(
    model: BufferAttributes,
    places: readonly number[],
    part: Part,
  ): Mesh<InstancedBufferGeometry> | null {
    if (!places.length) return null;
    const geometry = new InstancedBufferGeometry();
    geometry.setAttribute("position", model.position);
    geometry.setAttribute("normal", model.normal);
    geometry.setAttribute("paint", model.paint);
    geometry.setAttribute("place", new InstancedBufferAttribute(new Float32Array(places), 4));
    geometry.instanceCount = places.length / 4;
    const center = new Vector3((part.left + part.right) / 2, 1, (part.top + part.bottom) / 2);
    geometry.boundingSphere = new Sphere(
      center,
      Math.hypot(part.right - part.left, part.bottom - part.top) / 2 + 3,
    );
    const mesh = new Mesh(geometry, this.material);
    mesh.matrixAutoUpdate = false;
    this.group.add(mesh);
    return mesh;
  }
}

type BufferAttributes = Readonly<Record<"position" | "normal" | "paint", BufferAttribute>>;

/** paint: red, green, blue, and whether it disappears when the tile is depleted. */
function tree(): BufferAttributes {
  const model = new Model();
  model.paint(0.36, 0.26, 0.17, 0);
  model.cone(0, 0, 0, 0.11, 0, 0.3, 3, false);
  model.paint(0.15, 0.4, 0.21, 1);
  model.cone(0, 0.14, 0, 0.36, 0, 0.55, 4, false);
  model.paint(0.19, 0.47, 0.25, 1);
  model.cone(0, 0.45, 0, 0.26, 0, 0.5, 4, false);
  return model.attributes();
}

function ore(): BufferAttributes {
  const model = new Model();
  for (const [x, z, size] of [
    [-0.14, 0.06, 1],
    [0.16, -0.1, 0.75],
    [0.1, 0.2, 0.55],
  ] as const) {
    model.paint(0.95, 0.72, 0.32, 1);
    model.cone(x, 0, z, 0.13 * size, 0.1 * size, 0.2 * size, 5, false);
    model.paint(1, 0.83, 0.48, 1);
    model.cone(x, 0.2 * size, z, 0.1 * size, 0, 0.17 * size, 5, false);
  }
  return model.attributes();
}

const VERTEX = `
  uniform sampler2D tiles;
  uniform vec3 light, daylight;
  in vec4 place;
  in vec4 paint;
  out vec4 tint;
  ${FOG}
  void main() {
    float turn = place.x * 5.1 + place.z * 3.7;
    mat2 around = mat2(cos(turn), sin(turn), -sin(turn), cos(turn));
    float gone = texelFetch(tiles, ivec2(place.xz), 0).a;
    vec3 p = position * place.w;
    if (abs(gone - 170.0 / 255.0) < 0.05) p *= paint.a > 0.5 ? vec3(0.0) : vec3(0.9, 0.35, 0.9);
    p.xz = around * p.xz;
    vec3 n = normal;
    n.xz = around * n.xz;
    float shade = 0.62 + 0.48 * max(dot(n, light), 0.0);
    float kind = fract(turn * 0.37);
    tint.rgb = paint.rgb * shade * (0.9 + 0.22 * kind);
    tint.r += 0.03 * kind;
    tint.rgb *= daylight;
    vec4 seen = viewMatrix * vec4(place.xyz + p, 1.0);
    tint.a = foggy(-seen.z);
    gl_Position = projectionMatrix * seen;
  }
`;

const FRAGMENT = `
  in vec4 tint;
  out vec4 color;
  ${SKY}
  void main() { color = vec4(mix(tint.rgb, sky(), tint.a), 1.0); }
`;
