import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Series } from "../model/types";
import { css } from "../scene/colors";
import type { Context, Part } from "./context";
import { el, setText, textButton } from "./dom";
import { materialName, short } from "./format";

interface Line {
  readonly name: string;
  readonly color: string;
  readonly values: (series: Series) => Float64Array | undefined;
  readonly dash?: number[];
}

interface Kind {
  readonly title: string;
  readonly about: string;
  readonly lines: () => readonly Line[];
  /** Events are summed over several ticks, because a single tick has few of them. */
  readonly gather?: (series: Series, values: Float64Array, from: number, to: number) => number;
  readonly stacked?: () => boolean;
  /** Buttons next to the title. */
  readonly controls?: HTMLElement;
}

/** Colors for curves without their own: those of Okabe and Ito, distinguishable for the color-blind. */
const OTHERS = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#f0e442", "#999999"];
const DASHES = [undefined, [6, 3], [2, 2]] as const;
/** Points of curves that sum events. */
const GATHERED = 90;

/** Curves over the whole recording, with the current moment marked; a click jumps to a tick. */
export class Charts implements Part {
  readonly element: HTMLElement;
  private readonly progress = el("span", { class: "count", role: "status" });
  private readonly charts: Chart[] = [];
  private stacked = true;
  private items: number[] = [];
  private painted = "";
  private dirty = true;
  private readonly endings: (() => void)[] = [];

  constructor(private readonly context: Context) {
    const grid = el("div", { class: "grid" });
    for (const kind of this.kinds()) {
      const chart = new Chart(context, kind);
      this.charts.push(chart);
      grid.append(chart.element);
    }
    this.element = el(
      "section",
      { class: "panel charts", "aria-label": "Charts" },
      el("header", {}, el("h2", {}, "Charts"), this.progress),
      grid,
    );
    const resized = new ResizeObserver(() => (this.dirty = true));
    resized.observe(this.element);
    this.endings.push(
      context.scan.listen(() => (this.dirty = true)),
      () => resized.disconnect(),
    );
  }

  show(): void {
    const { scan, session } = this.context;
    setText(this.progress, scan.progress < 1 ? `counting, ${Math.floor(100 * scan.progress)} %` : "");
    const look = `${session.state.dark}.${this.stacked}.${this.items.join()}`;
    if (look !== this.painted) this.charts.forEach((chart) => chart.rebuild());
    if (this.dirty || look !== this.painted) this.charts.forEach((chart) => chart.update(scan.series));
    this.painted = look;
    this.dirty = false;
    this.charts.forEach((chart) => chart.mark(session.state.time));
  }

  dispose(): void {
    this.endings.forEach((end) => end());
    this.charts.forEach((chart) => chart.dispose());
  }

  private kinds(): readonly Kind[] {
    const { header, base } = this.context.recording;
    const kinds: Kind[] = [
      {
        title: "Population",
        about: "Living agents, by population",
        controls: this.stackButton(),
        stacked: () => this.stacked,
        lines: () =>
          Array.from({ length: header.populations }, (_, p) => ({
            name: String(p),
            color: this.context.color(p),
            values: (series: Series) => series.population[p],
          })),
      },
      {
        title: "Lifetime",
        about: "Mean age at death, ticks",
        gather: meanLifetime,
        lines: () => [{ name: "ticks", color: OTHERS[1] ?? "", values: (series) => series.lifetime }],
      },
      {
        title: "Deaths",
        about: "Deaths of agents per tick, by cause",
        gather: deathsPerTick,
        lines: () =>
          header.causes.slice(1).map((name, k) => ({
            name,
            color: OTHERS[(k + 3) % OTHERS.length] ?? "",
            dash: [...(DASHES[k % 3] ?? [])],
            values: (series: Series) => series.deaths[k + 1],
          })),
      },
      {
        title: "Depleted",
        about: "Depleted tiles, by material",
        lines: () =>
          header.materials
            .filter((_, k) => header.used_up[k] !== k && base.includes(k))
            .map((material) => ({
              name: materialName(material.name),
              color: css(material.color),
              values: (series: Series) => series.usedUp[material.name],
            })),
      },
    ];
    if (header.items.length && header.prices.length) {
      this.items = [0, 1, 2].filter((item) => item < header.items.length);
      kinds.push({
        title: "Prices",
        about: "Last price paid on the market, gold",
        controls: this.itemMenu(),
        lines: () =>
          this.items.map((item, k) => ({
            name: header.items[item]?.name ?? "",
            color: OTHERS[k % OTHERS.length] ?? "",
            dash: [...(DASHES[Math.floor(k / OTHERS.length) % 3] ?? [])],
            values: (series: Series) => series.price[item],
          })),
      });
    }
    return kinds;
  }

  private stackButton(): HTMLElement {
    const button = textButton("stacked", "Toggle stacked areas or lines", () => {
      this.stacked = !this.stacked;
      setText(button, this.stacked ? "stacked" : "lines");
    });
    return button;
  }

  private itemMenu(): HTMLElement {
    const menu = el("details", { class: "menu" }, el("summary", { title: "Choose items" }, "items"));
    const box = el("div", { class: "choices" });
    this.context.recording.header.items.forEach(({ name }, item) => {
      const tick = el("input", { type: "checkbox" });
      tick.checked = this.items.includes(item);
      tick.addEventListener("change", () => {
        this.items = tick.checked ? [...this.items, item] : this.items.filter((other) => other !== item);
      });
      box.append(el("label", {}, tick, name));
    });
    menu.append(box);
    return menu;
  }
}

class Chart {
  readonly element: HTMLElement;
  private readonly place = el("div", { class: "plot" });
  private readonly legend = el("div", { class: "legend" });
  private readonly line = el("div", { class: "now" });
  private plot: uPlot | null = null;
  private lines: readonly Line[] = [];
  private ticks: Float64Array = new Float64Array(0);
  private curves: readonly (number | null)[][] = [];

  constructor(
    private readonly context: Context,
    private readonly kind: Kind,
  ) {
    this.element = el(
      "figure",
      { class: "chart", "aria-label": kind.about },
      el("figcaption", { title: kind.about }, el("b", {}, kind.title), kind.controls ?? null, this.legend),
      this.place,
    );
  }

  rebuild(): void {
    this.plot?.destroy();
    this.plot = null;
    this.lines = this.kind.lines();
    this.legend.replaceChildren(
      ...this.lines.map(({ name, color }) => el("span", { style: `--color: ${this.seen(color)}` }, name)),
    );
  }

  private seen(color: string): string {
    const panel = getComputedStyle(this.element).getPropertyValue("--panel");
    // An area is visible next to its neighbors; a thin line needs more contrast.
    return visible(color, panel, this.kind.stacked?.() ? 1.2 : 1.6);
  }

  update(series: Series): void {
    const [width, height] = [this.place.clientWidth, this.place.clientHeight];
    if (width < 40 || height < 30) return;
    const step = this.kind.gather ? Math.ceil(series.tick.length / GATHERED) : 1;
    this.ticks = step > 1 ? series.tick.filter((_, k) => k % step === 0) : series.tick;
    this.curves = this.lines.map((line) => this.gather(series, line.values(series), step));
    const data = this.kind.stacked?.() ? stack(this.curves) : this.curves;
    this.plot ??= this.make(width, height);
    if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
    this.plot.setData([this.ticks, ...data]);
  }

  private gather(series: Series, values: Float64Array | undefined, step: number): (number | null)[] {
    const { gather } = this.kind;
    if (!values) return Array.from(this.ticks, () => null);
    const numbers = gather
      ? Array.from(this.ticks, (_, k) =>
          gather(series, values, k * step, Math.min((k + 1) * step, values.length)),
        )
      : Array.from(values);
    // NaN leaves a gap.
    return numbers.map((value) => (Number.isFinite(value) ? value : null));
  }

  mark(time: number): void {
    if (!this.plot?.data[0]?.length) return;
    const left = this.plot.valToPos(time, "x");
    this.line.hidden = !(left >= -1 && left <= this.plot.over.clientWidth + 1);
    this.line.style.transform = `translateX(${left}px)`;
  }

  dispose(): void {
    this.plot?.destroy();
  }

  private make(width: number, height: number): uPlot {
    const style = getComputedStyle(this.element);
    const [text, grid] = [style.getPropertyValue("--text-dim"), style.getPropertyValue("--line")];
    const axis: uPlot.Axis = {
      stroke: text,
      font: "10px system-ui, sans-serif",
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      gap: 2,
    };
    const stacked = this.kind.stacked?.() ?? false;
    const { recording, actions } = this.context;
    const plot = new uPlot(
      {
        width,
        height,
        padding: [6, 16, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => [recording.first, Math.max(recording.last, recording.first + 1)] },
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) > 0 ? 1.08 * (high ?? 1) : 1] },
        },
        axes: [
          { ...axis, size: 18, values: (_, ticks) => ticks.map(short) },
          { ...axis, size: 38, values: (_, ticks) => ticks.map(short) },
        ],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
        series: [
          {},
          ...this.lines.map(({ color, dash }) => ({
            stroke: this.seen(color),
            width: stacked ? 0.5 : 1.5,
            points: { show: false },
            ...(dash?.length ? { dash } : {}),
            ...(stacked ? { fill: this.seen(color) } : {}),
            spanGaps: true,
          })),
        ],
        hooks: { setCursor: [(shown) => this.showValues(shown)] },
      },
      [[], ...this.lines.map(() => [])],
      this.place,
    );
    plot.over.append(this.line);
    plot.over.title = `${this.kind.about}. Click to go to a tick.`;
    plot.over.addEventListener("click", (event) => {
      const left = event.clientX - plot.over.getBoundingClientRect().left;
      actions.seek(Math.round(plot.posToVal(left, "x")));
    });
    return plot;
  }

  /** The values at the pointer, in the legend. */
  private showValues(plot: uPlot): void {
    const index = plot.cursor.idx;
    const over = plot.cursor.left !== undefined && plot.cursor.left >= 0 && index != null;
    this.lines.forEach((line, k) => {
      const entry = this.legend.children[k];
      const value = over ? this.curves[k]?.[index] : undefined;
      if (entry) setText(entry, value == null ? line.name : `${line.name} ${short(value)}`);
    });
  }
}

/** Mean over all deaths between two points, weighted by the number of deaths since the previous point. */
function meanLifetime(series: Series, values: Float64Array, from: number, to: number): number {
  let [sum, count] = [0, 0];
  for (let k = from; k < to; k++) {
    const died = series.deaths.reduce((all, cause) => all + (cause[k] ?? 0), 0);
    if (!died || !Number.isFinite(values[k])) continue;
    sum += died * (values[k] ?? 0);
    count += died;
  }
  return sum / count;
}

function deathsPerTick(series: Series, values: Float64Array, from: number, to: number): number {
  const sum = (numbers: Float64Array): number =>
    numbers.subarray(from, to).reduce((all, number) => all + number, 0);
  return sum(values) / sum(series.ticks);
}

/** The color itself, or a mix with gray if it has too little contrast with the panel. */
function visible(color: string, panel: string, minContrast: number): string {
  const [one, other] = [luminance(color), luminance(panel)];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  return contrast < minContrast
    ? `color-mix(in srgb, ${color}, ${other > 0.5 ? "#303844" : "#e0e6f0"} 40%)`
    : color;
}

/** Lightness from 0 to 1 of a color such as "#0077bb" or "rgb(1,2,3)". */
function luminance(color: string): number {
  const parts = color.trim().startsWith("#")
    ? [1, 3, 5].map((at) => parseInt(color.trim().slice(at, at + 2), 16))
    : (color.match(/\d+/g) ?? []).map(Number);
  const [red, green, blue] = parts.map((part) => (part / 255) ** 2.2);
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}

/** Each curve plus those behind it; drawn from the highest down, so that each is visible. */
function stack(curves: readonly (number | null)[][]): (number | null)[][] {
  let below: number[] | null = null;
  const sums: number[][] = [];
  for (const curve of [...curves].reverse()) {
    const sum: number[] = curve.map((value, k) => (value ?? 0) + (below?.[k] ?? 0));
    sums.unshift(sum);
    below = sum;
  }
  return sums;
}
