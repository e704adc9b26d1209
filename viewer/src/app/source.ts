import type { Bytes, Source } from "../replay/source";

/** Bytes pushed by the server that are kept until they are read. */
const MAX_BYTES = 32 << 20;
/** Time to wait for bytes that are about to arrive, milliseconds. */
const PATIENCE = 300;

/** A growing file: the server pushes its newest chunks; all others are read from `rest`. */
export class LiveSource implements Source {
  private readonly pushed = new Map<number, Uint8Array>();
  private kept = 0;
  private readonly waiting = new Map<number, () => void>();
  /** Offset of the newest chunk in the index, whose bytes may not have arrived yet. */
  newest = -1;

  constructor(
    private readonly rest: Source,
    private length: number,
  ) {}

  grow(size: number): void {
    this.length = size;
  }

  push(offset: number, bytes: Uint8Array): void {
    if (this.pushed.has(offset)) return;
    this.pushed.set(offset, bytes);
    this.kept += bytes.length;
    for (const [oldest, { length }] of this.pushed) {
      if (this.kept <= MAX_BYTES || oldest === offset) break;
      this.pushed.delete(oldest);
      this.kept -= length;
    }
    this.waiting.get(offset)?.();
  }

  size(): Promise<number> {
    return Promise.resolve(this.length);
  }

  async read(offset: number, length: number): Promise<Bytes> {
    if (offset === this.newest && !this.pushed.has(offset)) await this.wait(offset);
    const bytes = this.pushed.get(offset);
    return bytes?.length === length ? new Uint8Array(bytes) : this.rest.read(offset, length);
  }

  private wait(offset: number): Promise<void> {
    return new Promise((resolve) => {
      const before = this.waiting.get(offset);
      const done = (): void => {
        this.waiting.delete(offset);
        before?.();
        resolve();
      };
      this.waiting.set(offset, done);
      setTimeout(done, PATIENCE);
    });
  }
}
