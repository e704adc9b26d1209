import { typing } from "./dom";
import type { Context } from "./context";

/** Action of a key; the names are those of KeyboardEvent.key. */
export type Act = (event: KeyboardEvent) => void;

/** The keys of the viewer. */
export function keyTable(context: Context): ReadonlyMap<string, Act> {
  const { actions, session, recording, panels } = context;
  const by = (ticks: number): void => actions.seek(Math.floor(session.state.time) + ticks);
  const twentieth = (): number => Math.max(1, Math.round((recording.last - recording.first) / 20));
  return new Map<string, Act>([
    [" ", () => actions.togglePlay()],
    ["ArrowLeft", (event) => (event.shiftKey ? by(-10) : actions.step(-1))],
    ["ArrowRight", (event) => (event.shiftKey ? by(10) : actions.step(1))],
    ["ArrowUp", () => by(twentieth())],
    ["ArrowDown", () => by(-twentieth())],
    ["Home", () => actions.seek(recording.first)],
    ["End", () => actions.seek(recording.last)],
    [",", () => actions.changeSpeed(-1)],
    [".", () => actions.changeSpeed(1)],
    ["f", () => actions.toggleFollow()],
    ["[", () => actions.neighbor(-1)],
    ["]", () => actions.neighbor(1)],
    ["l", () => panels.toggle("list")],
    ["c", () => panels.toggle("charts")],
    ["m", () => panels.toggle("map")],
    ["o", () => actions.cycleOverlay()],
    ["t", () => actions.toggleTheme()],
    ["p", () => actions.screenshot()],
    ["r", () => actions.toggleFilm()],
    ["?", () => actions.toggleHelp()],
    [
      "Escape",
      () => {
        if (session.state.selected) actions.select(null);
        else for (const name of ["options", "charts", "list"] as const) panels.set(name, false);
      },
    ],
  ]);
}

/**
 * Listens to the keys, except while text is typed, a dialog is open, or the focused control uses the key.
 * Returns a function that stops listening.
 */
export function listenToKeys(table: ReadonlyMap<string, Act>): () => void {
  const listener = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : null;
    if (event.key === "Escape" && typing(target)) (target as HTMLElement).blur();
    if (typing(target) || document.querySelector("dialog[open]")) return;
    // The space bar presses a focused button.
    if (event.key === " " && target?.closest("button, summary, label, input")) return;
    const act = table.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (!act) return;
    event.preventDefault();
    act(event);
  };
  window.addEventListener("keydown", listener);
  return () => window.removeEventListener("keydown", listener);
}
