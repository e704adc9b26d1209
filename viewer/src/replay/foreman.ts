/** Decodes chunks in a worker, or on the page itself if no worker is available. */
import { ReplayError } from "./error";
import type { ChunkEntry } from "./chunks";
import type { Decoded } from "./decode";
import type { Bytes } from "./source";
import type { Place, Summary } from "./summary";
import { Workshop, type Order, type Product, type Shape, type Tasks } from "./work";

/** Message to the worker. */
export type Message = { readonly shape: Shape } | { readonly id: number; readonly order: Order };
/** Message from the worker. */
export type Answer =
  | "ready"
  | { readonly id: number; readonly product: Product }
  | { readonly id: number; readonly error: string };

interface Waiting {
  readonly order: Order;
  resolve(product: Product): void;
  reject(error: ReplayError): void;
}

/**
 * One worker, or none: pages from `file://` and old browsers have no module workers. Requests wait until the
 * worker has confirmed that it runs, because transferred data cannot be recovered.
 */
export class Foreman implements Tasks {
  private worker: Worker | undefined;
  private ready = false;
  private workshop: Workshop | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private orders = 0;

  constructor(private readonly shape: Shape) {
    this.hire();
  }

  /** There is no worker, so decoding blocks the page. */
  get isHere(): boolean {
    return this.workshop !== undefined;
  }

  /** Decodes a chunk; `data` (chunk header and payload) is transferred. Rejects with a ReplayError. */
  decode(entry: ChunkEntry, data: Bytes): Promise<Decoded> {
    return this.order({ task: "decode", given: [entry, data] }) as Promise<Decoded>;
  }

  summarize(entry: ChunkEntry, data: Bytes): Promise<Summary> {
    return this.order({ task: "summarize", given: [entry, data] }) as Promise<Summary>;
  }

  heat(place: Place, population: number): Promise<Float32Array<ArrayBuffer>> {
    return this.order({ task: "heat", given: [place, population] }) as Promise<Float32Array<ArrayBuffer>>;
  }

  /** Terminates the worker; pending results never arrive. */
  close(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.waiting.clear();
  }

  private order(order: Order): Promise<Product> {
    if (this.workshop) return this.workshop.do(order);
    return new Promise((resolve, reject) => {
      const id = this.orders++;
      this.waiting.set(id, { order, resolve, reject });
      if (this.ready) this.send(id, order);
    });
  }

  private send(id: number, { task, given }: Order): void {
    const transfer: Transferable[] = [];
    const parts = given.map((part) => {
      if (!(part instanceof Uint8Array)) return part;
      // Transferring a part of a larger buffer would transfer all of it.
      const whole = part.byteLength === part.buffer.byteLength ? part : part.slice();
      transfer.push(whole.buffer);
      return whole;
    });
    this.post({ id, order: { task, given: parts as Order["given"] } }, transfer);
  }

  private post(message: Message, transfer: Transferable[] = []): void {
    this.worker?.postMessage(message, transfer);
  }

  private hire(): void {
    if (typeof Worker === "undefined") return this.doItHere();
    try {
      this.worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    } catch {
      return this.doItHere();
    }
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.hear(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.lose();
    };
  }

  private hear(answer: Answer): void {
    if (answer === "ready") {
      this.ready = true;
      this.post({ shape: this.shape });
      this.waiting.forEach(({ order }, id) => this.send(id, order));
      return;
    }
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if ("error" in answer) waiting?.reject(new ReplayError(answer.error));
    else waiting?.resolve(answer.product);
  }

  /** The worker did not start, or failed: it may have run out of memory. */
  private lose(): void {
    const started = this.ready;
    this.worker?.terminate();
    this.worker = undefined;
    this.doItHere();
    this.waiting.forEach((waiting) => {
      if (started)
        waiting.reject(
          new ReplayError("The recording could not be decompressed; memory may be low. Try again."),
        );
      else this.order(waiting.order).then(waiting.resolve, waiting.reject);
    });
    this.waiting.clear();
  }

  private doItHere(): void {
    this.workshop = new Workshop(this.shape);
  }
}
