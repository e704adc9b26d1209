import {
  type BufferGeometry,
  type Camera,
  type DataTexture,
  Group,
  Mesh,
  NearestMipmapNearestFilter,
  type ShaderMaterial,
  Vector2,
  Vector4,
} from "three";
import type { Header, Heat, Overlay } from "../model/types";
import { coarse, fine, type Part } from "./chunk";
import type { Ground } from "./ground";
import { paint } from "./heat";
import { FOG, SKY, type Shared, shaded } from "./shading";
import { landPaint, resourcePaint, Tiles, tileTexture } from "./tiles";
import { Woods } from "./woods";

/** Faces per side of a low-detail chunk. */
const CELLS = 8;
/** Chunks that get their full detail per frame, so that a large map does not block the page. */
const AT_ONCE = 24;

interface Chunk {
  readonly part: Part;
  readonly mesh: Mesh<BufferGeometry, ShaderMaterial>;
  readonly far: BufferGeometry | null;
  near: BufferGeometry | null;
}

/** The land: tiles with their colors, trees, and overlays. */
export class Terrain {
  readonly group = new Group();
  private readonly tiles: Tiles;
  private readonly material: ShaderMaterial;
  private readonly chunks: Chunk[] = [];
  private readonly woods: Woods;
  private readonly empty = tileTexture(new Uint8Array(4), 1, 1);
  /** The texture of the newest heat map, and that of the resources: created on first use and kept. */
  private heat: DataTexture | null = null;
  private resources: Tiles | null = null;
  private laid: DataTexture | null = null;
  private postponed = false;
  private usedUp: Uint8Array = new Uint8Array(0);

  /**
   * @param reach Distance in tiles beyond which chunks are drawn with low detail, on large maps.
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
    if (Math.max(height, width) > maxSize) {
      throw new Error(
        `The map has ${height} x ${width} tiles; this graphics card supports at most ${maxSize} per side.`,
      );
    }
    this.tiles = new Tiles(header, base, landPaint(header));
    // Averaging would look softer, but is slow in software rendering.
    this.tiles.texture.minFilter = NearestMipmapNearestFilter;
    this.material = shaded({
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: {
        ...shared.uniforms,
        tiles: { value: this.tiles.texture },
        perTile: { value: new Vector2(1 / width, 1 / height) },
        laid: { value: this.empty },
        /** 1 / tiles that it covers in x and y; its opacity last. */
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

  /** Shows which tiles are depleted. */
  show(usedUp: Uint8Array): void {
    this.usedUp = usedUp;
    this.tiles.show(usedUp);
    if (this.laid && this.laid === this.resources?.texture) this.resources.show(usedUp);
  }

  /** Shows a map over the land; without one it is removed, except for resources, which are computed here. */
  lay(heat: Heat | null, kind: Overlay): void {
    if (kind === "resources") {
      this.resources ??= new Tiles(this.header, this.base, resourcePaint(this.header));
      this.resources.show(this.usedUp);
      this.cover(this.resources.texture, 1);
    } else if (heat) {
      const texture = this.room(heat.rows, heat.cols);
      paint(heat, kind, texture.image.data as Uint8Array);
      this.cover(texture, heat.stride);
    } else this.cover(null, 1);
  }

  /** Uploads all textures again with the next frame, after the graphics card has lost them. */
  renew(): void {
    this.tiles.renew();
    this.resources?.renew();
  }

  /** The last `update` left chunks in view without their full detail, to the next. */
  get unfinished(): boolean {
    return this.postponed;
  }

  /** Selects the detail and visibility of chunks by the position of the camera. */
  update(camera: Camera, options: { trees: boolean; opacity: number; thinned: number }): void {
    const place = this.material.uniforms["laidPlace"]?.value as Vector4;
    place.w = options.opacity;
    // Without an overlay the land is cheaper to draw.
    const laid = this.laid !== null && options.opacity > 0;
    if (laid !== "LAID" in this.material.defines) {
      this.material.defines = laid ? { LAID: "" } : {};
      this.material.needsUpdate = true;
    }
    const { x, y, z } = camera.position;
    let budget = AT_ONCE;
    this.postponed = false;
    for (const [index, chunk] of this.chunks.entries()) {
      const { part, mesh, far } = chunk;
      const dx = x - Math.min(Math.max(x, part.left), part.right);
      const dz = z - Math.min(Math.max(z, part.top), part.bottom);
      const away = Math.hypot(dx, y, dz);
      if (far) {
        if (away < this.reach && !chunk.near) {
          if (budget-- > 0) chunk.near = fine(this.ground, part);
          else this.postponed = true;
        } else if (chunk.near && away > 1.6 * this.reach) {
          chunk.near.dispose();
          chunk.near = null;
        }
        mesh.geometry = away < this.reach && chunk.near ? chunk.near : far;
      }
      this.woods.show(
        index,
        options.trees && (!far || away < Math.min(this.reach, 170)),
        away > options.thinned,
      );
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
    this.resources?.texture.dispose();
    this.heat?.dispose();
    this.empty.dispose();
  }

  /** A texture with room for a number of cells. */
  private room(rows: number, cols: number): DataTexture {
    if (this.heat?.image.width === cols && this.heat.image.height === rows) {
      this.heat.needsUpdate = true;
      return this.heat;
    }
    this.heat?.dispose();
    this.heat = tileTexture(new Uint8Array(4 * rows * cols), cols, rows);
    return this.heat;
  }

  private cover(texture: DataTexture | null, stride: number): void {
    this.laid = texture;
    const { uniforms } = this.material;
    (uniforms["laid"] as { value: DataTexture }).value = texture ?? this.empty;
    const { width, height } = texture?.image ?? { width: 1, height: 1 };
    (uniforms["laidPlace"] as { value: Vector4 }).value.set(
      1 / (stride * width),
      1 / (stride * height),
      0,
      0,
    );
  }
}

const VERTEX = `
  uniform float time;
  in vec4 extra;
  out vec2 tile;
  out float brightness;
  out float hidden;
  out float swell;
  ${FOG}
  void main() {
    vec3 p = position;
    tile = p.xz + (extra.yz * 255.0 - 127.0) * 0.001;
    brightness = extra.x * (255.0 / 160.0);
    // Two slow waves on water and lava; per vertex, because sines per pixel are slow in software rendering.
    swell = sin(p.x * 1.9 + p.z * 0.7 + time * 0.9) + sin(p.z * 1.3 - p.x * 0.9 - time * 0.7);
    swell *= 0.5 * extra.w;
    p.y += 0.03 * swell;
    vec4 seen = viewMatrix * vec4(p, 1.0);
    hidden = foggy(-seen.z);
    gl_Position = projectionMatrix * seen;
  }
`;

const FRAGMENT = `
  uniform sampler2D tiles;
  uniform vec2 perTile;
  uniform vec3 daylight;
  in vec2 tile;
  in float brightness;
  in float hidden;
  in float swell;
  out vec4 color;
  ${SKY}
  #ifdef LAID
    uniform sampler2D laid;
    uniform vec4 laidPlace;
  #endif
  void main() {
    vec4 here = texture(tiles, tile * perTile);
    // 1 for lava, which glows; 0 for all other materials.
    float hot = max(here.a * 3.0 - 2.0, 0.0);
    float bright = mix(brightness, min(brightness + 0.12, 1.0), hot);
    vec3 crest = mix(vec3(0.10), vec3(0.28, 0.16, 0.0), hot);
    vec3 c = here.rgb * (bright + 0.07 * swell) + crest * max(swell - 0.35, 0.0);
    c *= mix(daylight, vec3(1.0), hot);
    #ifdef LAID
      vec4 over = texture(laid, tile * laidPlace.xy);
      c = mix(c, over.rgb * min(brightness, 1.0), over.a * laidPlace.w);
    #endif
    color = vec4(mix(c, sky(), hidden), 1.0);
  }
`;
