/** Data that `nmmo-gpu view` provides in addition to the recordings. */
import type { Heat } from "../model/types";
import { reasonOf } from "../replay/error";
import { parseHeat } from "../replay/heat";
import { number } from "../ui/format";
import type { Offered } from "../ui/start";

/** Recordings that the page's server offers; null for a plain file server, or none. */
export async function offeredRecordings(): Promise<Offered[] | null> {
  if (!(await isServed())) return null;
  const response = await fetch("api/recordings");
  if (!response.ok) return null;
  const list: unknown = await response.json();
  if (!Array.isArray(list)) return null;
  return list.flatMap((entry: unknown) => {
    const info = fields(entry);
    const name = info["name"];
    if (typeof name !== "string") return [];
    const text = (key: string): string => (typeof info[key] === "string" ? info[key] : "");
    const count = (key: string): number => (typeof info[key] === "number" ? info[key] : 0);
    const [first, last] = [count("first"), count("last")];
    const ticks = last >= first ? `ticks ${number(first)} to ${number(last)}` : "no ticks yet";
    const about = `${name} · ${ticks} · ${(count("bytes") / (1 << 20)).toFixed(1)} MiB`;
    return [{ name, title: text("title"), about, live: info["growing"] === true }];
  });
}

/** Whether the page comes from that server; a plain file server gets no such requests. */
async function isServed(): Promise<boolean> {
  if (!window.location.protocol.startsWith("http")) return false;
  const { headers } = await fetch(document.baseURI, { method: "HEAD" });
  return headers.has("x-nmmo-gpu");
}

/** Address of a recording's bytes. */
export function addressOf(name: string): string {
  return new URL(`recordings/${name.split("/").map(encodeURIComponent).join("/")}`, document.baseURI).href;
}

/** Address of its live stream. */
export function liveAddressOf(name: string): string {
  const address = new URL(`live?name=${encodeURIComponent(name)}`, document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

/** Ticks, and milliseconds, after which a map is requested again. */
const AGED_TICKS = 500;
const AGED = 20_000;

interface Asked {
  readonly tick: number;
  readonly at: number;
  heat: Heat | null;
  note: string;
  waiting: boolean;
}

/** Value maps that the server computes from the run's checkpoint. */
export class ValueMaps {
  private readonly asked = new Map<number, Asked>();
  private readonly listeners = new Set<() => void>();

  constructor(private readonly name: string) {}

  /** The map of a population for about a tick, or a message while there is none. */
  get(population: number, tick: number): { readonly heat: Heat | null; readonly note: string } {
    const known = this.asked.get(population);
    const now = performance.now();
    const aged = known && Math.abs(tick - known.tick) > AGED_TICKS && now - known.at > AGED;
    if (!known || (aged && !known.waiting)) {
      const fresh: Asked = {
        tick,
        at: now,
        heat: known?.heat ?? null,
        note: "The value map is being computed…",
        waiting: true,
      };
      this.asked.set(population, fresh);
      void this.fetch(population, fresh);
      return fresh;
    }
    return known;
  }

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private async fetch(population: number, asked: Asked): Promise<void> {
    const query = new URLSearchParams({
      name: this.name,
      population: String(population),
      tick: String(asked.tick),
    });
    try {
      const response = await fetch(`api/value?${query}`);
      if (response.ok) {
        asked.heat = parseHeat(new Uint8Array(await response.arrayBuffer()), asked.tick);
        asked.note = "";
      } else asked.note = await reason(response);
    } catch (thrown) {
      asked.note = `No value map (${reasonOf(thrown)}).`;
    }
    asked.waiting = false;
    this.listeners.forEach((listener) => listener());
  }
}

/** The server's message, or a default one. */
async function reason(response: Response): Promise<string> {
  const text = await response.text();
  return text && text.length < 400 && !text.includes("<") ? text : "There is no value map for this run.";
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
