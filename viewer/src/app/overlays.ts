import type { RecordingLike, ScanLike, StageLike } from "../model/contract";
import { populationOf } from "../model/life";
import type { Session } from "../model/session";
import type { Frame, Header, Heat } from "../model/types";
import type { ValueMaps } from "./served";

/** Milliseconds between two pictures of an overlay that goes on changing. */
const PAUSE = 500;

/** What the overlay's legend says. */
export interface Legend {
  /** The map that is laid over the terrain; null for none. */
  readonly heat: Heat | null;
  readonly text: string;
}

/**
 * Lays maps over the terrain: those of the scan, of the recording, or of the server.
 */
export class Overlays {
  private seen: Uint8Array | null = null;
  private last = -Infinity;
  private dirty = true;
  private shown: Heat | null = null;
  private readonly endings: (() => void)[];

  /** @param values where value maps come from that the recording lacks; null if from nowhere. */
  constructor(
    private readonly session: Session,
    private readonly recording: RecordingLike,
    private readonly scan: ScanLike,
    private readonly stage: StageLike,
    private readonly values: ValueMaps | null,
    private readonly tell: (legend: Legend) => void,
  ) {
    const soon = (): void => {
      this.dirty = true;
    };
    this.endings = [
      session.listen(["overlay", "overlayPopulation"], () => {
        this.last = -Infinity;
        this.seen = null;
        soon();
      }),
      session.listen(["selected"], () => session.state.overlay === "value" && soon()),
      scan.listen(soon),
      recording.listen(soon),
      values?.listen(soon) ?? ((): void => undefined),
    ];
  }

  /** To be called now and then; true if the picture has changed. */
  update(frame: Frame, now: number): boolean {
    const { overlay } = this.session.state;
    if (overlay === "resources" && frame.usedUp !== this.seen) this.dirty = true;
    if (overlay === "value") this.dirty ||= this.values !== null || this.recording.heats.length > 0;
    if (!this.dirty || now - this.last < PAUSE) return false;
    this.dirty = false;
    this.last = now;
    const legend = this.find(frame);
    if (legend.heat !== this.shown || legend.heat !== null) this.stage.overlay(legend.heat, overlay);
    this.shown = legend.heat;
    this.tell(legend);
    return true;
  }

  dispose(): void {
    this.endings.forEach((end) => end());
  }

  private find(frame: Frame): Legend {
    const { overlay, overlayPopulation } = this.session.state;
    if (overlay === "none") return { heat: null, text: "" };
    if (overlay === "value") return this.value(frame);
    if (overlay === "resources") {
      if (this.shown?.name === "resources" && frame.usedUp === this.seen) return legendOf(this.shown, "");
      this.seen = frame.usedUp;
      return legendOf(resources(this.recording, frame), "");
    }
    const share = this.scan.progress;
    const so = share < 1 ? ` (counted so far: ${Math.floor(100 * share)} %)` : "";
    const whose = overlayPopulation < 0 ? "" : ` Population ${overlayPopulation}.`;
    return legendOf(this.scan.heat(overlay, overlayPopulation), whose + so);
  }

  private value(frame: Frame): Legend {
    const { header, heats } = this.recording;
    const population = this.valuePopulation(header);
    const mine = heats.filter((heat) => heat.name === "value" && heat.population === population);
    const recorded = mine.findLast((heat) => heat.tick <= frame.tick) ?? mine[0];
    const whose = ` Population ${population}.`;
    if (recorded) return legendOf(recorded, `${whose} Tick ${recorded.tick}.`);
    if (!this.values) return { heat: null, text: "This recording holds no map of values." };
    const { heat, note } = this.values.get(population, frame.tick);
    return heat ? legendOf(heat, whose + (note ? ` ${note}` : "")) : { heat: null, text: note };
  }

  /** Policies differ, so that there is no map for all: that of the selected then, or the first. */
  private valuePopulation(header: Header): number {
    const { overlayPopulation, selected } = this.session.state;
    if (overlayPopulation >= 0) return overlayPopulation;
    return selected && selected.slot < header.agents ? populationOf(header, selected.slot) : 0;
  }
}

function legendOf(heat: Heat, more: string): Legend {
  return { heat, text: heat.about + more };
}

/** 1 where something can be used up and is there, 0 where it is used up, NaN elsewhere. */
export function resources(recording: RecordingLike, frame: Frame): Heat {
  const { header, base } = recording;
  const values = new Float32Array(base.length).fill(NaN);
  for (let tile = 0; tile < base.length; tile++) {
    const material = base[tile] ?? 0;
    if (header.used_up[material] === material) continue;
    values[tile] = (frame.usedUp[tile >> 3] ?? 0) & (1 << (tile & 7)) ? 0 : 1;
  }
  const names = header.materials.filter((_, k) => header.used_up[k] !== k).map(({ name }) => name);
  return {
    name: "resources",
    rows: header.height,
    cols: header.width,
    stride: 1,
    about: `Tiles of ${names.join(" and ")}: there, or used up.`,
    values,
  };
}
