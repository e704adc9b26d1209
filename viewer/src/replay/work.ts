/** Processing of chunks away from the page: the same code runs in a worker, or on the page without one. */
import type { Header } from "../model/types";
import { payloadOf, type ChunkEntry } from "./chunks";
import { decodeFrames, type Decoded } from "./decode";
import { Summarizer, type Place, type Summary } from "./summary";
import type { Bytes } from "./source";

/** Initial data of a worker. */
export interface Shape {
  readonly header: Header;
  /** [height * width] materials. */
  readonly base: Uint8Array;
}

/** Requests and their results. `data`: chunk header and stored payload. */
export interface Tasks {
  decode(entry: ChunkEntry, data: Bytes): Promise<Decoded>;
  /** Computes the statistics of a chunk; to be called chunk by chunk, in order. */
  summarize(entry: ChunkEntry, data: Bytes): Promise<Summary>;
  /** [cells]: the statistics so far in the cells of a `Grid`. */
  heat(place: Place, population: number): Promise<Float32Array<ArrayBuffer>>;
}

export type Task = keyof Tasks;

export interface Order {
  readonly task: Task;
  readonly given: Parameters<Tasks[Task]>;
}

export type Product = Awaited<ReturnType<Tasks[Task]>>;

/** Processes requests one after another; statistics continue from the previous chunk. */
export class Workshop implements Tasks {
  private readonly summarizer: Summarizer;

  constructor(private readonly shape: Shape) {
    this.summarizer = new Summarizer(shape.header, shape.base);
  }

  async decode(entry: ChunkEntry, data: Bytes): Promise<Decoded> {
    const { payload } = await payloadOf(data, entry, this.shape.header);
    return decodeFrames(this.shape.header, entry.first, entry.ticks, payload);
  }

  async summarize(entry: ChunkEntry, data: Bytes): Promise<Summary> {
    return this.summarizer.add(await this.decode(entry, data));
  }

  async heat(place: Place, population: number): Promise<Float32Array<ArrayBuffer>> {
    return this.summarizer.heat(place, population);
  }

  do({ task, given }: Order): Promise<Product> {
    // The arguments match each task, which the types of a request do not express.
    return (this[task] as (...given: unknown[]) => Promise<Product>).call(this, ...given);
  }
}
