import { spawn, type ChildProcess } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { builtPage } from "./harness";

// The package's own programs, as a shell would start them.

const ROOT = join(import.meta.dirname, "../../..");

/** Python with this package; undefined unless tests/viewer/test_browser.py runs the tests. */
export const PYTHON = process.env["NMMO_GPU_PYTHON"];

/** A program that was started. */
export class Program {
  /** What it has said, both streams. */
  output = "";
  /** Its status, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;

  constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (data: Buffer) => (this.output += data.toString()));
    }
    this.ended = new Promise((resolve) =>
      child.once("close", (code, signal) => resolve(code ?? signal ?? -1)),
    );
  }

  signal(name: "SIGINT" | "SIGTERM" | "SIGKILL"): void {
    this.child.kill(name);
  }

  /** Stops it, and all that it has started, until `resume`. */
  pause(): void {
    process.kill(-this.child.pid!, "SIGSTOP");
  }

  resume(): void {
    process.kill(-this.child.pid!, "SIGCONT");
  }

  /** Whether it, or a process that it has started, is still there. */
  get alive(): boolean {
    try {
      process.kill(-this.child.pid!, 0);
      return true;
    } catch {
      return false;
    }
  }

  /** Waits until something holds; an Error with what the program has said if it ends, or a minute and a half has passed. */
  async until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + 90_000;
    while (!holds()) {
      const over = this.child.exitCode !== null || this.child.signalCode !== null;
      if (over || performance.now() > end) throw new Error(`${what}: that did not happen. ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends it, and all that it has started, at once. */
  destroy(): void {
    if (this.alive) process.kill(-this.child.pid!, "SIGKILL");
  }
}

/** Starts `nmmo-gpu ARGUMENTS`; where it serves the page, that of these sources. */
export function nmmo(...args: readonly string[]): Program {
  const script = ["-c", LAUNCHER, builtPage(), ...args];
  const path = [ROOT, process.env["PYTHONPATH"]].filter(Boolean).join(":");
  const env = { ...process.env, PYTHONPATH: path, PYTHONUNBUFFERED: "1", OMP_NUM_THREADS: "1" };
  // A group of its own: a test that fails leaves nothing running.
  return new Program(spawn(PYTHON ?? "python3", script, { cwd: ROOT, env, detached: true }));
}

/**
 * What `python -m nmmo_gpu` does, with the page of a test: the package's own may be that of other sources. It ends
 * when whoever tests is gone, which closes its stdin.
 */
const LAUNCHER = `
import os
import sys
import threading
from pathlib import Path
from nmmo_gpu.cli import main as cli
from nmmo_gpu.view import page

def outlive_nobody():
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=outlive_nobody, daemon=True).start()
page._FOLDER = Path(sys.argv.pop(1))
cli.main()
`;

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
