/** Helpers for creating and updating elements. */

export type Child = Node | string | null;

interface Attributes {
  readonly [name: string]: string | number | boolean | undefined;
}

/** Creates an element. Attributes that are false or undefined are omitted, true ones are empty. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button with an icon. Its title gives its action and its key. */
export function iconButton(icon: Icon, title: string, act: () => void, key?: string): HTMLButtonElement {
  const button = el("button", {
    type: "button",
    class: "icon",
    title: key ? `${title} (${key})` : title,
    "aria-label": title,
    "aria-keyshortcuts": key,
  });
  button.innerHTML = svg(icon);
  button.addEventListener("click", act);
  return button;
}

/** A button with a text label. */
export function textButton(label: string, title: string, act: () => void): HTMLButtonElement {
  const button = el("button", { type: "button", class: "text", title }, label);
  button.addEventListener("click", act);
  return button;
}

/** Changes an icon button's icon and title. */
export function setIcon(button: HTMLButtonElement, icon: Icon, title: string, key?: string): void {
  if (button.getAttribute("aria-label") === title) return;
  button.innerHTML = svg(icon);
  button.title = key ? `${title} (${key})` : title;
  button.setAttribute("aria-label", title);
}

/** Sets an element's text only if it differs, so that a text selection on the page is kept. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Whether keys are typed into an input field. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement)
    return !["checkbox", "radio", "button", "file"].includes(target.type);
  return (
    target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable
  );
}

/** Fits a canvas' pixels to its size on the page; returns its context, scaled to CSS pixels. */
export function fitCanvas(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser does not support canvas");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

const ICONS = {
  play: '<path d="M7 5l12 7-12 7z" fill="currentColor"/>',
  pause: '<path d="M8 5v14M16 5v14" stroke-width="3"/>',
  back: '<path d="M18 6l-8 6 8 6z" fill="currentColor"/><path d="M6 6v12"/>',
  forward: '<path d="M6 6l8 6-8 6z" fill="currentColor"/><path d="M18 6v12"/>',
  open: '<path d="M3 7v11h16l2-8H8l-2 8"/><path d="M3 7V5h6l2 2h7v3"/>',
  list: '<path d="M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01" stroke-width="2.4"/>',
  charts: '<path d="M4 4v16h16"/><path d="M7 15l4-5 3 3 5-7"/>',
  map: '<path d="M3 6l6-2 6 2 6-2v14l-6 2-6-2-6 2z"/><path d="M9 4v14M15 6v14"/>',
  options:
    '<path d="M4 7h10M18 7h2M4 17h2M10 17h10"/><circle cx="16" cy="7" r="2"/><circle cx="8" cy="17" r="2"/>',
  agent: '<circle cx="12" cy="8" r="4"/><path d="M4 21c1-5 4-7 8-7s7 2 8 7"/>',
  link: '<path d="M10 14l4-4M8 11l-3 3a3.5 3.5 0 0 0 5 5l3-3M16 13l3-3a3.5 3.5 0 0 0-5-5l-3 3"/>',
  camera: '<path d="M3 8h4l2-3h6l2 3h4v11H3z"/><circle cx="12" cy="13" r="3.5"/>',
  film: '<rect x="3" y="6" width="12" height="12" rx="2"/><path d="M15 11l6-4v10l-6-4"/>',
  stop: '<rect x="6" y="6" width="12" height="12" rx="1" fill="currentColor"/>',
  sun:
    '<circle cx="12" cy="12" r="4"/>' +
    '<path d="M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2"/>',
  moon: '<path d="M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10z"/>',
  help:
    '<circle cx="12" cy="12" r="9"/>' +
    '<path d="M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.8.4-1 .9-1 1.7M12 17h.01"/>',
  close: '<path d="M6 6l12 12M18 6L6 18"/>',
  follow: '<circle cx="12" cy="12" r="5"/><path d="M12 2v4M12 18v4M2 12h4M18 12h4"/>',
  previous: '<path d="M15 5l-7 7 7 7"/>',
  next: '<path d="M9 5l7 7-7 7"/>',
} as const;

export type Icon = keyof typeof ICONS;

function svg(icon: Icon): string {
  return `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[icon]}</svg>`;
}
