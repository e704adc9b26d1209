import type { ScanLike, StageLike } from "../model/contract";
import { lifeAt, whoIs } from "../model/life";
import { numberOf } from "../model/slots";
import { Session, type State } from "../model/session";
import type { Frame, Overlay } from "../model/types";
import type { Recording } from "../replay/recording";
import { css, populationColor } from "../scene/colors";
import { AgentPanel } from "../ui/agent";
import { Charts } from "../ui/charts";
import type { Actions, Context, Part } from "../ui/context";
import { fileName, nextSpeed, number } from "../ui/format";
import { makeHelp } from "../ui/help";
import { keyTable, listenToKeys } from "../ui/keys";
import { AgentList } from "../ui/list";
import { Minimap } from "../ui/minimap";
import type { Notices } from "../ui/notices";
import { Options } from "../ui/options";
import { NARROW, PANELS, Panels, type PanelName } from "../ui/panels";
import { Shell, type Connection } from "../ui/shell";
import { Timeline } from "../ui/timeline";
import { Clock, stepFrom, type Moment } from "./clock";
import { download, Film } from "./film";
import { fromLink, readLink, writeLink } from "./link";
import { Overlays } from "./overlays";
import type { ValueMaps } from "./served";
import { applyTheme, initialDark } from "./theme";

/** Parts that the viewer gets from outside. */
export interface Ingredients {
  readonly recording: Recording;
  readonly scan: ScanLike & { close(): void };
  makeStage(canvas: HTMLCanvasElement, recording: Recording, session: Session): StageLike;
  readonly notices: Notices;
  /** Source of value maps that are not in the recording. */
  readonly values: ValueMaps | null;
  /** State of the connection; null for a complete recording. */
  readonly connection: Connection;
  /** The previous viewer's settings, if this one replaces it. */
  readonly before: Partial<State>;
  readonly camera: string | null;
  leave(): void;
}

const OVERLAYS: readonly Overlay[] = ["none", "visits", "danger", "resources", "value"];
const OVERLAY_NAMES: Readonly<Record<Overlay, string>> = {
  none: "no overlay",
  visits: "visits",
  danger: "danger",
  resources: "resources",
  value: "value of a newborn agent",
};
/** Milliseconds between two updates of the panels. */
const PANEL_PAUSE = 90;
/** Time for which panels are updated after an interaction, milliseconds. */
const AWAKE = 1500;
/** Tiles smaller than this, in pixels, are too small to follow an agent. */
const SMALL = 16;
/** Camera distance in that case, tiles. */
const NEAR = 24;
/** A pointer that moved less than this, in pixels, has clicked. */
const CLICK = 6;

/** Shows one recording until it is closed. */
export class Viewer {
  readonly session: Session;
  readonly stage: StageLike;
  readonly recording: Recording;
  readonly scan: ScanLike & { close(): void };
  private readonly clock: Clock;
  private readonly panels = new Panels(window.matchMedia(NARROW).matches);
  private readonly shell: Shell;
  private readonly timeline: Timeline;
  private readonly parts: Readonly<Record<PanelName, Part>>;
  private readonly overlays: Overlays;
  private readonly film: Film;
  private readonly help = makeHelp();
  private readonly endings: (() => void)[] = [];
  private shown: Moment | null = null;
  /** The frame before the current one, if it has been displayed or fetched. */
  private beforeShown: Frame | null = null;
  private beforeAsked = -1;
  private drawn = "";
  /** What was drawn last is not what it should be, although the moment is the same. */
  private stale = true;
  private awakeUntil = 0;
  private lastTime = 0;
  private lastPanels = 0;
  private waitingSince = 0;
  private dirty = true;
  private linked = "";
  private closed = false;

  constructor(private readonly ingredients: Ingredients) {
    const { recording, scan, notices } = ingredients;
    this.recording = recording;
    this.scan = scan;
    this.session = new Session(this.initialState());
    this.clock = new Clock(this.session, recording);
    const actions = this.makeActions();
    const context = this.makeContext(actions);
    this.timeline = new Timeline(
      context,
      () => this.clock.growing,
      () => this.clock.waiting,
    );
    this.parts = {
      agent: new AgentPanel(context),
      list: new AgentList(context),
      charts: new Charts(context),
      map: new Minimap(context),
      options: new Options(context),
    };
    const { title, height, width, realm, agents, software } = recording.header;
    this.shell = new Shell(
      title || "World",
      `realm ${realm} · ${number(agents)} agents · ${height} × ${width} tiles · ${software}`,
      this.panels,
      actions,
      {
        agent: this.parts.agent.element,
        list: this.parts.list.element,
        charts: this.parts.charts.element,
        map: this.parts.map.element,
        options: this.parts.options.element,
      },
      this.timeline.element,
      notices.element,
    );
    this.shell.element.append(this.help);
    document.body.append(this.shell.element);
    this.stage = ingredients.makeStage(this.shell.canvas, recording, this.session);
    this.overlays = new Overlays(this.session, recording, scan, this.stage, ingredients.values, (legend) =>
      this.shell.showLegend(legend, this.session.state.overlay),
    );
    this.film = new Film(this.shell.canvas, (film) => this.keepFilm(film));
    this.listen(context);
    const camera = readLink(window.location.hash).camera ?? ingredients.camera;
    if (camera) this.stage.setCamera(camera);
    this.setConnection(ingredients.connection);
    this.shell.showTheme(this.session.state.dark);
    this.stage.resize();
    requestAnimationFrame((now) => this.loop(now));
  }

  /** The connection to a running world has changed. */
  setConnection(connection: Connection): void {
    this.clock.growing = connection === "live" || connection === "connecting";
    this.shell.showConnection(connection);
    if (connection === "ended") this.session.change({ live: false });
    this.dirty = true;
  }

  /** Settings for a viewer that replaces this one. */
  get choices(): Partial<State> {
    return this.session.state;
  }

  close(): void {
    this.closed = true;
    this.film.end();
    this.endings.forEach((end) => end());
    this.overlays.dispose();
    this.timeline.dispose();
    for (const name of PANELS) this.parts[name].dispose?.();
    this.stage.dispose();
    this.scan.close();
    this.recording.close();
    this.shell.dispose();
  }

  private initialState(): Partial<State> {
    const { recording, before, connection } = this.ingredients;
    const { entities, populations } = recording.header;
    const live = connection === "live" && (before.live ?? true);
    return {
      dark: initialDark(),
      ...before,
      live,
      playing: true,
      time: live ? Math.max(recording.first, recording.last - 2) : recording.first,
      ...fromLink(readLink(window.location.hash), entities, populations),
    };
  }

  private makeContext(actions: Actions): Context {
    const viewer = this;
    return {
      session: this.session,
      recording: this.recording,
      scan: this.scan,
      actions,
      panels: this.panels,
      // Created after the other parts, because it needs their canvas.
      get stage() {
        return viewer.stage;
      },
      before: (frame) => this.frameBefore(frame),
      color: (population) => css(populationColor(population)),
    };
  }

  private listen(context: Context): void {
    const { session, panels } = this;
    // Time is visible in what is drawn.
    const all = (Object.keys(session.state) as (keyof State)[]).filter((key) => key !== "time");
    const touched = (): void => this.wake();
    const changed = (): void => {
      this.stale = true;
      this.wake();
    };
    const observer = new ResizeObserver(() => {
      this.stage.resize();
      changed();
    });
    observer.observe(this.shell.place);
    const followLink = (): void => this.followLink();
    window.addEventListener("hashchange", followLink);
    for (const name of ["pointerdown", "pointermove", "wheel", "keydown", "keyup"] as const) {
      window.addEventListener(name, touched, { passive: true });
      this.endings.push(() => window.removeEventListener(name, touched));
    }
    const timer = window.setInterval(() => this.updateLink(), 500);
    panels.listen(touched);
    this.endings.push(
      () => observer.disconnect(),
      () => window.removeEventListener("hashchange", followLink),
      () => window.clearInterval(timer),
      session.listen(all, changed),
      session.listen(["dark"], ({ dark }) => {
        applyTheme(dark, true);
        this.shell.showTheme(dark);
      }),
      this.recording.listen(touched),
      this.scan.listen(() => (this.dirty = true)),
      listenToKeys(keyTable(context)),
    );
    this.selectByClick();
  }

  private loop(now: number): void {
    if (this.closed) return;
    requestAnimationFrame((next) => this.loop(next));
    const seconds = Math.max(0, now - this.lastTime) / 1000;
    this.lastTime = now;
    this.clock.advance(seconds);
    const moment = this.clock.moment();
    this.noteWaiting(now);
    if (!moment) return;
    this.note(moment);
    if (this.overlays.update(moment.before, now)) this.stale = true;
    const { time } = this.session.state;
    const picture = `${moment.before.tick} ${moment.fraction.toFixed(3)}`;
    if (picture !== this.drawn || this.stale || this.stage.unsettled || this.film.running) {
      this.drawn = picture;
      this.stale = false;
      this.stage.draw(moment.before, moment.after, moment.fraction);
      // The camera may have moved, which the map shows.
      this.dirty = true;
    }
    if (!this.dirty && now >= this.awakeUntil) return;
    this.timeline.show(moment.before);
    if (now - this.lastPanels < PANEL_PAUSE) return;
    this.dirty = false;
    this.lastPanels = now;
    for (const name of PANELS) if (this.panels.isOpen(name)) this.parts[name].show(moment.before);
    document.title = `${Math.floor(time)} · ${this.recording.header.title || "World"}`;
  }

  private wake(): void {
    this.awakeUntil = performance.now() + AWAKE;
    this.dirty = true;
  }

  /** Remembers the previous frame, and reports the selected agent's death if no panel does. */
  private note(moment: Moment): void {
    const last = this.shown?.before;
    this.shown = moment;
    if (!last || last === moment.before) return;
    if (last.tick + 1 === moment.before.tick) this.beforeShown = last;
    const { selected } = this.session.state;
    if (!selected || this.panels.isOpen("agent")) return;
    if (lifeAt(last, selected) === "alive" && lifeAt(moment.before, selected) === "dead") {
      this.ingredients.notices.tell(`The selected agent, ${selected.entity}, has died.`);
    }
  }

  private frameBefore(frame: Frame): Frame | undefined {
    const tick = frame.tick - 1;
    if (this.beforeShown?.tick === tick) return this.beforeShown;
    if (tick >= this.recording.first && this.beforeAsked !== tick) {
      this.beforeAsked = tick;
      this.recording.load(tick).then(
        (before) => {
          // Across a gap it is an older frame, which says nothing about this tick.
          if (before.tick === tick) this.beforeShown = before;
          this.dirty = true;
        },
        () => (this.beforeAsked = -1),
      );
    }
    return undefined;
  }

  /** Reports frames that do not arrive, at a limited rate. */
  private noteWaiting(now: number): void {
    if (!this.clock.waiting) {
      this.waitingSince = now;
      return;
    }
    this.dirty = true;
    if (now - this.waitingSince < 3000) return;
    this.waitingSince = now + 15_000;
    const { time } = this.session.state;
    const tell = (thrown: unknown): void =>
      this.ingredients.notices.tell(thrown instanceof Error ? thrown.message : String(thrown), 10);
    this.recording.load(Math.floor(time) + 1).catch(tell);
  }

  private selectByClick(): void {
    const { canvas } = this.shell;
    let start: { x: number; y: number } | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      start = event.isPrimary && event.button === 0 ? { x: event.clientX, y: event.clientY } : null;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!start || Math.hypot(event.clientX - start.x, event.clientY - start.y) > CLICK) return;
      const box = canvas.getBoundingClientRect();
      const slot = this.stage.pick(event.clientX - box.left, event.clientY - box.top);
      if (slot === null) return;
      this.select(slot);
      this.follow(true);
    });
  }

  private select(slot: number | null): void {
    const frame = this.shown?.before;
    if (slot === null) {
      this.session.change({ selected: null, following: false });
      this.panels.set("agent", false);
      return;
    }
    const who = frame ? whoIs(frame, slot) : null;
    if (!who) return;
    this.session.change({ selected: who });
    // On a phone the list stays open, so that another agent can be chosen.
    if (!this.panels.isNarrow || !this.panels.isOpen("list")) this.panels.set("agent", true);
  }

  /** Follows the selected entity; if the camera is far away, it first moves closer. */
  private follow(following: boolean): void {
    const { selected } = this.session.state;
    const frame = this.shown?.before;
    this.session.change({ following });
    if (!following || !selected || !frame) return;
    const [row, col] = [numberOf(frame, "row", selected.slot), numberOf(frame, "col", selected.slot)];
    const [here, beside] = [this.stage.project(row, col), this.stage.project(row, col + 1)];
    if (Math.hypot(here.x - beside.x, here.y - beside.y) < SMALL) this.stage.lookAt(row, col, NEAR);
  }

  private neighbor(direction: 1 | -1): void {
    const frame = this.shown?.before;
    if (!frame) return;
    const { agents, entities } = this.recording.header;
    const { selected } = this.session.state;
    const npc = selected !== null && selected.slot >= agents;
    const [from, count] = npc ? [agents, entities - agents] : [0, agents];
    const start = selected ? selected.slot - from : direction > 0 ? -1 : 0;
    for (let step = 1; step <= count; step++) {
      const slot = from + ((((start + direction * step) % count) + count) % count);
      if (whoIs(frame, slot)) return this.select(slot);
    }
  }

  private seek(time: number): void {
    const { first, last } = this.recording;
    const to = Math.min(Math.max(time, first), last);
    const live = this.clock.growing && to >= last;
    this.session.change({ time: to, live, ...(live ? { playing: true } : {}) });
  }

  private makeActions(): Actions {
    const { session, recording } = this;
    const { notices, leave } = this.ingredients;
    return {
      seek: (time) => this.seek(time),
      step: (direction) =>
        session.change({
          playing: false,
          live: false,
          time: stepFrom(recording, session.state.time, direction),
        }),
      togglePlay: () => {
        const { playing, time } = session.state;
        const over = !playing && !this.clock.growing && time >= recording.last;
        session.change({ playing: !playing, live: false, ...(over ? { time: recording.first } : {}) });
      },
      changeSpeed: (direction) => session.change({ speed: nextSpeed(session.state.speed, direction) }),
      goLive: () => {
        const time = Math.max(recording.first, recording.last - this.clock.lag, session.state.time);
        session.change({ live: true, playing: true, time });
      },
      select: (slot) => this.select(slot),
      neighbor: (direction) => this.neighbor(direction),
      toggleFollow: () => {
        if (session.state.selected) this.follow(!session.state.following);
        else notices.tell("Select an agent first: click one, or choose one from the list.");
      },
      cycleOverlay: () => {
        const at = OVERLAYS.indexOf(session.state.overlay);
        const overlay = OVERLAYS[(at + 1) % OVERLAYS.length] ?? "none";
        session.change({ overlay });
        notices.tell(`Overlay: ${OVERLAY_NAMES[overlay]}`, 2);
      },
      toggleTheme: () => session.change({ dark: !session.state.dark }),
      screenshot: () => void this.takeScreenshot(),
      toggleFilm: () => this.toggleFilm(),
      copyLink: () => void this.copyLink(),
      toggleHelp: () => this.help.showModal(),
      leave,
    };
  }

  private name(ending: string): string {
    return fileName(`${this.recording.header.title}-tick-${Math.floor(this.session.state.time)}`, ending);
  }

  private async takeScreenshot(): Promise<void> {
    try {
      download(await this.stage.screenshot(), this.name("png"));
    } catch {
      this.ingredients.notices.tell("The screenshot could not be taken.");
    }
  }

  private toggleFilm(): void {
    if (this.film.running) this.film.end();
    else if (this.film.begin())
      this.ingredients.notices.tell("Recording a video; press R or the button to stop.");
    this.shell.showFilm(this.film.running);
  }

  private keepFilm(film: Blob | string): void {
    this.shell.showFilm(false);
    if (typeof film === "string") this.ingredients.notices.tell(film, 8);
    else download(film, this.name("webm"));
  }

  private link(): string {
    return writeLink(this.session.state, this.stage.camera());
  }

  private async copyLink(): Promise<void> {
    const address = new URL(window.location.href);
    address.hash = this.link();
    window.history.replaceState(null, "", address);
    this.linked = address.hash;
    const file = !address.searchParams.has("file") && !address.searchParams.has("run");
    const more = file ? " It restores this view when the same file is opened there." : "";
    try {
      await navigator.clipboard.writeText(address.href);
      this.ingredients.notices.tell(`Link copied.${more}`);
    } catch {
      this.ingredients.notices.tell(
        `The address of this page is the link; copy it from the address bar.${more}`,
        8,
      );
    }
  }

  /** Updates the address of the page once the view is stable. */
  private updateLink(): void {
    if (this.session.state.playing || !this.shown) return;
    const link = this.link();
    const rests = link === this.linked;
    this.linked = link;
    if (rests && link !== window.location.hash) window.history.replaceState(null, "", link);
  }

  /** The link in the address has been changed. */
  private followLink(): void {
    const link = readLink(window.location.hash);
    const { entities, populations } = this.recording.header;
    this.session.change(fromLink(link, entities, populations));
    if (link.camera) this.stage.setCamera(link.camera);
    if (link.selected) this.panels.set("agent", true);
  }
}
