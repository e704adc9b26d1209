import { moveName, tradeName, wordName } from "./format";
import type { Frame, Header } from "../model/types";
import type { Choice } from "./meters";

/** What the choices of a head are called. `targets` names the rows of who was seen, nearest first. */
export function choiceNames(header: Header, head: string, choices: number, targets: readonly string[]): string[] {
  const name = (k: number): string => {
    if (head === "move") return header.moves[k] ? moveName(header.moves[k]) : String(k);
    if (head === "style") return header.styles[k] ?? String(k);
    if (head === "target") return k === 0 ? "nobody" : (targets[k - 1] ?? `row ${k}`);
    if (head === "work") return header.works[k] ?? String(k);
    if (head === "trade") return tradeName(k, header.items);
    if (head === "price") return `${header.prices[k] ?? k} gold`;
    return head === "token" ? wordName(k) : String(k);
  };
  return Array.from({ length: choices }, (_, k) => name(k));
}

/** Probabilities of each head for a slot, or null where they were not recorded. */
export function probabilities(frame: Frame, header: Header, slot: number): Map<string, number[]> | null {
  const numbers = frame.column("probability");
  const column = header.columns.find(({ name }) => name === "probability");
  if (!numbers || !column || slot >= header.agents) return null;
  const heads = new Map<string, number[]>();
  let at = slot * column.width;
  for (const [head, choices] of Object.entries(header.heads)) {
    heads.set(head, Array.from(numbers.subarray(at, at + choices), (number) => number * column.scale));
    at += choices;
  }
  return heads;
}

/** The estimate of a slot's value, or null where it was not recorded. */
export function valueOfPolicy(frame: Frame, header: Header, slot: number): number | null {
  const number = slot < header.agents ? frame.column("value")?.[slot] : undefined;
  const scale = header.columns.find(({ name }) => name === "value")?.scale ?? 1;
  return number === undefined ? null : number * scale;
}

/** Choices of a head with their shares; `made` is the index of what was done, if that is known. */
export function choicesOf(names: readonly string[], shares: Float64Array, made: number | null): Choice[] {
  return names.map((name, k) => ({ name, share: shares[k] ?? 0, made: k === made }));
}
