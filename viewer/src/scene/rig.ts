import { MOUSE, PerspectiveCamera, Quaternion, TOUCH, Vector3 } from "three";
import { MapControls } from "three/addons/controls/MapControls.js";
import type { Session } from "../model/session";
import type { Ground } from "./ground";
import { parseView, viewText, type View } from "./view";

const NEAREST = 4;
const STEEPEST = 0.02;
const FLATTEST = 1.42;
/** A camera that moves by less than this between two frames, tiles, has come to rest. */
const REST = 0.002;
/** Minimum height of the camera above the ground, tiles. */
const CLEARANCE = 0.8;

/** Movement keys: [right, ahead, turn]. By position on the keyboard, for any layout. */
const KEYS: Readonly<Record<string, readonly [number, number, number]>> = {
  KeyW: [0, 1, 0],
  KeyS: [0, -1, 0],
  KeyA: [-1, 0, 0],
  KeyD: [1, 0, 0],
  KeyQ: [0, 0, -1],
  KeyE: [0, 0, 1],
};

/** The camera and its controls: mouse, touch, keys, following an entity. */
export class Rig {
  readonly camera = new PerspectiveCamera(38, 1, 0.5, 4000);
  private readonly controls: MapControls;
  private readonly held = new Set<string>();
  private readonly farthest: number;
  private readonly goal = new Vector3();
  private readonly shift = new Vector3();
  private readonly abort = new AbortController();
  private readonly unlisten: () => void;
  private readonly drawnPosition = new Vector3();
  private readonly drawnDirection = new Quaternion();
  private pursued = false;
  private gliding = false;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly ground: Ground,
    private readonly session: Session,
  ) {
    const side = Math.max(ground.height, ground.width);
    // A narrow screen needs a larger distance to show the whole map.
    const narrow = Math.max(1, (1.1 * canvas.clientHeight) / Math.max(1, canvas.clientWidth));
    this.farthest = Math.max(40, 1.9 * side * narrow);
    this.camera.far = 4 * this.farthest;
    this.controls = new MapControls(this.camera, canvas);
    this.controls.minDistance = NEAREST;
    this.controls.maxDistance = this.farthest;
    this.controls.minPolarAngle = STEEPEST;
    this.controls.maxPolarAngle = FLATTEST;
    this.controls.zoomSpeed = 1.4;
    this.controls.zoomToCursor = true;
    const { signal } = this.abort;
    window.addEventListener("keydown", (event) => this.press(event), { signal });
    window.addEventListener("keyup", (event) => this.held.delete(event.code), { signal });
    window.addEventListener("blur", () => this.held.clear(), { signal });
    // Dragging moves the map, or turns around a followed entity.
    this.unlisten = session.listen(["following"], () => this.buttons());
    this.buttons();
    this.view = {
      row: ground.height / 2 - 0.5,
      col: ground.width / 2 - 0.5,
      distance: Math.min(1.5 * side, 140) * narrow,
      heading: 0,
      tilt: 0.82,
    };
  }

  get target(): Vector3 {
    return this.controls.target;
  }

  get distance(): number {
    return this.camera.position.distanceTo(this.controls.target);
  }

  get view(): View {
    return {
      row: this.target.z - 0.5,
      col: this.target.x - 0.5,
      distance: this.distance,
      heading: -this.controls.getAzimuthalAngle(),
      tilt: this.controls.getPolarAngle(),
    };
  }

  set view({ row, col, distance, heading, tilt }: View) {
    const away = Math.min(Math.max(distance, NEAREST), this.farthest);
    const down = Math.min(Math.max(tilt, STEEPEST), FLATTEST);
    this.target.set(col + 0.5, 0, row + 0.5);
    this.hold();
    const flat = away * Math.sin(down);
    this.camera.position.set(
      this.target.x - flat * Math.sin(heading),
      away * Math.cos(down),
      this.target.z + flat * Math.cos(heading),
    );
    this.controls.update();
    this.settle();
  }

  text(): string {
    return viewText(this.view);
  }

  /** Applies the view in a text; leaves the camera unchanged if the text is invalid. */
  restore(text: string): void {
    const view = parseView(text);
    if (view) this.view = view;
  }

  /** The camera moves by itself, or has been moved since the last `update`. */
  get moving(): boolean {
    if (this.gliding || this.held.size > 0) return true;
    const { position, quaternion } = this.camera;
    return !position.equals(this.drawnPosition) || !quaternion.equals(this.drawnDirection);
  }

  /** Advances by some seconds: pressed keys, and towards (x, z) if an entity there is followed. */
  update(seconds: number, followed: { x: number; z: number } | null): void {
    const { position, quaternion } = this.camera;
    this.drawnPosition.copy(position);
    if (this.held.size) this.drive(seconds);
    if (followed) {
      this.goal.set(followed.x, 0, followed.z);
      this.shift.copy(this.goal).sub(this.target);
      // Directly once it has caught up, else 90 % of the way in half a second.
      const near = this.pursued && this.shift.length() < 1.5;
      this.shift.multiplyScalar(1 - Math.exp(-seconds * (near ? 12 : 4.6)));
      this.move(this.shift);
      if (!this.pursued && this.goal.distanceTo(this.target) < 0.3) this.pursued = true;
    } else this.pursued = false;
    this.hold();
    this.settle();
    this.gliding = followed !== null && position.distanceTo(this.drawnPosition) > REST;
    this.drawnPosition.copy(position);
    this.drawnDirection.copy(quaternion);
  }

  resize(width: number, height: number): void {
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
  }

  dispose(): void {
    this.abort.abort();
    this.unlisten();
    this.controls.dispose();
  }

  private press(event: KeyboardEvent): void {
    if (!(event.code in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    if (target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]")) return;
    this.held.add(event.code);
    if (this.session.state.following && (KEYS[event.code]?.[2] ?? 0) === 0)
      this.session.change({ following: false });
  }

  private drive(seconds: number): void {
    let [right, ahead, turn] = [0, 0, 0];
    for (const code of this.held) {
      const [r, a, t] = KEYS[code] ?? [0, 0, 0];
      right += r;
      ahead += a;
      turn += t;
    }
    const angle = this.controls.getAzimuthalAngle();
    const speed = 0.9 * this.distance * Math.min(seconds, 0.1);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    this.move(this.shift.set(cos * right - sin * ahead, 0, -sin * right - cos * ahead).multiplyScalar(speed));
    if (turn) {
      this.shift.copy(this.camera.position).sub(this.target);
      this.shift.applyAxisAngle(this.camera.up, -1.6 * turn * Math.min(seconds, 0.1));
      this.camera.position.copy(this.target).add(this.shift);
      this.controls.update();
    }
  }

  private move(by: Vector3): void {
    this.target.add(by);
    this.camera.position.add(by);
  }

  /** Keeps the camera's target on the map. */
  private hold(): void {
    const { target, ground } = this;
    const x = Math.min(Math.max(target.x, 0), ground.width) - target.x;
    const z = Math.min(Math.max(target.z, 0), ground.height) - target.z;
    if (x || z || target.y) this.move(this.shift.set(x, -target.y, z));
  }

  /** Keeps the camera above the ground. */
  private settle(): void {
    const { position } = this.camera;
    position.y = Math.max(position.y, this.ground.at(position.x, position.z) + CLEARANCE);
    this.camera.lookAt(this.target);
    this.camera.updateMatrixWorld();
  }

  private buttons(): void {
    const { following } = this.session.state;
    this.controls.mouseButtons = {
      LEFT: following ? MOUSE.ROTATE : MOUSE.PAN,
      MIDDLE: MOUSE.DOLLY,
      RIGHT: MOUSE.ROTATE,
    };
    this.controls.touches = { ONE: following ? TOUCH.ROTATE : TOUCH.PAN, TWO: TOUCH.DOLLY_ROTATE };
    this.controls.zoomToCursor = !following;
  }
}
