/** A chunk of the file: [offset, length, first tick, ticks]; bytes, bytes, tick, ticks. */
export type Entry = readonly [number, number, number, number];

/** Receiver of the server's messages. */
export interface LiveTarget {
  /** The file's index, the first time or after the file has been replaced. */
  begin(entries: readonly Entry[], size: number): void;
  /** More chunks have been written. */
  grow(entries: readonly Entry[], size: number): void;
  /** Bytes of the file from an offset on: a chunk with its header. */
  bytes(offset: number, bytes: Uint8Array): void;
  /** The file has been replaced by another of the same name; `begin` follows. */
  replaced(): void;
  /** The run continues in another file; the connection ends. */
  next(name: string): void;
  /** The server reports an error; the connection is retried. */
  complain(message: string): void;
  /** The server refuses the connection, which ends. */
  fail(message: string): void;
  /** State of the connection. */
  state(state: LiveState): void;
}

export type LiveState = "connecting" | "live" | "ended";

/** Browser functions that the connection uses; tests replace them. */
export interface Surroundings {
  /** Opens a connection; returns a function that closes it, after which nothing more is received. */
  open(address: string, receive: (data: unknown) => void, lost: () => void): () => void;
  /** Calls a function after some milliseconds; returns a function that cancels the call. */
  later(act: () => void, milliseconds: number): () => void;
}

export const browser: Surroundings = {
  open: (address, receive, lost) => {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => receive(data);
    socket.onclose = lost;
    return () => {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    };
  },
  later: (act, milliseconds) => {
    const timer = window.setTimeout(act, milliseconds);
    return () => window.clearTimeout(timer);
  },
};

const SHORTEST = 500;
const LONGEST = 5000;
/** Number of index entries that must match for the file to be the same. */
const COMPARED = 16;

type Message =
  | { readonly type: "index"; readonly entries: readonly Entry[]; readonly size: number }
  | { readonly type: "next"; readonly name: string }
  | { readonly type: "error"; readonly message: string };

/**
 * The connection to a server that streams a growing file. After a failure it reconnects, first after half a
 * second, then after twice as long each time, up to five seconds; received data is kept.
 */
export class Live {
  private entries: Entry[] = [];
  /** Of the file, bytes. */
  private size = 0;
  private begun = false;
  private first = true;
  private wait = SHORTEST;
  private closeSocket: (() => void) | null = null;
  private calledOff: (() => void) | null = null;
  private ended = false;

  constructor(
    private readonly address: string,
    private readonly target: LiveTarget,
    private readonly surroundings: Surroundings = browser,
  ) {
    this.connect();
  }

  /** Closes the connection permanently. */
  close(): void {
    this.finish();
  }

  private connect(): void {
    this.calledOff = null;
    this.first = true;
    this.target.state("connecting");
    this.closeSocket = this.surroundings.open(
      this.address,
      (data) => this.receive(data),
      () => this.lost(),
    );
  }

  private lost(): void {
    this.closeSocket = null;
    if (this.ended) return;
    this.target.state("connecting");
    this.calledOff = this.surroundings.later(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST);
  }

  private finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.calledOff?.();
    this.closeSocket?.();
    this.closeSocket = null;
    this.target.state("ended");
  }

  private receive(data: unknown): void {
    if (data instanceof ArrayBuffer) return this.receiveBytes(data);
    const message = parse(data);
    if (message === null) return;
    if (message.type === "index") this.receiveIndex(message.entries, message.size);
    else if (message.type === "error" && !this.first) {
      // Retry from the shortest delay: the file may have been restarted.
      this.wait = LONGEST;
      this.target.complain(message.message);
    } else {
      // Before the end, which takes live mode from the target.
      if (message.type === "next") this.target.next(message.name);
      this.finish();
      if (message.type === "error") this.target.fail(message.message);
    }
  }

  private receiveBytes(data: ArrayBuffer): void {
    if (!this.begun || data.byteLength < 8) return;
    const offset = Number(new DataView(data).getBigUint64(0, true));
    this.target.bytes(offset, new Uint8Array(data, 8));
  }

  /** The first index of a connection is complete; later ones hold only new entries. */
  private receiveIndex(entries: readonly Entry[], size: number): void {
    const whole = this.first;
    this.first = false;
    this.wait = SHORTEST;
    if (!this.begun || (whole && (size < this.size || !continues(this.entries, entries)))) {
      if (this.begun) this.target.replaced();
      this.begun = true;
      this.size = size;
      this.entries = [...entries];
      this.target.begin(entries, size);
    } else {
      const end = this.entries.at(-1)?.[0] ?? -1;
      const fresh = entries.filter(([offset]) => offset > end);
      this.entries.push(...fresh);
      this.size = Math.max(size, this.size);
      if (fresh.length) this.target.grow(fresh, this.size);
    }
    this.target.state("live");
  }
}

/** Whether an index belongs to the same file; a long index arrives in several messages. */
function continues(before: readonly Entry[], now: readonly Entry[]): boolean {
  const both = Math.min(before.length, now.length);
  const compared = [...before.slice(0, Math.min(COMPARED, both)).keys(), both - 1].filter((k) => k >= 0);
  return compared.every((k) => before[k]?.every((value, part) => value === now[k]?.[part]));
}

function parse(data: unknown): Message | null {
  if (typeof data !== "string") return null;
  try {
    const message: unknown = JSON.parse(data);
    const known = typeof message === "object" && message !== null && "type" in message;
    return known && ["index", "next", "error"].includes(String(message.type)) ? (message as Message) : null;
  } catch {
    return null;
  }
}
