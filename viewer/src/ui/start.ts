import { el, textButton } from "./dom";

/** A recording that the server offers. */
export interface Offered {
  readonly name: string;
  readonly title: string;
  /** Further details as a short text. */
  readonly about: string;
  readonly live: boolean;
}

export interface StartActions {
  openFile(file: File): void;
  openServed(name: string): void;
}

/** The start page: choose a recording. Shows why the previous one failed, if it did. */
export class StartPage {
  readonly element: HTMLElement;
  private readonly message = el("p", { class: "message", role: "alert", hidden: true });
  private readonly offered = el("section", { class: "offered", hidden: true });
  private readonly busy = el("p", { class: "busy", role: "status", hidden: true });
  private readonly again = el("p", { hidden: true });

  constructor(private readonly actions: StartActions) {
    const input = el("input", { type: "file", accept: ".replay", hidden: true, "aria-label": "Recording" });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) actions.openFile(file);
    });
    const choose = el("button", { type: "button", class: "choose", title: "Choose a recording" });
    choose.append(el("b", {}, "Choose a recording"), el("span", {}, "or drop a .replay file on this page"));
    choose.addEventListener("click", () => input.click());
    this.element = el(
      "main",
      { class: "start" },
      el(
        "div",
        { class: "card" },
        el("h1", {}, "Embyr"),
        el("p", { class: "lead" }, "Watch a recorded or live nmmo-gpu world."),
        this.message,
        this.again,
        choose,
        input,
        this.busy,
        this.offered,
        el(
          "p",
          { class: "small" },
          "Files stay on this computer; nothing is uploaded. No recording yet? ",
          el("code", {}, "nmmo-gpu play chaos --out worlds"),
          " makes one; ",
          el("code", {}, "nmmo-gpu train --record"),
          " and ",
          el("code", {}, "nmmo-gpu export"),
          " record trained agents.",
        ),
      ),
    );
  }

  /** @param retry repeats the failed action; omitted if that would not help. */
  complain(text: string | null, retry?: () => void): void {
    this.message.hidden = text === null;
    this.message.textContent = text ?? "";
    this.again.hidden = !retry;
    this.again.replaceChildren(
      ...(retry ? [textButton("Try again", "Open the same recording again", retry)] : []),
    );
  }

  /** Shows the progress of opening, 0 to 1; null when it is done. */
  showProgress(name: string, share: number | null): void {
    this.busy.hidden = share === null;
    this.busy.textContent =
      share === null ? "" : `Opening ${name}… ${share > 0 ? `${Math.floor(100 * share)} %` : ""}`;
  }

  showOffered(list: readonly Offered[]): void {
    this.offered.hidden = false;
    const items = list.map(({ name, title, about, live }) => {
      const button = el("button", { type: "button", title: `Watch ${name}` });
      button.append(el("b", {}, title || name), el("span", {}, about));
      if (live) button.append(el("em", {}, "live"));
      button.addEventListener("click", () => this.actions.openServed(name));
      return el("li", {}, button);
    });
    this.offered.replaceChildren(
      el("h2", {}, "Recordings of this run"),
      items.length ? el("ul", {}, ...items) : el("p", {}, "No recordings yet. Train or play with --record."),
    );
  }
}

/** Allows a file to be dropped anywhere on the page. */
export function acceptDrops(open: (file: File) => void): void {
  const holdsFile = (event: DragEvent): boolean => [...(event.dataTransfer?.types ?? [])].includes("Files");
  window.addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    document.documentElement.classList.add("dropping");
  });
  const end = (): void => document.documentElement.classList.remove("dropping");
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) end();
  });
  window.addEventListener("drop", (event) => {
    end();
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    open(file);
  });
}
