/** What is done with a chunk away from the page: the same code runs in a worker, and where there is none. */
import type { Header } from "../model/types";
import { payloadOf, type ChunkEntry } from "./chunks";
import { decodeFrames, type Decoded } from "./decode";
import { Summariser, type Summary } from "./summary";
import type { Bytes } from "./source";

/** What a worker begins with. */
export interface Shape {
  readonly header: Header;
  /** [height * width] materials. */
  readonly base: Uint8Array;
}

/** A chunk to decode, or to count. */
export interface Order {
  readonly task: "decode" | "summarise";
  readonly entry: ChunkEntry;
  /** Chunk header and stored payload. */
  readonly data: Bytes;
}

export type Product = Decoded | Summary;

/** Does orders, one after another: what is counted goes on from the chunk before. */
export class Workshop {
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
}
