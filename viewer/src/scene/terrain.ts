import {
  type BufferGeometry, type Camera, DataTexture, Group, Mesh, type ShaderMaterial, Vector2, Vector4,
} from "three"; // prettier-ignore
import type { Header, Heat, Overlay } from "../model/types";
import { coarse, fine, type Part } from "./chunk";
import type { Ground } from "./ground";
import { LEFT, USED, paint } from "./heat";
import { FOG, SKY, type Shared, shaded } from "./shading";
import { overlayTexture, Tiles } from "./tiles";
import { Woods } from "./woods";

/** Faces a side of a chunk seen from afar. */
const CELLS = 8;
/** Chunks given their fine shape per frame, so that a large map does not stop the picture. */
const AT_ONCE = 24;

interface Chunk {
  readonly part: Part;
  readonly mesh: Mesh<BufferGeometry, ShaderMaterial>;
  readonly far: BufferGeometry | null;
  near: BufferGeometry | null;
}

/** The land: tiles with their colours, trees, and what is laid over it. */
export class Terrain {
  readonly group = new Group();
  readonly tiles: Tiles;
  private readonly material: ShaderMaterial;
  private readonly chunks: Chunk[] = [];
  private readonly woods: Woods;
  private readonly empty = overlayTexture(new Uint8Array(4), 1, 1);
  private laid: DataTexture | null = null;
  private laidKind: Overlay = "none";
  private resourcesStale = true;

  /**
   * @param reach Beyond this many tiles chunks are drawn coarsely, on maps where that matters.
   */
  constructor(
    private readonly header: Header,
    private readonly base: Uint8Array,
    private readonly ground: Ground,
    shared: Shared,
    maxSize: number,
    private readonly reach: number,
  ) {
    const { height, width } = header;
    this.tiles = new Tiles(header, base, maxSize);
    this.material = shaded({
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: {
        ...shared.uniforms,
        tiles: { value: this.tiles.texture },
        perTile: { value: new Vector2(1 / width, 1 / height) },
        laid: { value: this.empty },
        /** Cells per tile in x and y, how far it covers, and its opacity. */
        laidPlace: { value: new Vector4(1, 1, 0, 0) },
      },
    });
    const side = Math.max(height, width);
    const size = side <= 256 ? 32 : side <= 2048 ? 64 : 128;
    if (side <= 1.2 * reach) this.reach = Infinity;
    this.woods = new Woods(header, base, ground, this.tiles.texture, shared);
    for (let top = 0; top < height; top += size) {
      for (let left = 0; left < width; left += size) {
        const part = { top, left, bottom: Math.min(top + size, height), right: Math.min(left + size, width) };
        const far = this.reach < Infinity ? coarse(ground, part, CELLS) : null;
        const near = far ? null : fine(ground, part);
        const mesh = new Mesh((near ?? far) as BufferGeometry, this.material);
        mesh.matrixAutoUpdate = false;
        mesh.renderOrder = -10;
        this.chunks.push({ part, mesh, far, near });
        this.group.add(mesh);
        this.woods.add(part);
      }
    }
    this.group.add(this.woods.group);
  }

  /** Shows which tiles are used up. */
  show(usedUp: Uint8Array): void {
    if (!this.tiles.show(usedUp)) return;
    this.resourcesStale = true;
    if (this.laidKind === "resources") this.layResources();
  }

  /** Lays a map over the land; without one it is taken off, except for resources, which are known here. */
  lay(heat: Heat | null, kind: Overlay): void {
    this.laidKind = heat || kind === "resources" ? kind : "none";
    if (this.laidKind === "none") this.cover(null, 1);
    else if (heat && kind !== "resources") {
      const texture = this.room(heat.rows, heat.cols);
      paint(heat, kind, texture.image.data as Uint8Array);
      this.cover(texture, heat.stride);
    } else {
      this.resourcesStale = true;
      this.layResources();
    }
  }

  /** Chooses what is drawn finely, and what is drawn at all, from where the camera is. */
  update(camera: Camera, options: { trees: boolean; opacity: number }): void {
    const place = this.material.uniforms["laidPlace"]?.value as Vector4;
    place.w = this.laid ? options.opacity : 0;
    const { x, y, z } = camera.position;
    let budget = AT_ONCE;
    for (const [index, chunk] of this.chunks.entries()) {
      const { part, mesh, far } = chunk;
      const dx = x - Math.min(Math.max(x, part.left), part.right);
      const dz = z - Math.min(Math.max(z, part.top), part.bottom);
      const away = Math.hypot(dx, y, dz);
      if (far) {
        if (away < this.reach && !chunk.near && budget > 0) {
          chunk.near = fine(this.ground, part);
          budget--;
        } else if (chunk.near && away > 1.6 * this.reach) {
          chunk.near.dispose();
          chunk.near = null;
        }
        mesh.geometry = away < this.reach && chunk.near ? chunk.near : far;
      }
      this.woods.show(index, options.trees && away < Math.min(this.reach, 170));
    }
  }

  dispose(): void {
    for (const { near, far } of this.chunks) {
      near?.dispose();
      far?.dispose();
    }
    this.woods.dispose();
    this.material.dispose();
    this.tiles.texture.dispose();
    this.laid?.dispose();
    this.empty.dispose();
  }

  /** The overlay's texture, with room for so many cells. */
  private room(rows: number, cols: number): DataTexture {
    const { laid } = this;
    if (laid && laid.image.width === cols && laid.image.height === rows) {
      laid.needsUpdate = true;
      return laid;
    }
    laid?.dispose();
    return overlayTexture(new Uint8Array(4 * rows * cols), cols, rows);
  }

  private cover(texture: DataTexture | null, stride: number): void {
    if (this.laid !== texture) {
      if (!texture) this.laid?.dispose();
      this.laid = texture;
    }
    const { uniforms } = this.material;
    (uniforms["laid"] as { value: DataTexture }).value = texture ?? this.empty;
    const { width, height } = texture?.image ?? { width: 1, height: 1 };
    (uniforms["laidPlace"]?.value as Vector4).set(1 / (stride * width), 1 / (stride * height), 0, 0);
  }

  private layResources(): void {
    if (!this.resourcesStale) return;
    this.resourcesStale = false;
    const { height, width, used_up: usedUp } = this.header;
    const texture = this.room(height, width);
    const data = texture.image.data as Uint8Array;
    data.fill(0);
    for (let tile = 0; tile < this.base.length; tile++) {
      const material = this.base[tile] ?? 0;
      if (usedUp[material] === material) continue;
      const colour = this.tiles.isUsedUp(tile) ? USED : LEFT;
      for (let k = 0; k < 3; k++) data[4 * tile + k] = colour[k] ?? 0;
      data[4 * tile + 3] = 255;
    }
    this.cover(texture, 1);
  }
}

const VERTEX = `
  in vec4 extra;
  out vec2 tile;
  out float brightness;
  out float hidden;
  ${FOG}
  void main() {
    tile = position.xz + (extra.yz * 255.0 - 127.0) * 0.001;
    brightness = extra.x * (255.0 / 160.0);
    vec4 seen = viewMatrix * vec4(position, 1.0);
    hidden = foggy(-seen.z);
    gl_Position = projectionMatrix * seen;
  }
`;

const FRAGMENT = `
  uniform sampler2D tiles;
  uniform sampler2D laid;
  uniform vec2 perTile;
  uniform vec4 laidPlace;
  uniform float time;
  in vec2 tile;
  in float brightness;
  in float hidden;
  out vec4 colour;
  ${SKY}
  void main() {
    vec4 here = texture(tiles, tile * perTile);
    vec3 c = here.rgb * brightness;
    if (here.a < 0.2) {
      // Two slow swells, and a glint where they meet.
      float swell = sin(tile.x * 1.9 + tile.y * 0.7 + time * 0.9) + sin(tile.y * 2.3 - tile.x * 0.9 - time * 0.7);
      c *= 1.0 + 0.035 * swell;
      c += vec3(0.16) * smoothstep(1.75, 2.0, swell);
    } else if (here.a > 0.9) {
      float flow = sin(tile.x * 1.3 + sin(tile.y * 0.9 + time * 0.25)) + sin(tile.y * 1.7 + sin(tile.x * 1.1 - time * 0.2));
      c = here.rgb * (0.92 + 0.08 * flow) * min(brightness + 0.1, 1.0);
      c += vec3(0.16, 0.10, 0.0) * smoothstep(1.2, 1.9, flow);
    }
    if (laidPlace.w > 0.0) {
      vec4 over = texture(laid, tile * laidPlace.xy);
      c = mix(c, over.rgb * min(brightness, 1.0), over.a * laidPlace.w);
    }
    colour = vec4(mix(c, sky(), hidden), 1.0);
  }
`;
