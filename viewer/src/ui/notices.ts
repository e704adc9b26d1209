import { el, iconButton } from "./dom";

/** Short messages over the scene, which disappear automatically; error messages stay longer. */
export class Notices {
  readonly element = el("div", { class: "notices", role: "status", "aria-live": "polite" });

  tell(text: string, seconds = 5): void {
    const notice = el("div", { class: "notice" }, el("span", {}, text));
    const remove = (): void => notice.remove();
    notice.append(iconButton("close", "Close this message", remove));
    this.element.append(notice);
    while (this.element.childElementCount > 3) this.element.firstElementChild?.remove();
    window.setTimeout(remove, 1000 * seconds);
  }
}
