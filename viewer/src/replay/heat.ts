/** Maps of numbers in a recording (`HEAT` chunks). */
import type { Heat } from "../model/types";
import { HEAT_LINE } from "./chunks";
import { ReplayError } from "./error";

/** A map in a recording. */
export type RecordedHeat = Heat & { readonly population: number; readonly tick: number };

/** Parses the payload of a `HEAT` chunk; throws a ReplayError if it is damaged. */
export function parseHeat(payload: Uint8Array, tick: number): RecordedHeat {
  const end = payload.subarray(0, HEAT_LINE).indexOf(10);
  let description: unknown;
  try {
    description = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(0, Math.max(0, end))),
    );
  } catch {
    throw damaged("it has no valid description");
  }
  if (typeof description !== "object" || description === null) throw damaged("it has no valid description");
  const fields = description as Record<string, unknown>;
  const whole = (name: string, min: number): number => {
    const value = fields[name];
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > 1 << 26) {
      throw damaged(`${name} is invalid`);
    }
    return value;
  };
  const [rows, cols] = [whole("rows", 1), whole("cols", 1)];
  const { name, about } = fields;
  if (typeof name !== "string" || typeof about !== "string") throw damaged("it has no name");
  const numbers = payload.slice(end + 1);
  if (numbers.length !== 4 * rows * cols) throw damaged("its size is wrong");
  const values = new Float32Array(numbers.buffer);
  return {
    name,
    about,
    rows,
    cols,
    stride: whole("stride", 1),
    population: whole("population", -1),
    tick,
    values,
  };
}

function damaged(why: string): ReplayError {
  return new ReplayError(`A map in the recording is damaged (${why}). Copy the file from its source again.`);
}
