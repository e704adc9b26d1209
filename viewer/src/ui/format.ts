/** Formatting of numbers and names. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64];

/** A whole number, with commas in the thousands. */
export function number(value: number): string {
  return whole.format(value);
}

/** A number with three significant digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 ? number(value) : String(Number(value.toPrecision(3)));
}

/** "12.4 %" from a share of 0 to 1. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
}

/** A speed, "0.25×" to "64×". */
export function speedName(speed: number): string {
  return `${speed}×`;
}

/** All speeds, ascending. */
export const speeds: readonly number[] = SPEEDS;

/** The next faster (`direction` 1) or slower (-1) speed; unchanged at the end of the list. */
export function nextSpeed(speed: number, direction: 1 | -1): number {
  const others = direction > 0 ? SPEEDS.filter((s) => s > speed) : SPEEDS.filter((s) => s < speed).reverse();
  return others[0] ?? speed;
}

/** Display name of a material: "ore rock" for "orerock". */
export function materialName(name: string): string {
  return name === "orerock" ? "ore rock" : name;
}

/** A move, [rows, columns], as a word. */
export function moveName(move: readonly [number, number]): string {
  const [row, col] = move;
  const name = [row < 0 ? "north" : row > 0 ? "south" : "", col < 0 ? "west" : col > 0 ? "east" : ""].join(
    "",
  );
  return name || "stay";
}

/** Name of a choice of the trade head. */
export function tradeName(choice: number, items: readonly { readonly name: string }[]): string {
  if (choice === 0) return "nothing";
  if (choice <= items.length) return `sell ${items[choice - 1]?.name}`;
  if (choice <= 2 * items.length) return `buy ${items[choice - 1 - items.length]?.name}`;
  return "withdraw";
}

/** Name of a choice of the token head. */
export function wordName(token: number): string {
  return token === 0 ? "silent" : `“${token}”`;
}

/** A file name from a title: letters, digits, - and _. */
export function fileName(title: string, ending: string): string {
  const name = title.replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "");
  return `${name.slice(0, 60) || "world"}.${ending}`;
}
