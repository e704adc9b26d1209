import { gapAt } from "../app/clock";
import { findBirth, findDeath } from "../model/life";
import { populationOf } from "../model/slots";
import type { Frame, Selection } from "../model/types";
import type { Context, Part } from "./context";
import { el, fitCanvas, iconButton, setIcon, setText } from "./dom";
import { number, speedName, speeds } from "./format";

/** Life span of the selected entity, in ticks; null if unknown or not ended. */
interface Lifetime {
  readonly selection: Selection;
  birth: number | null;
  death: number | null;
  /** Last tick at which it was found alive, or the first of all. */
  looked: number;
}

/** Play, pause, steps, speed, and the seek bar. */
export class Timeline implements Part {
  readonly element: HTMLElement;
  private readonly play: HTMLButtonElement;
  private readonly tick: HTMLInputElement;
  private readonly total = el("span", { class: "total" });
  private readonly note = el("span", { class: "note", role: "status" });
  private readonly speed: HTMLSelectElement;
  private readonly live: HTMLButtonElement;
  private readonly track: HTMLElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly head = el("div", { class: "head" });
  private readonly hint = el("div", { class: "hint" });
  private lifetime: Lifetime | null = null;
  private painted = "";
  /** Of the track, CSS pixels. Cached, because reading it in every frame would force a layout each time. */
  private size = { width: 0, height: 0 };
  private readonly endings: (() => void)[] = [];

  /** @param growing whether more ticks may arrive. */
  constructor(
    private readonly context: Context,
    private readonly growing: () => boolean,
    private readonly waiting: () => boolean,
  ) {
    const { actions, session } = context;
    this.play = iconButton("play", "Play", () => actions.togglePlay(), "Space");
    this.play.classList.add("play");
    this.tick = el("input", {
      class: "tick",
      inputmode: "numeric",
      "aria-label": "Tick: type a number to jump to it",
      title: "Tick: type a number to jump to it",
      size: 7,
    });
    this.tick.addEventListener("change", () => this.goToTyped());
    this.tick.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") this.tick.blur();
    });
    this.speed = el("select", { "aria-label": "Speed", title: "Speed (, and .)" });
    for (const speed of speeds) this.speed.append(el("option", { value: speed }, speedName(speed)));
    this.speed.addEventListener("change", () => session.change({ speed: Number(this.speed.value) }));
    this.live = el("button", {
      type: "button",
      class: "live",
      title: "Follow the newest tick",
    });
    this.live.append(el("i"), "Live");
    this.live.addEventListener("click", () => actions.goLive());
    this.track = el("div", {
      class: "track",
      role: "slider",
      tabindex: 0,
      "aria-label": "Tick",
      title: "",
    });
    this.track.append(this.canvas, this.head, this.hint);
    this.seekByPointer();
    this.element = el(
      "footer",
      { class: "timeline", "aria-label": "Timeline" },
      el(
        "div",
        { class: "buttons" },
        iconButton("back", "One tick back", () => actions.step(-1), "ArrowLeft"),
        this.play,
        iconButton("forward", "One tick forward", () => actions.step(1), "ArrowRight"),
      ),
      el("div", { class: "place" }, this.tick, this.total, this.note),
      this.track,
      el("div", { class: "pace" }, this.speed, this.live),
    );
    const resized = new ResizeObserver(([entry]) => {
      if (entry) this.size = entry.contentRect;
    });
    resized.observe(this.canvas);
    this.endings.push(
      () => resized.disconnect(),
      session.listen(["selected"], () => this.findLifetime()),
      context.recording.listen(() => this.lifetimeMayGrow()),
    );
    this.findLifetime();
  }

  show(frame: Frame): void {
    const { session, recording } = this.context;
    const { time, playing, speed, live } = session.state;
    setIcon(this.play, playing ? "pause" : "play", playing ? "Pause" : "Play", "Space");
    const tick = Math.floor(time);
    if (document.activeElement !== this.tick) this.tick.value = String(tick);
    setText(this.total, `of ${number(recording.last)}`);
    const gap = gapAt(recording.spans, time);
    setText(
      this.note,
      gap ? `not recorded, showing ${number(frame.tick)}` : this.waiting() ? "loading…" : "",
    );
    if (this.speed.value !== String(speed)) this.speed.value = String(speed);
    this.live.hidden = !this.growing();
    this.live.classList.toggle("on", live);
    this.live.setAttribute("aria-pressed", String(live));
    for (const [name, value] of [
      ["aria-valuemin", recording.first],
      ["aria-valuemax", recording.last],
      ["aria-valuenow", tick],
    ] as const) {
      this.track.setAttribute(name, String(value));
    }
    this.track.setAttribute(
      "aria-valuetext",
      `tick ${tick} of ${recording.last}${gap ? ", not recorded" : ""}`,
    );
    this.head.style.left = `${100 * this.share(time)}%`;
    this.paint();
  }

  dispose(): void {
    this.endings.forEach((end) => end());
  }

  private share(time: number): number {
    const { first, last } = this.context.recording;
    return Math.min(Math.max((time - first) / Math.max(1, last - first), 0), 1);
  }

  private timeAt(clientX: number): number {
    const box = this.track.getBoundingClientRect();
    const { first, last } = this.context.recording;
    const share = Math.min(Math.max((clientX - box.left) / Math.max(1, box.width), 0), 1);
    return Math.round(first + share * (last - first));
  }

  private seekByPointer(): void {
    let dragging = false;
    let asked: number | null = null;
    const seek = (event: PointerEvent): void => {
      // Once per frame: a fast mouse reports more often than that.
      if (asked === null) {
        requestAnimationFrame(() => {
          if (asked !== null) this.context.actions.seek(asked);
          asked = null;
        });
      }
      asked = this.timeAt(event.clientX);
    };
    this.track.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      dragging = true;
      this.track.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.track.addEventListener("pointermove", (event) => {
      this.showHint(event.clientX);
      if (dragging) seek(event);
    });
    for (const name of ["pointerup", "pointercancel"] as const) {
      this.track.addEventListener(name, () => (dragging = false));
    }
    this.track.addEventListener("pointerleave", () => this.hint.classList.remove("on"));
  }

  private showHint(clientX: number): void {
    const tick = this.timeAt(clientX);
    const gap = gapAt(this.context.recording.spans, tick);
    setText(
      this.hint,
      gap ? `${number(gap.before + 1)}–${number(gap.after - 1)} not recorded` : number(tick),
    );
    this.hint.style.left = `${Math.min(Math.max(100 * this.share(tick), 4), 96)}%`;
    this.hint.classList.add("on");
  }

  private goToTyped(): void {
    const typed = Number(this.tick.value.replace(/[\s,.]/g, ""));
    if (Number.isFinite(typed)) this.context.actions.seek(typed);
    this.tick.blur();
  }

  private findLifetime(): void {
    const { selected } = this.context.session.state;
    if (!selected) {
      this.lifetime = null;
      return;
    }
    const lifetime: Lifetime = {
      selection: selected,
      birth: null,
      death: null,
      looked: this.context.recording.first,
    };
    this.lifetime = lifetime;
    // Read errors are reported where the frame is shown; here the mark is omitted.
    findBirth(this.context.recording, selected).then(
      (tick) => (lifetime.birth = tick),
      () => undefined,
    );
    this.findEnd(lifetime);
  }

  private findEnd(lifetime: Lifetime): void {
    const { last } = this.context.recording;
    findDeath(this.context.recording, lifetime.selection, lifetime.looked).then(
      (tick) => {
        lifetime.death = tick;
        if (tick === null) lifetime.looked = last;
      },
      () => undefined,
    );
  }

  private lifetimeMayGrow(): void {
    if (this.lifetime && this.lifetime.death === null) this.findEnd(this.lifetime);
  }

  /** Draws the track: population size, hatched gaps, the life of the selected entity. */
  private paint(): void {
    const { recording, scan, session } = this.context;
    const [width, height] = [Math.floor(this.size.width), Math.floor(this.size.height)];
    if (width < 8) return;
    const { tick, population } = scan.series;
    const life = this.lifetime;
    const key = [
      width,
      height,
      recording.first,
      recording.last,
      tick.length,
      recording.spans.length,
      session.state.dark,
      life?.selection.entity,
      life?.birth,
      life?.death,
    ].join();
    if (key === this.painted) return;
    this.painted = key;
    const context = fitCanvas(this.canvas, width, height);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.track);
    const x = (time: number): number => this.share(time) * width;

    let max = 1;
    const totals = Array.from(tick, (_, k) => population.reduce((sum, line) => sum + (line[k] ?? 0), 0));
    for (const total of totals) max = Math.max(max, total);
    context.fillStyle = style.getPropertyValue("--track-fill");
    context.beginPath();
    context.moveTo(x(tick[0] ?? 0), height);
    totals.forEach((total, k) => context.lineTo(x(tick[k] ?? 0), height - (height - 7) * (total / max)));
    context.lineTo(x(tick.at(-1) ?? 0), height);
    context.fill();

    context.strokeStyle = style.getPropertyValue("--track-gap");
    context.lineWidth = 1;
    recording.spans.forEach(([first], k) => {
      const before = recording.spans[k - 1];
      if (!before) return;
      const [left, right] = [x(before[1]), Math.max(x(first), x(before[1]) + 2)];
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, height);
      context.clip();
      context.clearRect(left, 0, right - left, height);
      context.beginPath();
      for (let start = left - height; start < right; start += 5) {
        context.moveTo(start, height);
        context.lineTo(start + height, 0);
      }
      context.stroke();
      context.restore();
    });

    for (const heat of recording.heats) {
      context.fillStyle = style.getPropertyValue("--text-dim");
      context.fillRect(x(heat.tick) - 0.5, height - 4, 1, 4);
    }
    if (life && life.birth !== null) {
      const from = x(life.birth);
      const to = life.death === null ? width : x(life.death);
      const agent = life.selection.slot < recording.header.agents;
      const population = populationOf(recording.header, life.selection.slot);
      context.fillStyle = agent ? this.context.color(population) : style.getPropertyValue("--accent");
      context.fillRect(from, 0, Math.max(2, to - from), 4);
      if (life.death !== null) context.fillRect(to - 1, 0, 2, height);
    }
  }
}
