import { DataTexture, LinearMipmapLinearFilter, NearestFilter, NearestMipmapNearestFilter } from "three";
import type { Header } from "../model/types";

/** What the fourth number of a tile says; what lies between comes from looking at many tiles from afar. */
export const KINDS = { water: 0, plain: 85, usedUp: 170, lava: 255 } as const;

/**
 * The colours of all tiles as they are now, a texel each: the colour of the material shown, and in alpha one
 * of KINDS. Only rows with changes are sent to the graphics card.
 */
export class Tiles {
  readonly texture: DataTexture;
  private readonly data: Uint8Array;
  private shown: Uint8Array;
  /** Per material 4 bytes: as it is, and used up. */
  private readonly fresh: Uint8Array;
  private readonly used: Uint8Array;
  /** The graphics card has it all, so that changes are enough. */
  private sent = false;

  constructor(
    private readonly header: Header,
    private readonly base: Uint8Array,
    maxSize: number,
  ) {
    const { height, width, materials } = header;
    if (Math.max(height, width) > maxSize) {
      throw new Error(
        `The map has ${height} x ${width} tiles; this graphics card shows at most ${maxSize} a side.`,
      );
    }
    this.fresh = new Uint8Array(4 * materials.length);
    this.used = new Uint8Array(4 * materials.length);
    materials.forEach(({ name, colour }, material) => {
      const kind = name === "water" ? KINDS.water : name === "lava" ? KINDS.lava : KINDS.plain;
      this.fresh.set([...colour, kind], 4 * material);
      const later = header.used_up[material] ?? material;
      this.used.set(
        [...(materials[later]?.colour ?? colour), later === material ? kind : KINDS.usedUp],
        4 * material,
      );
    });
    this.data = new Uint8Array(4 * height * width);
    for (let tile = 0; tile < base.length; tile++) this.write(tile, false);
    this.shown = new Uint8Array(Math.ceil(base.length / 8));
    this.texture = new DataTexture(this.data, width, height);
    this.texture.magFilter = NearestFilter;
    this.texture.minFilter = NearestMipmapNearestFilter;
    this.texture.generateMipmaps = true;
    this.texture.onUpdate = () => {
      this.sent = true;
    };
    this.texture.needsUpdate = true;
  }

  /** Shows which tiles are used up; returns whether that was news. */
  show(usedUp: Uint8Array): boolean {
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
        // Tiles come in order. A range must not go beyond its row.
        const row = Math.floor(tile / width);
        if (row !== last && this.sent) texture.addUpdateRange(4 * row * width, 4 * width);
        last = row;
      }
    }
    if (changed) texture.needsUpdate = true;
    return changed;
  }

  /** All is sent again with the next picture: the graphics card has lost it. */
  renew(): void {
    this.sent = false;
    this.texture.clearUpdateRanges();
    this.texture.needsUpdate = true;
  }

  isUsedUp(tile: number): boolean {
    return (((this.shown[tile >> 3] ?? 0) >> (tile & 7)) & 1) === 1;
  }

  private write(tile: number, used: boolean): void {
    const table = used ? this.used : this.fresh;
    const from = 4 * (this.base[tile] ?? 0);
    for (let k = 0; k < 4; k++) this.data[4 * tile + k] = table[from + k] ?? 0;
  }
}

/** The texture of an overlay: 4 bytes per cell, near cells as blocks, far ones averaged. */
export function overlayTexture(data: Uint8Array<ArrayBuffer>, cols: number, rows: number): DataTexture {
  const texture = new DataTexture(data, cols, rows);
  texture.magFilter = NearestFilter;
  texture.minFilter = LinearMipmapLinearFilter;
  texture.generateMipmaps = true;
  texture.needsUpdate = true;
  return texture;
}
