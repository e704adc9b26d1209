import { DataTexture, LinearMipmapLinearFilter, NearestFilter } from "three";
import type { Header } from "../model/types";
import { LEFT, USED } from "./heat";

/** Values of a tile's fourth component; values in between come from averaging distant tiles. */
export const KINDS = { water: 0, plain: 85, usedUp: 170, lava: 255 } as const;

/** Colors of a material, 4 bytes each: normal, and depleted. */
export type Paint = (material: number) => readonly [readonly number[], readonly number[]];

/** As the land shows them: the color, and one of KINDS. */
export function landPaint({ materials, used_up: usedUp }: Header): Paint {
  return (material) => {
    const { name, color } = materials[material]!;
    const kind = name === "water" ? KINDS.water : name === "lava" ? KINDS.lava : KINDS.plain;
    const later = usedUp[material] ?? material;
    return [
      [...color, kind],
      [...(materials[later]?.color ?? color), later === material ? kind : KINDS.usedUp],
    ];
  };
}

/** Current state of resources; all other tiles are transparent. */
export function resourcePaint({ used_up: usedUp }: Header): Paint {
  const clear = [0, 0, 0, 0];
  return (material) =>
    usedUp[material] === material
      ? [clear, clear]
      : [
          [...LEFT, 255],
          [...USED, 255],
        ];
}

/** The current color of each tile, one texel each. Only rows with changes are uploaded. */
export class Tiles {
  readonly texture: DataTexture;
  private readonly data: Uint8Array;
  private readonly shown: Uint8Array;
  private last: Uint8Array | null = null;
  /** Per material 4 bytes: normal, and depleted. */
  private readonly fresh: Uint8Array;
  private readonly used: Uint8Array;
  /** The texture has been uploaded, so that changes are enough. */
  private sent = false;

  constructor(
    private readonly header: Header,
    private readonly base: Uint8Array,
    paint: Paint,
  ) {
    const { height, width, materials } = header;
    this.fresh = Uint8Array.from(materials.flatMap((_, material) => paint(material)[0]));
    this.used = Uint8Array.from(materials.flatMap((_, material) => paint(material)[1]));
    this.data = new Uint8Array(4 * height * width);
    for (let tile = 0; tile < base.length; tile++) this.write(tile, false);
    this.shown = new Uint8Array(Math.ceil(base.length / 8));
    this.texture = tileTexture(this.data, width, height);
    this.texture.onUpdate = () => {
      this.sent = true;
    };
  }

  /** Shows which tiles are depleted. */
  show(usedUp: Uint8Array): void {
    if (usedUp === this.last) return;
    this.last = usedUp;
    const { shown, texture } = this;
    const { width } = this.header;
    let changed = false;
    let last = -1;
    for (let byte = 0; byte < shown.length; byte++) {
      const now = usedUp[byte] ?? 0;
      let difference = now ^ (shown[byte] ?? 0);
      if (!difference) continue;
      changed = true;
      shown[byte] = now;
      for (let bit = 0; difference; bit++, difference >>= 1) {
        const tile = 8 * byte + bit;
        if (!(difference & 1) || tile >= this.base.length) continue;
        this.write(tile, ((now >> bit) & 1) === 1);
        // Tiles are in order. A range must not extend beyond its row.
        const row = Math.floor(tile / width);
        if (row !== last && this.sent) texture.addUpdateRange(4 * row * width, 4 * width);
        last = row;
      }
    }
    if (changed) texture.needsUpdate = true;
  }

  /** Uploads everything again with the next frame, after the graphics card has lost it. */
  renew(): void {
    this.sent = false;
    this.texture.clearUpdateRanges();
    this.texture.needsUpdate = true;
  }

  private write(tile: number, used: boolean): void {
    const table = used ? this.used : this.fresh;
    const from = 4 * (this.base[tile] ?? 0);
    for (let k = 0; k < 4; k++) this.data[4 * tile + k] = table[from + k] ?? 0;
  }
}

/** A texture of 4 bytes per tile, or per cell of an overlay: blocks when near, averaged when far. */
export function tileTexture(data: Uint8Array, cols: number, rows: number): DataTexture {
  const texture = new DataTexture(data as Uint8Array<ArrayBuffer>, cols, rows);
  texture.magFilter = NearestFilter;
  texture.minFilter = LinearMipmapLinearFilter;
  texture.generateMipmaps = true;
  texture.needsUpdate = true;
  return texture;
}
