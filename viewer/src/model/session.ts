import type { Overlay, Selection } from "./types";

/** The state of the viewer, shared by its parts. */
export interface State {
  /** Current moment, ticks: 12.5 is half way from the end of tick 12 to the end of tick 13. */
  time: number;
  playing: boolean;
  /** Ticks shown per second are this times `ticksPerSecond`. */
  speed: number;
  ticksPerSecond: number;
  /** Follows a live world as it continues; seeking back turns it off. */
  live: boolean;
  selected: Selection | null;
  /** The camera follows the selected entity. */
  following: boolean;
  overlay: Overlay;
  /** Population whose visits or values are shown over the terrain; -1 for all. */
  overlayPopulation: number;
  /** 0 to 1. */
  overlayOpacity: number;
  bars: boolean;
  names: boolean;
  effects: boolean;
  trees: boolean;
  dark: boolean;
}

export const INITIAL: Readonly<State> = {
  time: 0,
  playing: true,
  speed: 1,
  ticksPerSecond: 4,
  live: false,
  selected: null,
  following: false,
  overlay: "none",
  overlayPopulation: -1,
  overlayOpacity: 0.7,
  bars: true,
  names: true,
  effects: true,
  trees: true,
  dark: true,
};

type Listener = (state: Readonly<State>) => void;

/** Holds the state, and notifies listeners of changes to the fields that they listen to. */
export class Session {
  private current: State;
  private readonly listeners = new Map<keyof State, Set<Listener>>();

  constructor(initial: Partial<State> = {}) {
    this.current = { ...INITIAL, ...initial };
  }

  get state(): Readonly<State> {
    return this.current;
  }

  /** Changes some fields; each affected listener is called once. */
  change(patch: Partial<State>): void {
    const concerned = new Set<Listener>();
    for (const key of Object.keys(patch) as (keyof State)[]) {
      if (!Object.is(this.current[key], patch[key])) {
        this.listeners.get(key)?.forEach((listener) => concerned.add(listener));
      }
    }
    this.current = { ...this.current, ...patch };
    concerned.forEach((listener) => listener(this.current));
  }

  /** Calls the listener whenever one of the fields changes; returns a function that stops this. */
  listen(keys: readonly (keyof State)[], listener: Listener): () => void {
    for (const key of keys) {
      const set = this.listeners.get(key) ?? new Set<Listener>();
      this.listeners.set(key, set.add(listener));
    }
    return () => keys.forEach((key) => this.listeners.get(key)?.delete(listener));
  }
}
