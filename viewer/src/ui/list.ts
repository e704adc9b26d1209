import { entityAt } from "../model/life";
import { populationOf } from "../model/slots";
import type { Frame } from "../model/types";
import { listAgents, parseQuery, sortKeys, valueOf, type SortKey } from "./agents";
import type { Context, Part } from "./context";
import { el, setText } from "./dom";
import { number } from "./format";

const NAMES: Readonly<Record<SortKey, readonly [string, string]>> = {
  id: ["id", "Id of the agent; never reused"],
  population: ["pop", "Population"],
  age: ["age", "Age, ticks"],
  health: ["hp", "Health"],
  food: ["food", "Food"],
  water: ["water", "Water"],
  gold: ["gold", "Gold"],
  levels: ["lvl", "Sum of its levels in all skills"],
};

/** All living agents, with sorting and search. Only the visible rows are in the DOM. */
export class AgentList implements Part {
  readonly element: HTMLElement;
  private readonly keys: readonly SortKey[];
  private readonly search: HTMLInputElement;
  private readonly count = el("span", { class: "count", role: "status" });
  private readonly heads = new Map<SortKey, HTMLButtonElement>();
  private readonly scroller: HTMLElement;
  private readonly body = el("div", { class: "rows" });
  private readonly rows: HTMLElement[] = [];
  private slots: Uint32Array = new Uint32Array(0);
  private frame: Frame | null = null;
  private key: SortKey = "id";
  private descending = false;

  constructor(private readonly context: Context) {
    this.keys = sortKeys(context.recording.header);
    this.search = el("input", {
      type: "search",
      placeholder: "id, or p3 for population 3",
      "aria-label": "Search by id or population",
    });
    this.search.addEventListener("input", () => this.refresh(true));
    const head = el("div", { class: "row heads", role: "row" });
    for (const key of this.keys) {
      const [name, title] = NAMES[key];
      const button = el("button", { type: "button", title: `${title}: click to sort` }, name);
      button.addEventListener("click", () => this.sortBy(key));
      this.heads.set(key, button);
      head.append(el("span", { role: "columnheader" }, button));
    }
    this.scroller = el("div", { class: "scroller", tabindex: 0, "aria-label": "Agents" }, this.body);
    this.scroller.addEventListener("scroll", () => this.showRows());
    this.scroller.addEventListener("keydown", (event) => this.selectByKey(event));
    this.element = el(
      "section",
      { class: "panel list", "aria-label": "Agents" },
      el("header", {}, el("h2", {}, "Agents"), this.count),
      el("div", { class: "search" }, this.search),
      el(
        "div",
        { class: "table", role: "table", style: `--columns: ${this.keys.length}` },
        head,
        this.scroller,
      ),
    );
  }

  show(frame: Frame): void {
    this.frame = frame;
    this.refresh();
  }

  private sortBy(key: SortKey): void {
    // Numbers are sorted from the largest, ids and populations from the smallest.
    this.descending = key === this.key ? !this.descending : key !== "id" && key !== "population";
    this.key = key;
    this.refresh(true);
  }

  private refresh(toTop = false): void {
    if (!this.frame) return;
    const { header } = this.context.recording;
    const query = parseQuery(this.search.value);
    this.slots =
      query === "unknown"
        ? new Uint32Array(0)
        : listAgents(this.frame, header, query, this.key, this.descending);
    this.search.setAttribute("aria-invalid", String(query === "unknown"));
    setText(this.count, `${number(this.slots.length)}${query ? " found" : " alive"}`);
    this.heads.forEach((button, key) => {
      const sorted = key === this.key ? (this.descending ? "descending" : "ascending") : "none";
      button.parentElement?.setAttribute("aria-sort", sorted);
    });
    if (toTop) this.scroller.scrollTop = 0;
    this.showRows();
  }

  private rowHeight(): number {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 26;
  }

  /** Fills the visible rows at the current scroll position. */
  private showRows(): void {
    const { frame } = this;
    if (!frame) return;
    const { recording, session, color } = this.context;
    const height = this.rowHeight();
    this.body.style.height = `${this.slots.length * height}px`;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / height) - 2);
    const wanted = Math.min(Math.ceil(this.scroller.clientHeight / height) + 4, this.slots.length - from);
    while (this.rows.length < wanted) this.rows.push(this.makeRow());
    const values = this.keys.map((key) => valueOf(frame, recording.header, key));
    const selected = session.state.selected;
    this.rows.forEach((row, k) => {
      const slot = k < wanted ? this.slots[from + k] : undefined;
      row.hidden = slot === undefined;
      if (slot === undefined) return;
      row.style.transform = `translateY(${(from + k) * height}px)`;
      row.dataset["slot"] = String(slot);
      row.style.setProperty("--color", color(populationOf(recording.header, slot)));
      const chosen = selected?.slot === slot && selected.entity === entityAt(frame, slot);
      row.setAttribute("aria-selected", String(chosen));
      this.keys.forEach((_, column) => {
        const cell = row.children[column];
        if (cell) setText(cell, String(values[column]?.(slot) ?? ""));
      });
    });
  }

  private makeRow(): HTMLElement {
    const row = el("div", { class: "row", role: "row" });
    for (const key of this.keys) row.append(el("span", { role: "cell", class: key }));
    row.addEventListener("click", () => this.context.actions.select(Number(row.dataset["slot"])));
    this.body.append(row);
    return row;
  }

  private selectByKey(event: KeyboardEvent): void {
    const direction = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!direction || !this.slots.length) return;
    event.preventDefault();
    event.stopPropagation();
    const at = this.slots.indexOf(this.context.session.state.selected?.slot ?? -1);
    const next = at < 0 ? 0 : Math.min(Math.max(at + direction, 0), this.slots.length - 1);
    this.context.actions.select(this.slots[next] ?? null);
    const height = this.rowHeight();
    const { scrollTop, clientHeight } = this.scroller;
    if (next * height < scrollTop) this.scroller.scrollTop = next * height;
    if ((next + 1) * height > scrollTop + clientHeight) {
      this.scroller.scrollTop = (next + 1) * height - clientHeight;
    }
  }
}
