import { moveName, tradeName, wordName } from "./format";
import type { Header } from "../model/types";
import type { Choice } from "./meters";

/** Names of the choices of a head. `targets` are the names of the rows of the entity table, nearest first. */
export function choiceNames(
  header: Header,
  head: string,
  choices: number,
  targets: readonly string[],
): string[] {
  const name = (k: number): string => {
    if (head === "move") return header.moves[k] ? moveName(header.moves[k]) : String(k);
    if (head === "style") return header.styles[k] ?? String(k);
    if (head === "target") return k === 0 ? "none" : (targets[k - 1] ?? `row ${k}`);
    if (head === "work") return header.works[k] ?? String(k);
    if (head === "trade") return tradeName(k, header.items);
    if (head === "price") return `${header.prices[k] ?? k} gold`;
    return head === "token" ? wordName(k) : String(k);
  };
  return Array.from({ length: choices }, (_, k) => name(k));
}

/** Choices of a head with their shares; `made` is the index of the choice that was made, if known. */
export function choicesOf(names: readonly string[], shares: Float64Array, made: number | null): Choice[] {
  return names.map((name, k) => ({ name, share: shares[k] ?? 0, made: k === made }));
}
