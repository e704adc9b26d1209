import { el, setText } from "./dom";
import { percent } from "./format";

/** A named bar with its value, as "health 7 / 10". */
export class Meter {
  readonly element: HTMLElement;
  private readonly fill = el("i");
  private readonly text = el("span", { class: "value" });

  constructor(name: string, color: string) {
    this.element = el(
      "div",
      { class: "meter", style: `--color: ${color}` },
      el("span", { class: "name" }, name),
      el("span", { class: "trough" }, this.fill),
      this.text,
    );
  }

  set(value: number, max: number): void {
    this.fill.style.width = `${100 * Math.min(Math.max(value / Math.max(1, max), 0), 1)}%`;
    setText(this.text, `${value} / ${max}`);
  }
}

/** Named facts, one per line; facts that are null are hidden. */
export class Facts {
  readonly element = el("dl", { class: "facts" });
  private readonly entries = new Map<string, readonly [HTMLElement, HTMLElement]>();

  set(name: string, value: string | null): void {
    let entry = this.entries.get(name);
    if (!entry) {
      if (value === null) return;
      entry = [el("dt", {}, name), el("dd")];
      this.entries.set(name, entry);
      this.element.append(...entry);
    }
    for (const part of entry) part.hidden = value === null;
    setText(entry[1], value ?? "");
  }
}

/** A choice and its probability. */
export interface Choice {
  readonly name: string;
  /** 0 to 1. */
  readonly share: number;
  /** Whether this choice was made. */
  readonly made: boolean;
}

/** Bars of the choices of one head of a policy; if there are many, the most probable ones. */
export class ChoiceBars {
  readonly element: HTMLElement;
  private readonly rows: HTMLElement[] = [];
  private readonly body = el("div");

  constructor(name: string) {
    this.element = el("div", { class: "head-bars" }, el("h4", {}, name), this.body);
  }

  show(choices: readonly Choice[], max = 10): void {
    const shown =
      choices.length <= max
        ? choices
        : [...choices].sort((a, b) => b.share - a.share || Number(b.made) - Number(a.made)).slice(0, 5);
    while (this.rows.length < shown.length) {
      const row = el(
        "div",
        { class: "bar" },
        el("span", { class: "name" }),
        el("span", { class: "trough" }),
        el("b"),
      );
      row.children[1]?.append(el("i"));
      this.rows.push(row);
      this.body.append(row);
    }
    this.rows.forEach((row, k) => {
      const choice = shown[k];
      row.hidden = !choice;
      if (!choice) return;
      row.classList.toggle("made", choice.made);
      const [name, trough, value] = row.children;
      if (name) setText(name, choice.name);
      const fill = trough?.firstElementChild;
      if (fill instanceof HTMLElement) fill.style.width = `${100 * choice.share}%`;
      if (value) setText(value, percent(choice.share));
    });
  }
}
