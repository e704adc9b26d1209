/** Light or dark: follows the system until the user chooses. */

const KEY = "embyr.dark";

/** The saved choice, or the system's preference. */
export function initialDark(): boolean {
  try {
    const kept = window.localStorage.getItem(KEY);
    if (kept !== null) return kept === "1";
  } catch {
    // A page from a file, or one without storage.
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Applies a theme; `keep` saves it. */
export function applyTheme(dark: boolean, keep: boolean): void {
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  if (!keep) return;
  try {
    window.localStorage.setItem(KEY, dark ? "1" : "0");
  } catch {
    // Then it applies until the page is closed.
  }
}
