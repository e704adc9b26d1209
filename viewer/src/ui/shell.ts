import type { Overlay } from "../model/types";
import type { Legend } from "../app/overlays";
import { css } from "../scene/colors";
import { LEFT, scaleOf, USED } from "../scene/heat";
import type { Actions } from "./context";
import { el, iconButton, setIcon, setText, type Icon } from "./dom";
import { short } from "./format";
import { NARROW, PANELS, type PanelName, type Panels } from "./panels";

/** State of the connection to a live world; null for a complete recording. */
export type Connection = "connecting" | "live" | "ended" | null;

const TABS: Readonly<Record<PanelName, readonly [Icon, string, string | undefined]>> = {
  agent: ["agent", "Selected", undefined],
  list: ["list", "Agents", "L"],
  charts: ["charts", "Charts", "C"],
  map: ["map", "Map", "M"],
  options: ["options", "Display", undefined],
};
const STATES = { connecting: "connecting…", live: "live", ended: "ended" } as const;

/** The frame of the page: the top bar, the scene, tabs and panels. */
export class Shell {
  readonly element = el("div", { class: "viewer" });
  /** Container of the canvas. */
  readonly place = el("div", { class: "stage" });
  readonly canvas = el("canvas", {
    id: "world",
    tabindex: 0,
    "aria-label":
      "The world. Drag or W A S D to move, right drag or Q E to turn, wheel to zoom, click to follow an agent",
  });
  private readonly tabs = new Map<PanelName, HTMLButtonElement>();
  private readonly connection = el("span", { class: "connection", role: "status", hidden: true });
  private readonly film: HTMLButtonElement;
  private readonly theme: HTMLButtonElement;
  private readonly legend = el("div", { class: "overlay-legend", role: "status", hidden: true });
  private readonly ending: () => void;

  constructor(
    title: string,
    subtitle: string,
    private readonly panels: Panels,
    actions: Actions,
    parts: Readonly<Record<PanelName, HTMLElement>>,
    timeline: HTMLElement,
    notices: HTMLElement,
  ) {
    const nav = el("nav", { class: "tabs", "aria-label": "Panels" });
    for (const name of PANELS) {
      const [icon, label, key] = TABS[name];
      const button = iconButton(icon, label, () => panels.toggle(name), key);
      button.append(el("span", {}, label));
      this.tabs.set(name, button);
      nav.append(button);
    }
    this.film = iconButton("film", "Record a video", () => actions.toggleFilm(), "R");
    this.film.classList.add("spare");
    const shot = iconButton("camera", "Screenshot", () => actions.screenshot(), "P");
    shot.classList.add("spare");
    this.theme = iconButton("sun", "Light theme", () => actions.toggleTheme(), "T");
    const bar = el(
      "header",
      { class: "bar" },
      iconButton("open", "Open another recording", () => actions.leave()),
      el("div", { class: "title" }, el("h1", { title }, title), el("span", {}, subtitle)),
      this.connection,
      nav,
      el(
        "div",
        { class: "tools" },
        iconButton("link", "Copy a link to this view", () => actions.copyLink()),
        shot,
        this.film,
        this.theme,
        iconButton("help", "Keys", () => actions.toggleHelp(), "?"),
      ),
    );
    this.place.append(this.canvas);
    this.element.append(
      bar,
      el("main", { class: "view", "aria-label": "World" }, this.place, this.legend, notices),
      parts.map,
      parts.list,
      el("div", { class: "right" }, parts.agent, parts.options),
      parts.charts,
      timeline,
    );
    const show = (): void => {
      for (const name of PANELS) {
        parts[name].hidden = !panels.isOpen(name);
        this.tabs.get(name)?.setAttribute("aria-pressed", String(panels.isOpen(name)));
      }
      this.element.dataset["panels"] = PANELS.filter((name) => panels.isOpen(name)).join(" ");
    };
    panels.listen(show);
    show();
    // On a phone the tabs are at the bottom, within reach of a thumb, and last in the tab order.
    const narrow = window.matchMedia(NARROW);
    const place = (): void => {
      this.panels.setNarrow(narrow.matches);
      if (narrow.matches) this.element.append(nav);
      else bar.insertBefore(nav, bar.lastElementChild);
    };
    place();
    narrow.addEventListener("change", place);
    this.ending = () => narrow.removeEventListener("change", place);
  }

  showConnection(state: Connection): void {
    this.connection.hidden = state === null;
    if (state === null) return;
    this.connection.dataset["state"] = state;
    setText(this.connection, STATES[state]);
  }

  showFilm(running: boolean): void {
    setIcon(this.film, running ? "stop" : "film", running ? "Stop recording" : "Record a video", "R");
    this.film.classList.toggle("recording", running);
  }

  showTheme(dark: boolean): void {
    setIcon(this.theme, dark ? "sun" : "moon", dark ? "Light theme" : "Dark theme", "T");
  }

  /** The overlay's text and color legend. */
  showLegend({ heat, text }: Legend, kind: Overlay): void {
    this.legend.hidden = !text;
    const parts: HTMLElement[] = [el("p", {}, text)];
    if (kind === "resources") {
      for (const [color, name] of [
        [LEFT, "there"],
        [USED, "depleted"],
      ] as const) {
        parts.push(el("span", { class: "swatch", style: `--color: ${css(color)}` }, name));
      }
    }
    if (heat) {
      const { low, high, colors } = scaleOf(heat, kind);
      const stops = [0, 64, 128, 192, 255].map((k) => `rgb(${colors.subarray(4 * k, 4 * k + 3).join(",")})`);
      parts.push(
        el(
          "div",
          { class: "scale" },
          el("span", {}, short(low)),
          el("i", { style: `background: linear-gradient(to right, ${stops.join(", ")})` }),
          el("span", {}, short(high)),
        ),
      );
    }
    this.legend.replaceChildren(...parts);
  }

  dispose(): void {
    this.ending();
    this.element.remove();
  }
}
