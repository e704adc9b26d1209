import type { RecordingLike, ScanLike, StageLike } from "../model/contract";
import type { Session } from "../model/session";
import type { Frame, Heat } from "../model/types";
import { materialName, number } from "../ui/format";
import type { ValueMaps } from "./served";

/** Minimum time between two updates of a changing overlay, milliseconds. */
const PAUSE = 500;

const UNIT = "In expected rewards per tick.";

/** Content of the overlay's legend. */
export interface Legend {
  /** The map that is drawn over the terrain; null for none. */
  readonly heat: Heat | null;
  readonly text: string;
}

/** Draws maps over the terrain: those of the scan, of the recording, or of the server. */
export class Overlays {
  private last = -Infinity;
  private dirty = true;
  private shown: Heat | null = null;
  private tick = -1;
  private readonly endings: (() => void)[];

  /** @param values source of value maps that are not in the recording; null for none. */
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
        soon();
      }),
      scan.listen(soon),
      recording.listen(soon),
      values?.listen(soon) ?? ((): void => undefined),
    ];
  }

  /** To be called regularly; returns true if the overlay has changed. */
  update(frame: Frame, now: number): boolean {
    const { overlay } = this.session.state;
    // Another tick may have another map; the stage updates the resources itself.
    if (overlay === "value") this.dirty ||= frame.tick !== this.tick;
    if (!this.dirty || now - this.last < PAUSE) return false;
    this.dirty = false;
    this.tick = frame.tick;
    const legend = this.find(frame);
    // Missing data is shown as soon as it arrives.
    this.last = legend.heat ? now : -Infinity;
    if (overlay !== "value" || legend.heat !== this.shown) this.stage.overlay(legend.heat, overlay);
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
      const { header, base } = this.recording;
      const { materials, used_up } = header;
      const there = materials.filter((_, k) => used_up[k] !== k && base.includes(k));
      const names = there.map(({ name }) => materialName(name));
      return { heat: null, text: `Tiles of ${names.join(" and ")}.` };
    }
    const share = this.scan.progress;
    const so = share < 1 ? ` (counted so far: ${Math.floor(100 * share)} %)` : "";
    const whose = overlayPopulation < 0 ? "" : ` Population ${overlayPopulation}.`;
    const heat = this.scan.heat(overlay, overlayPopulation);
    return heat ? legendOf(heat, whose + so) : { heat: null, text: "Counting…" };
  }

  private value(frame: Frame): Legend {
    const { heats } = this.recording;
    const population = this.valuePopulation();
    const mine = heats.filter((heat) => heat.name === "value" && heat.population === population);
    const recorded = mine.findLast((heat) => heat.tick <= frame.tick) ?? mine[0];
    const whose = population < 0 ? "" : ` Population ${population}.`;
    if (recorded) return legendOf(recorded, `${whose} Tick ${number(recorded.tick)}. ${UNIT}`);
    if (!this.values) return { heat: null, text: "This recording has no value map." };
    const { heat, note } = this.values.get(population, frame.tick);
    return heat ? legendOf(heat, `${whose} ${note || UNIT}`) : { heat: null, text: note };
  }

  /** The mean over all populations if there is such a map, else the map of the first population. */
  private valuePopulation(): number {
    const { overlayPopulation } = this.session.state;
    if (overlayPopulation >= 0 || this.values) return overlayPopulation;
    return this.recording.heats.some((heat) => heat.name === "value" && heat.population < 0) ? -1 : 0;
  }
}

function legendOf(heat: Heat, more: string): Legend {
  return { heat, text: heat.about + more };
}
