/** Panels that can be opened and closed. */
export type PanelName = "agent" | "list" | "charts" | "map" | "options";

export const PANELS: readonly PanelName[] = ["agent", "list", "charts", "map", "options"];

/** On a narrow screen, such as a phone's, one panel at a time is open, as a sheet at the bottom. */
export const NARROW = "(max-width: 719px), (max-height: 420px)";

/** The open panels. */
export class Panels {
  private open = new Set<PanelName>();
  private readonly listeners = new Set<() => void>();

  constructor(private narrow: boolean) {
    if (!narrow) this.open.add("map");
  }

  isOpen(name: PanelName): boolean {
    return this.open.has(name);
  }

  set(name: PanelName, open: boolean): void {
    if (this.open.has(name) === open) return;
    if (open && this.narrow) this.open.clear();
    if (open) this.open.add(name);
    else this.open.delete(name);
    this.listeners.forEach((listener) => listener());
  }

  toggle(name: PanelName): void {
    this.set(name, !this.open.has(name));
  }

  /** The screen has become narrow or wide. */
  setNarrow(narrow: boolean): void {
    if (narrow === this.narrow) return;
    this.narrow = narrow;
    if (narrow) this.open = new Set([...this.open].filter((name) => name !== "map").slice(-1));
    else this.open.add("map");
    this.listeners.forEach((listener) => listener());
  }

  get isNarrow(): boolean {
    return this.narrow;
  }

  listen(listener: () => void): void {
    this.listeners.add(listener);
  }
}
