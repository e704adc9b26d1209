import { entityAt, findDeath, lifeAt } from "../model/life";
import { attackMap, perceive, probabilitiesOf, shownMaterial, valueOf, type Seen } from "../model/perception";
import { isAlive, isNpc, maxHealth, nameOf, numberOf, populationOf } from "../model/slots";
import type { Frame, Header, Selection } from "../model/types";
import type { Context, Part } from "./context";
import { el, iconButton, setIcon, setText, textButton } from "./dom";
import { materialName, number, short, tradeName, wordName } from "./format";
import { ChoiceBars, Facts, Meter } from "./meters";
import { choiceNames, choicesOf } from "./policy";
import { Around, direction } from "./surroundings";
import { editingText, SystemSection } from "./systems";

/** Side length of the small maps, CSS pixels. */
const WINDOW = 132;
const DASHES = [[], [5, 3], [2, 2]] as const;

/** Time and cause of the selected agent's death; null while it is being looked up. */
interface Death {
  readonly selection: Selection;
  tick: number | null;
  cause: string;
}

/** Details of the selected entity. After its death the last state is shown until another one is selected. */
export class AgentPanel implements Part {
  readonly element: HTMLElement;
  private readonly title = el("h2");
  private readonly subtitle = el("p", { class: "subtitle" });
  private readonly fate = el("p", { class: "fate", role: "status" });
  private readonly successor: HTMLButtonElement;
  private readonly follow: HTMLButtonElement;
  private readonly meters: readonly (readonly [string, Meter])[];
  private readonly facts = new Facts();
  private readonly skills = el("div", { class: "chips" });
  private readonly inventory = el("div", { class: "chips" });
  private readonly window = el("canvas", { role: "img", "aria-label": "Window: the tiles it can see" });
  private readonly attacks = el("canvas", {
    role: "img",
    "aria-label": "Attack map: targets in reach",
  });
  private readonly attack = el("p", { class: "small" });
  private readonly seen = el("div", { class: "seen" });
  private readonly value = new Facts();
  private readonly when = el("p", { class: "small" });
  private readonly heads = new Map<string, ChoiceBars>();
  /** What it observes of each system. */
  private readonly systems: readonly SystemSection[];
  private readonly sections: Readonly<Record<"skills" | "inventory" | "policy", HTMLElement>>;
  private readonly body: HTMLElement;
  private readonly nobody = el(
    "p",
    { class: "empty" },
    "No agent selected. Click an agent, or choose one from the list.",
  );
  /** The newest displayed frame in which the selected entity was alive, not after the current moment. */
  private last: { readonly selection: Selection; readonly frame: Frame } | null = null;
  private death: Death | null = null;

  constructor(private readonly context: Context) {
    const { actions, recording, panels } = context;
    this.successor = textButton("", "Select the slot's current agent", () => {
      const { selected } = context.session.state;
      if (selected) actions.select(selected.slot);
    });
    this.follow = iconButton("follow", "Follow with the camera", () => actions.toggleFollow(), "F");
    this.meters = [
      ["health", new Meter("health", "var(--health)")],
      ["food", new Meter("food", "var(--food)")],
      ["water", new Meter("water", "var(--water)")],
    ];
    const section = (title: string, ...content: HTMLElement[]): HTMLElement =>
      el("section", {}, el("h3", {}, title), ...content);
    const policy = section("Policy output", this.when, this.value.element);
    for (const head of Object.keys(recording.header.heads)) {
      const bars = new ChoiceBars(head === "token" ? "word" : head);
      this.heads.set(head, bars);
      policy.append(bars.element);
    }
    this.systems = recording.header.systems
      .filter(({ fields }) => fields.length)
      .map((system) => new SystemSection(recording.header, system));
    const editing = editingText(recording.header.systems);
    this.sections = {
      skills: section("Skills", this.skills),
      inventory: section("Inventory", this.inventory),
      policy,
    };
    this.body = el(
      "div",
      { class: "body" },
      el("div", {}, this.fate, this.successor),
      el("div", { class: "meters" }, ...this.meters.map(([, meter]) => meter.element)),
      this.facts.element,
      this.sections.skills,
      this.sections.inventory,
      el(
        "section",
        { class: "windows" },
        el("figure", {}, this.window, el("figcaption", {}, "current view")),
        el("figure", {}, this.attacks, el("figcaption", {}, "attack map")),
      ),
      this.attack,
      ...(editing ? [el("p", { class: "small" }, editing)] : []),
      section("Visible entities", this.seen),
      ...this.systems.map(({ element }) => element),
      policy,
    );
    this.element = el(
      "section",
      { class: "panel agent", "aria-label": "Selected" },
      el(
        "header",
        {},
        el("div", { class: "who" }, this.title, this.subtitle),
        iconButton("previous", "Previous", () => actions.neighbor(-1), "["),
        iconButton("next", "Next", () => actions.neighbor(1), "]"),
        this.follow,
        iconButton(
          "close",
          "Deselect",
          () => {
            actions.select(null);
            panels.set("agent", false);
          },
          "Escape",
        ),
      ),
      this.nobody,
      this.body,
    );
  }

  show(frame: Frame): void {
    const { selected, following } = this.context.session.state;
    this.nobody.hidden = !!selected;
    this.body.hidden = !selected;
    this.follow.setAttribute("aria-pressed", String(following));
    setIcon(this.follow, "follow", following ? "Stop following" : "Follow with the camera", "F");
    if (!selected) {
      setText(this.title, "No selection");
      setText(this.subtitle, "");
      this.element.style.removeProperty("--color");
      return;
    }
    const life = lifeAt(frame, selected);
    if (life === "alive") {
      this.last = { selection: selected, frame };
      this.death = null;
    }
    const kept = this.last;
    const same = kept && kept.selection.slot === selected.slot && kept.selection.entity === selected.entity;
    const known = life === "alive" ? frame : same && kept.frame.tick <= frame.tick ? kept.frame : null;
    this.showWho(selected, life === "alive" ? null : life, frame, known);
    for (const part of [...this.body.children].slice(1)) (part as HTMLElement).hidden = !known;
    if (known) this.showState(selected, known);
  }

  private showWho(
    selected: Selection,
    gone: "unborn" | "dead" | null,
    frame: Frame,
    known: Frame | null,
  ): void {
    const { recording, color } = this.context;
    const { header } = recording;
    const { slot, entity } = selected;
    setText(this.title, nameOf(header, slot, entity));
    const agent = !isNpc(header, slot);
    setText(this.subtitle, agent ? `population ${populationOf(header, slot)}` : "NPC");
    if (agent) this.element.style.setProperty("--color", color(populationOf(header, slot)));
    else this.element.style.removeProperty("--color");
    this.fate.hidden = !gone;
    const here = entityAt(frame, slot);
    const heir = gone === "dead" && here !== entity && isAlive(frame, slot);
    this.successor.hidden = !heir;
    if (heir) setText(this.successor, `Slot reused by ${nameOf(header, slot, here)}`);
    if (gone === "unborn") setText(this.fate, "Not born yet at this tick.");
    if (gone === "dead") setText(this.fate, this.obituary(selected, frame, known));
  }

  /** Time and cause of the selected entity's death; looked up if it was not displayed. */
  private obituary(selected: Selection, frame: Frame, known: Frame | null): string {
    if (this.death?.selection !== selected) {
      const death: Death = { selection: selected, tick: null, cause: "" };
      this.death = death;
      void this.lookUp(death).catch(() => undefined);
    }
    const { tick, cause } = this.death;
    if (tick === null || tick > frame.tick) return "Dead.";
    const reason = cause && cause !== "none" ? ` of ${cause}` : "";
    const state = known ? ` Last state: tick ${number(known.tick)}.` : "";
    return `Died${reason} at tick ${number(tick)}.${state}`;
  }

  /** Finds the tick of death, and the frame before it: the last state, even if it was never displayed. */
  private async lookUp(death: Death): Promise<void> {
    const { recording } = this.context;
    const tick = await findDeath(recording, death.selection);
    if (tick === null) return;
    const dying = await recording.load(tick);
    const before = tick > recording.first ? await recording.load(tick - 1) : null;
    const died = entityAt(dying, death.selection.slot) === death.selection.entity;
    death.cause = died ? (recording.header.causes[numberOf(dying, "cause", death.selection.slot)] ?? "") : "";
    death.tick = tick;
    if (before && lifeAt(before, death.selection) === "alive") {
      this.last = { selection: death.selection, frame: before };
    }
  }

  private showState(selected: Selection, frame: Frame): void {
    const { recording } = this.context;
    const { header } = recording;
    const { slot } = selected;
    const agent = slot < header.agents;
    for (const [name, meter] of this.meters) {
      meter.element.hidden = !agent && name !== "health";
      meter.set(numberOf(frame, name, slot), mostOf(header, frame, slot, name));
    }
    const [row, col] = [numberOf(frame, "row", slot), numberOf(frame, "col", slot)];
    const material =
      header.materials[shownMaterial(header, recording.base, frame.usedUp, row * header.width + col)];
    const has = (name: string): boolean => agent && frame.column(name) !== undefined;
    this.facts.set("age", ticks(numberOf(frame, "age", slot)));
    this.facts.set("position", `row ${row}, column ${col} (${materialName(material?.name ?? "?")})`);
    const freeze = numberOf(frame, "freeze", slot);
    this.facts.set("frozen", freeze ? `for ${ticks(freeze)}` : "no");
    const damage = numberOf(frame, "damage", slot);
    this.facts.set("damage taken", damage ? String(damage) : "none");
    this.facts.set("gold", has("gold") ? number(numberOf(frame, "gold", slot)) : null);
    this.facts.set("wears", has("worn") ? wears(header, frame, slot) : null);
    this.facts.set("offer", has("offer") ? offer(header, frame, slot) : null);
    this.facts.set("work", has("work") ? (header.works[numberOf(frame, "work", slot)] ?? "?") : null);
    const speaks = has("token") && header.words > 0;
    this.facts.set("token", speaks ? wordName(numberOf(frame, "token", slot)) : null);
    this.facts.set("slot", String(slot));
    this.showSkills(frame, slot);
    this.showInventory(frame, slot);
    this.showSurroundings(frame, slot);
    for (const system of this.systems) system.show(frame, slot);
    const before = this.context.before(frame);
    this.showAttacks(frame, slot, before);
    this.showPolicy(frame, slot, before);
  }

  private showSkills(frame: Frame, slot: number): void {
    const { skills } = this.context.recording.header;
    const levels = frame.column("level");
    this.sections.skills.hidden = !levels || !skills.length;
    if (!levels || !skills.length) return;
    chips(
      this.skills,
      skills.map((name, k) => [name, levels[slot * skills.length + k] ?? 0]),
    );
  }

  private showInventory(frame: Frame, slot: number): void {
    const { header } = this.context.recording;
    const numbers = slot < header.agents ? frame.column("inventory") : undefined;
    this.sections.inventory.hidden = !numbers || !header.items.length;
    if (!numbers) return;
    const held = header.items.map(
      ({ name }, k) => [name, numbers[slot * header.items.length + k] ?? 0] as const,
    );
    chips(
      this.inventory,
      held.filter(([, amount]) => amount > 0),
    );
    if (!this.inventory.childElementCount) this.inventory.append(el("span", { class: "none" }, "nothing"));
  }

  private showSurroundings(frame: Frame, slot: number): void {
    const { recording, color, actions } = this.context;
    const { header, base } = recording;
    const now = perceive(header, base, frame, slot);
    if (!now) return;
    const view = new Around(this.window, header, now, header.vision, WINDOW);
    view.terrain();
    view.everybody(color);
    buttons(
      this.seen,
      now.entities.map((other) => this.seenRow(frame, other)),
    );
    if (!now.entities.length) this.seen.replaceChildren(el("span", { class: "none" }, "none"));
    this.seen.onclick = (event) => {
      const row = event.target instanceof Element ? event.target.closest("button") : null;
      if (row) actions.select(Number(row.dataset["slot"]));
    };
  }

  private seenRow(frame: Frame, { slot, rowOffset, colOffset }: Seen): readonly [string, string, string] {
    const { recording, color } = this.context;
    const { header } = recording;
    const paint = isNpc(header, slot) ? "var(--text-dim)" : color(populationOf(header, slot));
    const who = nameOf(header, slot, entityAt(frame, slot));
    const health = numberOf(frame, "health", slot);
    return [String(slot), paint, `${who} · ${direction(rowOffset, colOffset)} · health ${health}`];
  }

  /** Targets in reach at the start of the tick, which is what counts for an attack. */
  private showAttacks(frame: Frame, slot: number, before: Frame | undefined): void {
    const { recording, color } = this.context;
    const { header, base } = recording;
    const newborn = !before || entityAt(before, slot) !== entityAt(frame, slot);
    const began = newborn ? frame : before;
    const seen = perceive(header, base, began, slot);
    if (!seen) return;
    const style = numberOf(frame, "style", slot);
    const probabilities = probabilitiesOf(header, frame, slot);
    const map = new Around(this.attacks, header, seen, Math.max(...header.reach, 1) + 1, WINDOW);
    map.terrain(0.55);
    const shares =
      probabilities && !newborn
        ? attackMap(header, seen, probabilities, style)
        : reachable(seen.entities, seen.side);
    map.shares(shares, "#ff5a3c");
    map.everybody(color);
    header.reach.forEach((reach, k) => map.outline(reach, "#ffffffcc", 1, DASHES[k % DASHES.length]));
    const target = numberOf(frame, "target", slot);
    const hit = seen.entities.find((other) => other.slot === target);
    if (hit && !newborn) map.line(hit.rowOffset, hit.colOffset, "#ff5a3c");
    const reach = header.styles.map((name, k) => `${name} ${header.reach[k]}`).join(", ");
    const when = `In tick ${number(frame.tick)}`;
    const whom = target < 0 ? "no target" : nameOf(header, target, entityAt(began, target));
    const how =
      target < 0
        ? ""
        : ` by ${header.styles[style]}${hit?.reachable[style] ? "" : ", which was out of reach"}`;
    setText(
      this.attack,
      newborn ? `Reach: ${reach}.` : `${when} it attacked ${whom}${how}. Reach: ${reach}.`,
    );
  }

  private showPolicy(frame: Frame, slot: number, before: Frame | undefined): void {
    const { header, base } = this.context.recording;
    const heads = probabilitiesOf(header, frame, slot);
    const value = valueOf(header, frame, slot);
    this.sections.policy.hidden = !heads && value === undefined;
    this.value.set("value", value === undefined ? null : short(value));
    const unit = value === undefined ? "" : " Value: expected reward per tick from then on.";
    setText(this.when, `Decision for tick ${number(frame.tick)}, based on the previous observation.${unit}`);
    if (!heads) return;
    const seen = (before && perceive(header, base, before, slot)?.entities) ?? [];
    const targets = before
      ? seen.map((other) => nameOf(header, other.slot, entityAt(before, other.slot)))
      : [];
    for (const [head, shares] of heads) {
      const byRule = head === "target" && shares.length === 2 && header.nearest !== 1;
      const names = choiceNames(header, head, shares.length, byRule ? ["the nearest"] : targets);
      // Empty rows of the table are not choices.
      const rows = head === "target" && !byRule && before ? 1 + seen.length : shares.length;
      const made = this.made(frame, before, slot, head, byRule ? null : seen);
      this.heads.get(head)?.show(choicesOf(names.slice(0, rows), shares, made));
    }
  }

  /** The choice that was made for a head, if the recording contains it. */
  private made(
    frame: Frame,
    before: Frame | undefined,
    slot: number,
    head: string,
    seen: readonly Seen[] | null,
  ): number | null {
    const { header } = this.context.recording;
    if (head === "style") return numberOf(frame, "style", slot);
    if (head === "work") return numberOf(frame, "work", slot);
    if (head === "token") return numberOf(frame, "token", slot);
    if (head === "target") {
      const target = numberOf(frame, "target", slot);
      if (target < 0 || !seen) return target < 0 ? 0 : 1;
      return 1 + seen.findIndex((other) => other.slot === target) || null;
    }
    if (head === "move" && before && entityAt(before, slot) === entityAt(frame, slot)) {
      const row = numberOf(frame, "row", slot) - numberOf(before, "row", slot);
      const col = numberOf(frame, "col", slot) - numberOf(before, "col", slot);
      // An agent that stayed may have been blocked by another one; the recording does not say.
      return row || col ? header.moves.findIndex(([r, c]) => r === row && c === col) : null;
    }
    return null;
  }
}

/** Maximum of a slot's health, food or water. */
function mostOf(header: Header, frame: Frame, slot: number, name: string): number {
  if (name === "food") return header.maxima.food;
  return name === "water" ? header.maxima.water : maxHealth(header, frame, slot);
}

/** 1 for each cell of the window with an entity that could be attacked in some style. */
function reachable(entities: readonly Seen[], side: number): Float32Array {
  const vision = (side - 1) / 2;
  const map = new Float32Array(side * side);
  for (const { rowOffset, colOffset, reachable: styles } of entities) {
    if (styles.some(Boolean)) map[(rowOffset + vision) * side + colOffset + vision] = 0.5;
  }
  return map;
}

function ticks(count: number): string {
  return count === 1 ? "1 tick" : `${number(count)} ticks`;
}

function wears(header: Header, frame: Frame, slot: number): string {
  const kinds = Object.entries(header.gear);
  const worn = kinds.map(([, items], k) => {
    const rank = frame.column("worn")?.[slot * kinds.length + k] ?? 0;
    return rank ? header.items[items[rank - 1] ?? -1]?.name : undefined;
  });
  return worn.filter((name) => name !== undefined).join(", ") || "nothing";
}

function offer(header: Header, frame: Frame, slot: number): string {
  const open = numberOf(frame, "offer", slot);
  if (!open) return "none";
  const price = header.prices[numberOf(frame, "offer_price", slot)] ?? "?";
  const left = ticks(numberOf(frame, "offer_left", slot));
  return `${tradeName(open, header.items)} for ${price} gold, ${left} left`;
}

/** Shows names with numbers, with one element each. */
function chips(place: HTMLElement, entries: readonly (readonly [string, number])[]): void {
  place.querySelector(".none")?.remove();
  while (place.childElementCount > entries.length) place.lastElementChild?.remove();
  entries.forEach(([name, amount], k) => {
    const chip = place.children[k] ?? place.appendChild(el("span", { class: "chip" }, el("span"), el("b")));
    const [label, count] = chip.children;
    if (label) setText(label, name);
    if (count) setText(count, number(amount));
  });
}

/** Buttons with a slot, a color and a text each; existing buttons are updated, not recreated. */
function buttons(place: HTMLElement, entries: readonly (readonly [string, string, string])[]): void {
  place.querySelector(".none")?.remove();
  while (place.childElementCount > entries.length) place.lastElementChild?.remove();
  entries.forEach(([slot, color, text], k) => {
    const row = place.children[k] ?? place.appendChild(el("button", { type: "button", title: "Select" }));
    if (!(row instanceof HTMLElement)) return;
    row.dataset["slot"] = slot;
    row.style.setProperty("--color", color);
    setText(row, text);
  });
}
