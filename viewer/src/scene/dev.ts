import { Session } from "../model/session";
import type { Frame } from "../model/types";
import { Stage } from "./stage";
import { MadeWorld, madeFrame, madeHeader, madeTerrain, type Being } from "./synthetic";

/**
 * A separate page (scene.html) with a synthetic world, for development of the scene and its tests.
 * `?height=80&width=80&agents=128&npcs=32&still`; with `still` it draws only on request.
 */
const question = new URLSearchParams(location.search);
const number = (name: string, otherwise: number): number => Number(question.get(name) ?? otherwise);

const canvas = document.querySelector<HTMLCanvasElement>("#world");
if (!canvas) throw new Error("scene.html has no canvas #world");
const header = madeHeader(
  number("height", 80),
  number("width", 80),
  number("agents", 128),
  number("npcs", 32),
  number("populations", 8),
);
const base = madeTerrain(header, number("seed", 1));
const session = new Session();
const stage = new Stage(canvas, header, base, session);
window.addEventListener("resize", () => stage.resize());

/** Functions for tests and the browser's console. */
const scene = {
  Stage,
  stage,
  session,
  header,
  base,
  /** A frame with exactly these entities. */
  frame: (tick: number, beings: readonly Being[], used: readonly number[] = []): Frame =>
    madeFrame(header, tick, beings, used),
  /** The next frame of the world. */
  next: (): Frame => world.next(),
};
const world = new MadeWorld(header, base);

declare global {
  interface Window {
    scene: typeof scene;
  }
}
window.scene = scene;

if (question.has("still")) {
  const empty = scene.frame(0, []);
  stage.draw(empty, empty, 0);
} else {
  let [before, after] = [world.next(), world.next()];
  let tick = 0;
  const start = performance.now();
  const loop = (): void => {
    const time = ((performance.now() - start) / 1000) * number("speed", 3);
    if (Math.floor(time) > tick) {
      tick = Math.floor(time);
      [before, after] = [after, world.next()];
    }
    stage.draw(before, after, time - tick);
    requestAnimationFrame(loop);
  };
  loop();
}
