/** What is done with a chunk away from the page: the same code runs in a worker, and where there is none. */
import type { Header } from "../model/types";
import { payloadOf, type ChunkEntry } from "./chunks";
import { decodeFrames, type Decoded } from "./decode";
import { Summariser, type Place, type Summary } from "./summary";
import type { Bytes } from "./source";

/** What a worker begins with. */
export interface Shape {
  readonly header: Header;
  /** [height * width] materials. */
  readonly base: Uint8Array;
}

/** What can be ordered, and what comes of it. `data`: chunk header and stored payload. */
export interface Tasks {
  decode(entry: ChunkEntry, data: Bytes): Promise<Decoded>;
  /** Counts what happens in a chunk; to be called chunk by chunk, in their order. */
  summarise(entry: ChunkEntry, data: Bytes): Promise<Summary>;
  /** [cells]: what was counted so far in the cells of a `Grid`. */
  heat(place: Place, population: number): Promise<Float32Array<ArrayBuffer>>;
}

export type Task = keyof Tasks;

export interface Order {
  readonly task: Task;
  readonly given: Parameters<Tasks[Task]>;
}

export type Product = Awaited<ReturnType<Tasks[Task]>>;

/** Does orders, one after another: what is counted goes on from the chunk before. */
export class Workshop implements Tasks {
  private readonly summariser: Summariser;

  constructor(private readonly shape: Shape) {
    this.summariser = new Summariser(shape.header, shape.base);
  }

  async decode(entry: ChunkEntry, data: Bytes): Promise<Decoded> {
    const { payload } = await payloadOf(data, entry, this.shape.header);
    return decodeFrames(this.shape.header, entry.first, entry.ticks, payload);
  }

  async summarise(entry: ChunkEntry, data: Bytes): Promise<Summary> {
    return this.summariser.add(await this.decode(entry, data));
  }

  async heat(place: Place, population: number): Promise<Float32Array<ArrayBuffer>> {
    return this.summariser.heat(place, population);
  }

  do({ task, given }: Order): Promise<Product> {
    // Of each task, what is given fits: the types of an order do not say so.
    return (this[task] as (...given: unknown[]) => Promise<Product>).call(this, ...given);
  }
}
