import { el, iconButton } from "./dom";

const KEYS: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
  [
    "Time",
    [
      ["Space", "play, pause"],
      ["← →", "one tick back, forward"],
      ["Shift ← →", "ten ticks"],
      ["↓ ↑", "a twentieth of the recording back, forward"],
      [", .", "slower, faster"],
      ["Home End", "first tick, last tick (newest of a live world)"],
    ],
  ],
  [
    "Agents",
    [
      ["click", "select and follow"],
      ["F", "follow the selection"],
      ["[ ]", "previous, next agent"],
      ["L", "list of agents"],
      ["Esc", "deselect, then close panels"],
    ],
  ],
  [
    "View",
    [
      ["drag", "move; with the right button, or while following, turn"],
      ["wheel", "zoom"],
      ["W A S D", "move over the map"],
      ["Q E", "turn"],
      ["M", "map"],
      ["C", "charts"],
      ["O", "next overlay"],
      ["T", "light or dark theme"],
      ["P", "screenshot"],
      ["R", "video: start, stop"],
      ["?", "this help"],
    ],
  ],
];

/** The list of all keys, shown over the page. */
export function makeHelp(): HTMLDialogElement {
  const dialog = el("dialog", { class: "help", "aria-label": "Keys" });
  const columns = el("div", { class: "columns" });
  for (const [title, keys] of KEYS) {
    const list = el("dl");
    for (const [key, what] of keys) {
      const names = key.includes(",") && key.length > 3 ? [key] : key.split(" ");
      list.append(el("dt", {}, ...names.map((name) => el("kbd", {}, name))), el("dd", {}, what));
    }
    columns.append(el("section", {}, el("h3", {}, title), list));
  }
  dialog.append(
    el(
      "header",
      {},
      el("h2", {}, "Keys"),
      iconButton("close", "Close", () => dialog.close(), "Esc"),
    ),
    columns,
    el(
      "footer",
      {},
      // The build writes this file, see vite.config.ts.
      el(
        "a",
        { href: "third-party-licenses.md", target: "_blank", rel: "noopener" },
        "Licenses of the libraries",
      ),
    ),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
