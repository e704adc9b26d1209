/** Light or dark: as the system has it, until somebody chooses. */

const KEY = "embyr.dark";

/** What was chosen before, or what the system prefers. */
export function initialDark(): boolean {
  try {
    const kept = window.localStorage.getItem(KEY);
    if (kept !== null) return kept === "1";
  } catch {
    // A page from a file, or one that may keep nothing.
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Shows the page so; `keep` remembers it. */
export function applyTheme(dark: boolean, keep: boolean): void {
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  if (!keep) return;
  try {
    window.localStorage.setItem(KEY, dark ? "1" : "0");
  } catch {
    // Then it holds until the page is closed.
  }
}
