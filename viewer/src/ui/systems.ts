import { observed } from "../model/systems";
import type { Frame, Header, System } from "../model/types";
import { el, setText } from "./dom";
import { number } from "./format";

/** Maximum number of numbers that are shown of a field. */
const MOST = 12;

/** What an agent observes of a system, with the system's settings. */
export class SystemSection {
  readonly element: HTMLElement;
  private readonly values: readonly HTMLElement[];

  constructor(
    private readonly header: Header,
    private readonly system: System,
  ) {
    this.values = system.fields.map(() => el("dd"));
    const entries = system.fields.flatMap((field, k) => [
      el("dt", {}, spaced(field.name)),
      this.values[k]!,
      el("dd", { class: "about" }, field.about),
    ]);
    const settings = settingsText(system.settings);
    this.element = el(
      "section",
      { class: "system" },
      el("h3", {}, `System: ${spaced(system.name)}`),
      el("dl", { class: "facts" }, ...entries),
      ...(settings ? [el("p", { class: "small" }, settings)] : []),
    );
  }

  show(frame: Frame, slot: number): void {
    const { header, system } = this;
    this.element.hidden = slot >= header.agents;
    system.fields.forEach((field, k) =>
      setText(this.values[k]!, valueText(observed(header, frame, field, slot))),
    );
  }
}

/** The numbers of a field: "7", or "1, -2, 3"; of long ones the first. */
export function valueText(numbers: readonly number[]): string {
  if (numbers.length === 0) return "–";
  if (numbers.length === 1) return number(numbers[0]!);
  const rest = numbers.length > MOST ? `, … (${number(numbers.length)} numbers)` : "";
  return numbers.slice(0, MOST).join(", ") + rest;
}

/** "period 200, night 3": the settings that are numbers, texts, or on and off. */
export function settingsText(settings: Readonly<Record<string, unknown>>): string {
  return Object.entries(settings)
    .flatMap(([name, value]) => {
      if (typeof value === "boolean") return [`${spaced(name)} ${value ? "on" : "off"}`];
      return typeof value === "number" || typeof value === "string" ? [`${spaced(name)} ${value}`] : [];
    })
    .join(", ");
}

/** Says that systems change what agents see; empty if none does. */
export function editingText(systems: readonly System[]): string {
  const names = systems.filter(({ edits }) => edits).map(({ name }) => spaced(name));
  return names.length ? `Shown without what ${names.join(" and ")} changes in the observation.` : "";
}

function spaced(name: string): string {
  return name.replaceAll("_", " ");
}
