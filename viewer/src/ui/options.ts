import GUI from "lil-gui";
import type { Session, State } from "../model/session";
import type { Overlay } from "../model/types";
import type { Context, Part } from "./context";
import { el } from "./dom";

const OVERLAYS: Readonly<Record<string, Overlay>> = {
  none: "none",
  visits: "visits",
  danger: "danger",
  resources: "resources",
  value: "value",
};

/** Display options. */
export class Options implements Part {
  readonly element: HTMLElement;
  private readonly gui: GUI;
  private readonly statistics = el("p", { class: "small" });
  private readonly ending: () => void;

  constructor(private readonly context: Context) {
    const { session, actions, recording } = context;
    const place = el("div", { class: "gui" });
    // No built-in styles, which set their own font and colors; styles/options.css replaces them.
    this.gui = new GUI({ container: place, injectStyles: false, title: "Display" });
    const state = { ...session.state };
    const populations: Record<string, number> = { all: -1 };
    for (let p = 0; p < recording.header.populations; p++) populations[`population ${p}`] = p;

    const overlay = this.gui.addFolder("Overlay");
    bind(session, overlay.add(state, "overlay", OVERLAYS).name("overlay"), "overlay");
    bind(
      session,
      overlay.add(state, "overlayPopulation", populations).name("population"),
      "overlayPopulation",
    );
    bind(session, overlay.add(state, "overlayOpacity", 0, 1, 0.05).name("opacity"), "overlayOpacity");
    const shown = this.gui.addFolder("Show");
    for (const [key, name] of [
      ["bars", "health, food, water"],
      ["names", "nearby names"],
      ["effects", "attacks, deaths"],
      ["trees", "trees"],
      ["dark", "dark theme"],
    ] as const) {
      bind(session, shown.add(state, key).name(name), key);
    }
    bind(
      session,
      shown.add(state, "ticksPerSecond", 1, 20, 1).name("ticks per second at 1×"),
      "ticksPerSecond",
    );
    const pictures = this.gui.addFolder("Export");
    pictures.add({ act: () => actions.screenshot() }, "act").name("screenshot (P)");
    pictures.add({ act: () => actions.toggleFilm() }, "act").name("video: start, stop (R)");
    pictures.add({ act: () => actions.copyLink() }, "act").name("copy a link to this view");
    for (const controller of this.gui.controllersRecursive()) label(controller);
    const keys = Object.keys(state) as (keyof State)[];
    this.ending = session.listen(keys, (now) => {
      Object.assign(state, now);
      this.gui.controllersRecursive().forEach((controller) => controller.updateDisplay());
    });
    this.element = el(
      "section",
      { class: "panel options", "aria-label": "Display" },
      el("header", {}, el("h2", {}, "Display")),
      place,
      this.statistics,
    );
  }

  show(): void {
    const { fps, calls, triangles, renderer } = this.context.stage.statistics;
    const cost = `${calls} draw calls, ${triangles} triangles`;
    this.statistics.textContent = `${Math.round(fps)} frames per second, ${cost}. ${renderer}`;
  }

  dispose(): void {
    this.ending();
    this.gui.destroy();
  }
}

type Controller = ReturnType<GUI["add"]>;

/** Binds a control to a field of the session. */
function bind<K extends keyof State>(session: Session, controller: Controller, key: K): void {
  controller.onChange((value: State[K]) => session.change({ [key]: value } as Pick<State, K>));
}

/** Labels a control for screen readers. */
function label(controller: Controller): void {
  const name = controller.$name.textContent ?? "";
  controller.domElement.querySelectorAll("input, select, button").forEach((control) => {
    control.setAttribute("aria-label", name);
    control.setAttribute("title", name);
  });
}
