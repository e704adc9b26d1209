import { spawn, type ChildProcess } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { builtPage } from "./harness";

// The package's programs, started as from a shell.

const ROOT = join(import.meta.dirname, "../../..");

/** Python with this package; undefined unless tests/viewer/test_browser.py runs the tests. */
export const PYTHON = process.env["NMMO_GPU_PYTHON"];

/** A running program. */
export class Program {
  /** Its output so far, stdout and stderr. */
  output = "";
  /** Its exit status, or the name of the signal that ended it. */
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

  /** Suspends it and all processes that it has started until `resume`. */
  pause(): void {
    process.kill(-this.child.pid!, "SIGSTOP");
  }

  resume(): void {
    process.kill(-this.child.pid!, "SIGCONT");
  }

  /** Whether it, or a process that it has started, is still running. */
  get alive(): boolean {
    try {
      process.kill(-this.child.pid!, 0);
      return true;
    } catch {
      return false;
    }
  }

  /** Waits for a condition. Throws an Error with the program's output if it ends, or after 90 seconds. */
  async until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + 90_000;
    while (!holds()) {
      const over = this.child.exitCode !== null || this.child.signalCode !== null;
      if (over || performance.now() > end) throw new Error(`${what}: that did not happen. ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Kills it and all processes that it has started. */
  destroy(): void {
    if (this.alive) process.kill(-this.child.pid!, "SIGKILL");
  }
}

/** Starts `nmmo-gpu ARGUMENTS`; if it serves the page, it serves that of these sources. */
export function nmmo(...args: readonly string[]): Program {
  const script = ["-c", LAUNCHER, builtPage(), ...args];
  const path = [ROOT, process.env["PYTHONPATH"]].filter(Boolean).join(":");
  const env = { ...process.env, PYTHONPATH: path, PYTHONUNBUFFERED: "1", OMP_NUM_THREADS: "1" };
  // A process group of its own, so that a failing test leaves nothing running.
  return new Program(spawn(PYTHON ?? "python3", script, { cwd: ROOT, env, detached: true }));
}

/**
 * Runs `python -m nmmo_gpu` with a test's page, since the package's page may be built from other sources.
 * It ends when the test process ends, which closes its stdin.
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

/** Returns a free port. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
