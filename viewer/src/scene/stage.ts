import { BufferAttribute, BufferGeometry, Mesh, Scene, type ShaderMaterial, Vector3 } from "three";
import type { Projected, StageLike } from "../model/contract";
import type { Session } from "../model/session";
import { lightBetween, lightOf } from "../model/systems";
import type { Frame, Header, Heat, Overlay } from "../model/types";
import { Crowd, SMALLEST } from "./crowd";
import { Effects } from "./effects";
import { ABSENT, Events } from "./events";
import { Ground } from "./ground";
import { Labels } from "./labels";
import { Marks } from "./marks";
import { Moment } from "./moment";
import { openRenderer, type Drawing } from "./renderer";
import { Rig } from "./rig";
import { Shared, SKY, shaded } from "./shading";
import { Terrain } from "./terrain";
import { Texts } from "./text";
import { clipToMap } from "./view";

/** Maximum time between two frames, seconds, so that the camera does not jump after a pause. */
const LONGEST = 0.25;
/** Maximum distance for picking an entity, CSS pixels. */
const PICK = 10;

/** The 3D scene of a world. */
export class Stage implements StageLike {
  private readonly drawing: Drawing;
  private readonly scene = new Scene();
  private readonly shared = new Shared();
  private readonly ground: Ground;
  private readonly terrain: Terrain;
  private readonly events: Events;
  private readonly moment: Moment;
  private readonly crowd: Crowd;
  private readonly effects: Effects;
  private readonly texts: Texts;
  private readonly labels: Labels;
  private readonly marks: Marks;
  private readonly rig: Rig;
  private readonly sky: Mesh<BufferGeometry, ShaderMaterial>;
  private readonly point = new Vector3();
  private readonly restore = (): void => {
    this.terrain.renew();
    this.render();
  };
  /** CSS pixels. */
  private width = 1;
  private height = 1;
  private last = 0;
  private fps = 0;
  private drawn = false;

  /** Throws an Error with a readable message without WebGL 2, or if the map is too large for it. */
  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly header: Header,
    base: Uint8Array,
    private readonly session: Session,
  ) {
    this.drawing = openRenderer(canvas);
    const { renderer, software } = this.drawing;
    this.ground = new Ground(header, base);
    const reach = software ? 70 : 150;
    this.terrain = new Terrain(
      header,
      base,
      this.ground,
      this.shared,
      renderer.capabilities.maxTextureSize,
      reach,
    );
    this.events = new Events(header);
    this.moment = new Moment(header, this.ground, this.events);
    this.crowd = new Crowd(header, this.events, this.moment, this.shared);
    this.effects = new Effects(header, this.ground, this.events, this.shared);
    this.texts = new Texts(Labels.letters(header), this.shared);
    this.labels = new Labels(header, this.events, this.moment, this.crowd, this.texts);
    this.marks = new Marks(this.ground, header.vision);
    this.rig = new Rig(canvas, this.ground, session);
    this.sky = sky(this.shared);
    const { terrain, crowd, effects, texts, marks } = this;
    this.scene.matrixWorldAutoUpdate = false;
    this.scene.add(terrain.group, marks.group, crowd.group, effects.group, texts.instances.mesh, this.sky);
    canvas.addEventListener("webglcontextrestored", this.restore);
    this.resize();
  }

  draw(before: Frame, after: Frame, fraction: number): void {
    const now = performance.now() / 1000;
    const since = this.last ? now - this.last : 0;
    this.last = now;
    // After a longer time there was nothing to draw.
    if (since > 0 && since < 1) this.fps += (1 / since - this.fps) * Math.min(1, this.fps ? since * 2 : 1);
    const seconds = Math.min(since, LONGEST);
    this.shared.uniforms.time.value = now % 1000;

    const { state } = this.session;
    if (this.events.update(before, after)) this.moment.turn();
    this.moment.place(before === after ? 1 : Math.min(Math.max(fraction, 0), 1));
    this.terrain.show((fraction < 0.5 ? before : after).usedUp);
    const light = (frame: Frame): number | null => lightOf(this.header, frame, state.selected);
    this.shared.light(lightBetween(light(before), light(after), fraction));

    const selected = this.selected();
    const { moment, rig, marks } = this;
    const place = selected < 0 ? null : { x: moment.x[selected] ?? 0, z: moment.z[selected] ?? 0 };
    rig.update(seconds, state.following ? place : null);
    const eye = rig.camera.position;
    // Outlines are a fortieth of a tile thick.
    const outlined = rig.distance * this.cssPixel() < (this.drawing.software ? 0.06 : 0.12);
    this.crowd.update(rig.camera, this.cssPixel(), state.bars, outlined);
    this.effects.update(moment.fraction, state.effects);
    this.labels.update(rig.camera, this.width, this.height, selected, state);
    if (place) {
      const away = Math.hypot(place.x - eye.x, eye.y, place.z - eye.z);
      marks.show(place.x, place.z, away * this.cssPixel(), selected < this.header.agents);
    } else marks.hide();
    this.drawn = true;
    this.render();
  }

  get unsettled(): boolean {
    return this.rig.moving || this.terrain.unfinished;
  }

  resize(): void {
    const { renderer, software } = this.drawing;
    this.width = Math.max(1, this.canvas.clientWidth);
    this.height = Math.max(1, this.canvas.clientHeight);
    renderer.setPixelRatio(software ? 1 : Math.min(window.devicePixelRatio, 2));
    renderer.setSize(this.width, this.height, false);
    this.rig.resize(this.width, this.height);
    const ratio = renderer.getPixelRatio();
    this.shared.uniforms.screen.value.set(this.canvas.width, this.canvas.height, ratio);
    this.shared.uniforms.pixel.value = this.cssPixel() / ratio;
    if (this.drawn) this.render();
  }

  pick(x: number, y: number): number | null {
    const { moment, point } = this;
    const { fate } = this.events;
    let [nearest, best] = [-1, Infinity];
    for (let slot = 0; slot < this.header.entities; slot++) {
      if (fate[slot] === ABSENT || !((moment.size[slot] ?? 0) > 0)) continue;
      const [x0, y0, z0] = [moment.x[slot] ?? 0, moment.y[slot] ?? 0, moment.z[slot] ?? 0];
      point.set(x0, y0, z0);
      const tile = 1 / (point.distanceTo(this.rig.camera.position) * this.cssPixel());
      const feet = this.toScreen(point);
      if (!feet.visible) continue;
      // Its nearest point between feet and head, at its drawn size, but never too small to hit.
      const head = this.toScreen(point.set(x0, y0 + 0.75 * Math.max(1, SMALLEST / tile), z0));
      const [dx, dy] = [head.x - feet.x, head.y - feet.y];
      const along = ((x - feet.x) * dx + (y - feet.y) * dy) / (dx * dx + dy * dy || 1);
      const share = Math.min(Math.max(along, 0), 1);
      const reach = Math.max(PICK, 0.4 * tile);
      const distance = Math.hypot(feet.x + dx * share - x, feet.y + dy * share - y) / reach;
      if (distance < 1 && distance < best) [nearest, best] = [slot, distance];
    }
    return nearest < 0 ? null : nearest;
  }

  project(row: number, col: number): Projected {
    const [x, z] = [col + 0.5, row + 0.5];
    return this.toScreen(this.point.set(x, this.ground.at(x, z), z));
  }

  tileAt(x: number, y: number): { row: number; col: number } | null {
    const { camera } = this.rig;
    const [dx, dy, dz] = this.ray(x, y);
    if (dy >= 0) return null;
    const { position } = camera;
    const hit = this.ground.hit(position.x, position.y, position.z, dx, dy, dz);
    return hit && { row: Math.floor(hit[1]), col: Math.floor(hit[0]) };
  }

  overlay(heat: Heat | null, kind: Overlay): void {
    this.terrain.lay(heat, kind);
  }

  lookAt(row: number, col: number, distance = this.rig.distance): void {
    this.rig.view = { ...this.rig.view, row, col, distance };
  }

  footprint(): readonly (readonly [number, number])[] {
    const { position, far } = this.rig.camera;
    const corners = [
      [0, 0],
      [this.width, 0],
      [this.width, this.height],
      [0, this.height],
    ] as const;
    const polygon = corners.map(([x, y]) => {
      const [dx, dy, dz] = this.ray(x, y);
      // Rays into the sky end far away.
      const length = dy < 0 ? Math.min(-position.y / dy, far) : far;
      return [position.z + dz * length, position.x + dx * length] as const;
    });
    return clipToMap(polygon, this.header.height, this.header.width);
  }

  camera(): string {
    return this.rig.text();
  }

  setCamera(text: string): void {
    this.rig.restore(text);
  }

  screenshot(): Promise<Blob> {
    // The canvas is cleared once it has been shown: draw, and capture it before that.
    this.render();
    return new Promise((resolve, reject) => {
      this.canvas.toBlob((blob) => {
        if (blob) resolve(blob);
        else reject(new Error("The browser could not capture the canvas."));
      }, "image/png");
    });
  }

  get statistics(): { fps: number; calls: number; triangles: number; renderer: string } {
    const { calls, triangles } = this.drawing.renderer.info.render;
    return { fps: this.fps, calls, triangles, renderer: this.drawing.name };
  }

  dispose(): void {
    this.canvas.removeEventListener("webglcontextrestored", this.restore);
    for (const part of [this.terrain, this.crowd, this.effects, this.texts, this.marks, this.rig])
      part.dispose();
    this.sky.geometry.dispose();
    this.sky.material.dispose();
    this.drawing.renderer.dispose();
  }

  /** Slot of the selected entity if its id is unchanged, else -1. */
  private selected(): number {
    const { selected } = this.session.state;
    if (!selected || selected.slot >= this.header.entities) return -1;
    const { fate, before, after } = this.events;
    const { slot, entity } = selected;
    if (fate[slot] === ABSENT || !((this.moment.size[slot] ?? 0) > 0)) return -1;
    return after.entity[slot] === entity || before.entity[slot] === entity ? slot : -1;
  }

  private render(): void {
    const { terrain, rig, shared, drawing } = this;
    const { state } = this.session;
    shared.background(state.dark);
    const away = rig.distance;
    shared.uniforms.fog.value.set(1.25 * away + 25, 1 / (1.5 * away + 70));
    terrain.update(rig.camera, {
      trees: state.trees,
      opacity: state.overlayOpacity,
      thinned: this.drawing.software ? 60 : 120,
    });
    drawing.renderer.render(this.scene, rig.camera);
  }

  /** Height of a CSS pixel at distance 1. */
  private cssPixel(): number {
    return (2 * Math.tan((this.rig.camera.fov * Math.PI) / 360)) / this.height;
  }

  private toScreen(point: Vector3): Projected {
    point.project(this.rig.camera);
    const [x, y] = [(0.5 + point.x / 2) * this.width, (0.5 - point.y / 2) * this.height];
    const inside = Math.abs(point.x) <= 1 && Math.abs(point.y) <= 1 && Math.abs(point.z) <= 1;
    return { x, y, visible: inside };
  }

  /** Direction of the ray through a point of the canvas. */
  private ray(x: number, y: number): readonly [number, number, number] {
    const { camera } = this.rig;
    const point = this.point.set((2 * x) / this.width - 1, 1 - (2 * y) / this.height, 0.5).unproject(camera);
    point.sub(camera.position).normalize();
    return [point.x, point.y, point.z];
  }
}

/** The background. */
function sky(shared: Shared): Mesh<BufferGeometry, ShaderMaterial> {
  const geometry = new BufferGeometry();
  geometry.setAttribute(
    "position",
    new BufferAttribute(new Float32Array([-1, -1, 1, 3, -1, 1, -1, 3, 1]), 3),
  );
  const material = shaded({
    vertexShader: `void main() { gl_Position = vec4(position.xy, 1.0, 1.0); }`,
    fragmentShader: `out vec4 color; ${SKY} void main() { color = vec4(sky(), 1.0); }`,
    uniforms: shared.uniforms,
    depthWrite: false,
  });
  const mesh = new Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.renderOrder = 100;
  return mesh;
}
