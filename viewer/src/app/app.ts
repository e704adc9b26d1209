import type { Session, State } from "../model/session";
import type { StageLike } from "../model/contract";
import { reasonOf } from "../replay/error";
import { Recording } from "../replay/recording";
import { Scan } from "../replay/scan";
import { BlobSource, HttpSource, type Source } from "../replay/source";
import { Notices } from "../ui/notices";
import type { Connection } from "../ui/shell";
import { acceptDrops, StartPage } from "../ui/start";
import { Live, type Entry, type LiveTarget } from "./live";
import { addressOf, liveAddressOf, offeredRecordings, ValueMaps } from "./served";
import { LiveSource } from "./source";
import { applyTheme, initialDark } from "./theme";
import { Viewer } from "./viewer";

/** Creates the scene on a canvas. Throws an Error with a readable message if it is not supported. */
type MakeStage = (canvas: HTMLCanvasElement, recording: Recording, session: Session) => StageLike;

declare global {
  interface Window {
    /** For tests and debugging. */
    embyr?: Pick<Viewer, "session" | "recording" | "stage" | "scan">;
  }
}

/** The page: the start page, or the viewer of a recording. */
export class App {
  private readonly notices = new Notices();
  private readonly start: StartPage;
  private viewer: Viewer | null = null;
  private live: Live | null = null;
  /** Incremented with each opening, so that results of earlier requests are discarded. */
  private turn = 0;
  private served = new Map<string, boolean>();

  constructor(private readonly makeStage: MakeStage) {
    applyTheme(initialDark(), false);
    this.start = new StartPage({
      openFile: (file) => void this.openFile(file),
      openServed: (name) => this.openServed(name),
    });
    document.body.append(this.start.element);
    acceptDrops((file) => void this.openFile(file));
  }

  /** Opens the recording in the address, or shows the start page. */
  async begin(): Promise<void> {
    const asked = new URLSearchParams(window.location.search);
    const [file, run] = [asked.get("file"), asked.get("run")];
    const offered = await this.showOffered();
    if (file) await this.openAddress(file);
    else if (run) this.openServed(run);
    else if (window.location.hash.includes("tick=")) {
      this.start.complain(
        "This link refers to a moment of a recording: choose its file to restore the view.",
      );
    } else if (offered === 1) {
      const [only] = this.served.keys();
      if (only !== undefined) this.openServed(only);
    }
  }

  async openFile(file: File): Promise<void> {
    await this.open(file.name, "", () => new BlobSource(file));
  }

  async openAddress(address: string): Promise<void> {
    const query = `?${new URLSearchParams({ file: address })}`;
    await this.open(
      address,
      query,
      () => new HttpSource(new URL(address, document.baseURI).href),
      () => void this.openAddress(address),
    );
  }

  openServed(name: string): void {
    const query = `?${new URLSearchParams({ run: name })}`;
    if (this.served.get(name) === false) {
      void this.open(
        name,
        query,
        () => new HttpSource(addressOf(name)),
        () => this.openServed(name),
        new ValueMaps(name),
      );
    } else this.watch(name, query);
  }

  private async open(
    name: string,
    query: string,
    source: () => Source,
    retry?: () => void,
    values: ValueMaps | null = null,
  ): Promise<void> {
    const turn = ++this.turn;
    this.start.complain(null);
    this.start.showProgress(name, 0);
    try {
      const progress = (share: number): void => {
        if (turn === this.turn) this.start.showProgress(name, share);
      };
      const recording = await Recording.open(source(), { progress });
      if (turn !== this.turn) return recording.close();
      if (recording.last < 0) {
        recording.close();
        throw new Error("The recording has no ticks yet. Try again when the world has started.");
      }
      this.live?.close();
      this.live = null;
      this.show(recording, query, values, null);
    } catch (thrown) {
      if (turn === this.turn) this.complain(name, reasonOf(thrown), retry);
    }
    if (turn === this.turn) this.start.showProgress(name, null);
  }

  /** Keeps the current view. The start page shows the error in full, an open viewer as a notice. */
  private complain(name: string, message: string, retry?: () => void): void {
    this.start.showProgress(name, null);
    if (this.viewer) this.notices.tell(`${name} could not be opened: ${message}`, 12);
    else this.start.complain(`${name} could not be opened. ${message}`, retry);
  }

  /** Follows a recording of the server as it grows. */
  private watch(name: string, query: string, before: Partial<State> = {}): void {
    const turn = ++this.turn;
    this.live?.close();
    this.start.complain(null);
    if (!this.viewer) this.start.showProgress(name, 0);
    let source: LiveSource | null = null;
    let viewer: Viewer | null = null;
    let recording: Recording | null = null;
    let state: Connection = "connecting";
    // One at a time: chunks that arrive during opening are added afterwards.
    let queue = Promise.resolve();
    const inOrder = (act: () => Promise<void>): void => {
      queue = queue.then(async () => {
        try {
          if (turn === this.turn) await act();
        } catch (thrown) {
          if (turn === this.turn) this.complain(name, reasonOf(thrown), () => this.openServed(name));
        }
      });
    };
    const showWhenReady = (): void => {
      if (viewer || !recording || recording.last < 0) return;
      viewer = this.show(recording, query, new ValueMaps(name), state, before);
    };
    const target: LiveTarget = {
      begin: (entries, size) =>
        inOrder(async () => {
          source = new LiveSource(new HttpSource(addressOf(name)), size);
          recording = await Recording.attach(source, entries.map(chunkOf));
          if (turn !== this.turn) return recording.close();
          showWhenReady();
        }),
      grow: (entries, size) => {
        inOrder(async () => {
          source?.grow(size);
          if (source) source.newest = entries.at(-1)?.[0] ?? -1;
          await recording?.add(entries.map(chunkOf));
          showWhenReady();
        });
      },
      bytes: (offset, bytes) => source?.push(offset, bytes),
      replaced: () => {
        if (viewer) before = { ...viewer.choices, selected: null, following: false, live: true };
        viewer = null;
        recording = null;
        this.notices.tell("The recording has been replaced by a new one; showing its beginning.", 8);
      },
      next: (next) => {
        this.notices.tell(`The run continues in ${next}.`, 8);
        this.served.set(next, true);
        this.watch(next, `?${new URLSearchParams({ run: next })}`, viewer ? { ...viewer.choices } : before);
      },
      complain: (message) => this.notices.tell(message, 8),
      fail: (message) => {
        if (viewer) this.notices.tell(message, 12);
        else this.complain(name, message, () => this.openServed(name));
      },
      state: (now) => {
        state = now;
        if (turn !== this.turn) return;
        viewer?.setConnection(now);
        if (!viewer && now !== "ended") this.start.showProgress(name, 0);
      },
    };
    this.live = new Live(liveAddressOf(name), target);
  }

  private show(
    recording: Recording,
    query: string,
    values: ValueMaps | null,
    connection: Connection,
    before: Partial<State> = {},
  ): Viewer {
    const camera = this.viewer?.stage.camera() ?? null;
    const same = query !== "" && window.location.search === query;
    // A link applies to the file it was made for, or to the file that is opened first.
    const keepLink = same || !this.viewer;
    this.viewer?.close();
    this.viewer = null;
    const address = `${window.location.pathname}${query}${keepLink ? window.location.hash : ""}`;
    window.history.replaceState(null, "", address);
    const scan = new Scan(recording);
    try {
      this.viewer = new Viewer({
        recording,
        scan,
        makeStage: this.makeStage,
        notices: this.notices,
        values,
        connection,
        before,
        camera: connection !== null ? camera : null,
        leave: () => this.leave(),
      });
    } catch (thrown) {
      scan.close();
      recording.close();
      document.querySelector(".viewer")?.remove();
      this.start.element.hidden = false;
      throw thrown;
    }
    this.start.element.hidden = true;
    this.start.showProgress("", null);
    const { session, stage } = this.viewer;
    window.embyr = { session, recording, stage, scan };
    return this.viewer;
  }

  /** Returns to the start page. */
  private leave(): void {
    this.turn++;
    this.live?.close();
    this.live = null;
    this.viewer?.close();
    this.viewer = null;
    delete window.embyr;
    window.history.replaceState(null, "", window.location.pathname);
    document.title = "Embyr";
    this.start.complain(null);
    this.start.element.hidden = false;
    void this.showOffered();
  }

  /** Lists the recordings of the server; returns their number. */
  private async showOffered(): Promise<number> {
    try {
      const offered = await offeredRecordings();
      if (!offered) return 0;
      this.served = new Map(offered.map(({ name, live }) => [name, live]));
      this.start.showOffered(offered);
      return offered.length;
    } catch {
      return 0;
    }
  }
}

function chunkOf([offset, length, first, ticks]: Entry): {
  offset: number;
  length: number;
  first: number;
  ticks: number;
} {
  return { offset, length, first, ticks };
}
