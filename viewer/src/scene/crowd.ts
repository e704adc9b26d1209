import { BufferAttribute, BufferGeometry, Group, Matrix4, type PerspectiveCamera } from "three";
import type { Header } from "../model/types";
import { npcColor, populationColor } from "./colors";
import { ABSENT, BORN, DIED, type Events } from "./events";
import { Instances } from "./instances";
import type { Moment } from "./moment";
import { FOG, SKY, type Shared, MIXED, shaded } from "./shading";
import { NPC_SHAPES, agentShape, farAgentShape, npcShape, type Shape } from "./shapes";

/** From this number on outlines are omitted, because they would double the triangles. */
const OUTLINED = 3000;
/** Beyond this many tiles from the camera there are no bars. */
const BARS_REACH = 45;

/** Agents are drawn in a simple form if a tile has fewer CSS pixels. */
const SIMPLE = 13;

const LOOK = { place: 4, state: 4, color: 4 } as const;

/** All agents and NPCs, with shadows and bars. */
export class Crowd {
  readonly group = new Group();
  /** Height of the top of each slot's shape, tiles. */
  readonly heights: Float32Array;
  private readonly figures: Instances[] = [];
  private readonly shapes: Shape[];
  /** [entities]: index into figures; [entities * 3]: color, 0 to 1. */
  private readonly figure: Uint8Array;
  private readonly colors: Float32Array;
  /** [entities]: health of the NPC's kind; 0 for agents. */
  private readonly maxHealth: Float32Array;
  private readonly shadows: Instances;
  private readonly bars: Instances;
  private readonly matrix = new Matrix4();
  private readonly lava: number;
  private readonly combat: number;
  private readonly constitution: number;

  constructor(
    private readonly header: Header,
    private readonly events: Events,
    private readonly moment: Moment,
    shared: Shared,
  ) {
    const kinds = Math.min(header.npcs.length, NPC_SHAPES);
    this.shapes = [
      agentShape(),
      farAgentShape(),
      ...Array.from({ length: kinds }, (_, kind) => npcShape(kind)),
    ];
    const { uniforms } = shared;
    const material = shaded({ vertexShader: BODY, fragmentShader: SOLID, uniforms });
    for (const { geometry } of this.shapes) this.figures.push(new Instances(geometry, material, LOOK));
    const shadow = shaded({
      vertexShader: SHADOW,
      fragmentShader: DARK,
      uniforms,
      ...MIXED,
      polygonOffset: true,
      polygonOffsetFactor: -2,
      polygonOffsetUnits: -2,
    });
    this.shadows = new Instances(disc(), shadow, { place: 4 });
    this.shadows.mesh.renderOrder = -4;
    const bar = shaded({
      vertexShader: BAR,
      fragmentShader: STRIPES,
      uniforms,
      transparent: true,
      depthWrite: false,
    });
    this.bars = new Instances(square(), bar, { place: 4, filled: 4 });
    this.bars.mesh.renderOrder = 20;
    this.group.add(...this.figures.map(({ mesh }) => mesh), this.shadows.mesh, this.bars.mesh);

    this.lava = header.causes.indexOf("lava");
    this.combat = header.causes.indexOf("combat");
    this.constitution = header.skills.indexOf("constitution");
    this.figure = new Uint8Array(header.entities);
    this.colors = new Float32Array(3 * header.entities);
    this.heights = new Float32Array(header.entities).fill(this.shapes[0]?.height ?? 1);
    this.maxHealth = new Float32Array(header.entities);
    const size = Math.max(1, header.agents / header.populations);
    for (let slot = 0; slot < header.agents; slot++)
      this.color(slot, populationColor(Math.floor(slot / size)));
    header.npcs.forEach((npc, kind) => {
      for (let slot = npc.first; slot < npc.first + npc.count; slot++) {
        this.figure[slot] = 2 + (kind % NPC_SHAPES);
        this.heights[slot] = this.shapes[2 + (kind % NPC_SHAPES)]?.height ?? 1;
        this.maxHealth[slot] = npc.health;
        this.color(slot, npcColor(kind));
      }
    });
  }

  /**
   * Updates the visible entities for the current moment.
   *
   * @param cssPixel Height of a CSS pixel at distance 1.
   * @param outlined Near enough for outlines to be visible.
   */
  update(camera: PerspectiveCamera, cssPixel: number, bars: boolean, outlined: boolean): void {
    const { header, moment, events, figures, figure, colors, shadows } = this;
    const { fate, before, after } = events;
    const { fraction } = moment;
    const eye = camera.position;
    const m = this.matrix.multiplyMatrices(camera.projectionMatrix, camera.matrixWorldInverse).elements;
    const [wide, high] = [camera.projectionMatrix.elements[0], camera.projectionMatrix.elements[5]];
    for (const instances of figures) instances.begin(header.entities);
    shadows.begin(header.entities);
    this.bars.begin(bars ? header.entities : 0);
    for (let slot = 0; slot < header.entities; slot++) {
      const state = fate[slot];
      const size = moment.size[slot] ?? 0;
      if (state === ABSENT || size <= 0) continue;
      const [x, y, z] = [moment.x[slot] ?? 0, moment.y[slot] ?? 0, moment.z[slot] ?? 0];
      // Only visible entities, and a margin.
      const away = m[3] * x + m[7] * y + m[11] * z + m[15];
      const room = 1.5 * Math.max(1, Math.min(SMALLEST * cssPixel * away, 6));
      if (away < -room) continue;
      if (Math.abs(m[0] * x + m[4] * y + m[8] * z + m[12]) > away + room * wide) continue;
      if (Math.abs(m[1] * x + m[5] * y + m[9] * z + m[13]) > away + room * high) continue;
      const simple = slot < header.agents && away * cssPixel * SIMPLE > 1;
      const instances = figures[simple ? 1 : (figure[slot] ?? 0)] as Instances;
      const { data } = instances;
      let at = instances.next();
      const dead = state === DIED ? 1 - size : 0;
      const cause = state === DIED ? (after.cause[slot] ?? 0) : 0;
      data[at++] = x;
      data[at++] = y;
      data[at++] = z;
      data[at++] = moment.yaw[slot] ?? 0;
      // Death in combat: tips over; by hunger or thirst: shrinks; in lava: sinks.
      data[at++] = cause === this.combat ? Math.max(size, 0.55) : size;
      data[at++] = cause === this.combat ? dead * 1.5 : 0;
      data[at++] = cause === this.lava && cause > 0 ? dead : 0;
      data[at++] = moment.step[slot] ?? 0;
      data[at++] = colors[3 * slot] ?? 0;
      data[at++] = colors[3 * slot + 1] ?? 0;
      data[at++] = colors[3 * slot + 2] ?? 0;
      // Freeze is above 0, damage below.
      const frozen =
        ((before.freeze[slot] ?? 0) > 0 ? 1 - fraction : 0) + ((after.freeze[slot] ?? 0) > 0 ? fraction : 0);
      const hurt = before.tick !== after.tick && (after.damage[slot] ?? 0) > 0 ? flash(fraction) : 0;
      data[at] = hurt > 0 ? -hurt : frozen;
      const shadow = shadows.next();
      shadows.data[shadow] = x;
      shadows.data[shadow + 1] = y;
      shadows.data[shadow + 2] = z;
      shadows.data[shadow + 3] = size;
      if (bars && state !== DIED) this.bar(slot, x, y, z, eye, state === BORN);
    }
    for (const [n, instances] of figures.entries()) {
      instances.end();
      const corners = this.shapes[n]?.solid ?? 0;
      instances.mesh.geometry.setDrawRange(0, outlined && instances.count < OUTLINED ? 2 * corners : corners);
    }
    shadows.end();
    if (shadows.count >= OUTLINED) shadows.mesh.visible = false;
    this.bars.end();
  }

  dispose(): void {
    for (const instances of [...this.figures, this.shadows, this.bars]) {
      instances.mesh.material.dispose();
      instances.dispose();
    }
  }

  private bar(
    slot: number,
    x: number,
    y: number,
    z: number,
    eye: { x: number; y: number; z: number },
    born: boolean,
  ): void {
    const [dx, dy, dz] = [x - eye.x, y - eye.y, z - eye.z];
    if (dx * dx + dy * dy + dz * dz > BARS_REACH * BARS_REACH) return;
    const { header, moment, bars } = this;
    const { before, after } = this.events;
    const from = born ? 0 : 1 - moment.fraction;
    const npc = slot >= header.agents;
    const skills = header.skills.length;
    const level =
      skills && this.constitution >= 0 ? (after.level[slot * skills + this.constitution] ?? 1) : 1;
    const maxHealth = npc ? (this.maxHealth[slot] ?? 1) : (header.maxima.health ?? level);
    const at = bars.next();
    bars.data[at] = x;
    bars.data[at + 1] = y + (this.heights[slot] ?? 1);
    bars.data[at + 2] = z;
    bars.data[at + 3] = moment.size[slot] ?? 1;
    const now = 1 - from;
    bars.data[at + 4] = ((before.health[slot] ?? 0) * from + (after.health[slot] ?? 0) * now) / maxHealth;
    bars.data[at + 5] = npc
      ? -1
      : ((before.food[slot] ?? 0) * from + (after.food[slot] ?? 0) * now) / header.maxima.food;
    bars.data[at + 6] = npc
      ? -1
      : ((before.water[slot] ?? 0) * from + (after.water[slot] ?? 0) * now) / header.maxima.water;
    bars.data[at + 7] = 0;
  }

  private color(slot: number, [red, green, blue]: readonly [number, number, number]): void {
    this.colors.set([red / 255, green / 255, blue / 255], 3 * slot);
  }
}

/** Redness of a wound, which appears when the attack hits. */
function flash(fraction: number): number {
  return Math.max(0, 1 - Math.abs(fraction - 0.75) / 0.2);
}

/** A flat ring of vertices around (0, 0). */
function disc(): BufferGeometry {
  const places: number[] = [];
  for (let k = 0; k < 8; k++) {
    const [a, b] = [(k * Math.PI) / 4, ((k + 1) * Math.PI) / 4];
    places.push(0, 0, 0, Math.cos(b), 0, Math.sin(b), Math.cos(a), 0, Math.sin(a));
  }
  return new BufferGeometry().setAttribute("position", new BufferAttribute(new Float32Array(places), 3));
}

/** Two triangles from -1 to 1 in x and y. */
export function square(): BufferGeometry {
  const places = [-1, -1, 0, 1, -1, 0, 1, 1, 0, -1, -1, 0, 1, 1, 0, -1, 1, 0];
  return new BufferGeometry().setAttribute("position", new BufferAttribute(new Float32Array(places), 3));
}

/** Minimum size at which entities are drawn: as if a tile had this many pixels. */
export const SMALLEST = 14;

/** Magnification that keeps an entity visible from afar. */
export const AFAR = `
  uniform float pixel;
  uniform vec3 screen;
  float afar(float away) { return clamp(${SMALLEST}.0 * screen.z * pixel * away, 1.0, 6.0); }
`;

const BODY = `
  uniform vec3 light, daylight;
  in vec4 place, state, color, paint;
  out vec4 tint;
  out float shown;
  ${FOG}
  ${AFAR}
  void main() {
    float away = -(viewMatrix * vec4(place.xyz, 1.0)).z;
    vec3 p = position;
    p.x += paint.z * 0.11 * sin(state.w * 6.2832) * (1.0 - smoothstep(0.0, 0.5, p.y));
    vec3 n = normal;
    // Tips over backwards.
    float c = cos(state.y), s = sin(state.y);
    p.xy = mat2(c, s, -s, c) * p.xy;
    n.xy = mat2(c, s, -s, c) * n.xy;
    c = cos(place.w); s = sin(place.w);
    p.xz = mat2(c, s, -s, c) * p.xz;
    n.xz = mat2(c, s, -s, c) * n.xz;
    p *= state.x * afar(away);
    p.y -= state.z * 0.6;
    vec3 base = mix(mix(color.rgb, vec3(1.0), paint.x), vec3(0.06, 0.07, 0.09), paint.y);
    // Frozen up to the chest; the head keeps more of its color.
    float ice = max(color.a, 0.0) * mix(0.85, 0.4, smoothstep(0.4, 0.56, position.y));
    base = mix(base, vec3(0.58, 0.87, 1.0), ice);
    base = mix(base, vec3(1.0, 0.12, 0.08), 0.75 * max(-color.a, 0.0));
    base = mix(base, vec3(1.0, 0.5, 0.1), state.z);
    float shade = 0.66 + 0.46 * max(dot(n, light), 0.0) - 0.12 * max(-n.y, 0.0);
    tint.rgb = paint.w > 0.5 ? base * 0.16 : min(base * shade, vec3(1.0));
    // Populations can be told apart at night, too.
    tint.rgb *= mix(daylight, vec3(1.0), 0.4);
    vec4 seen = viewMatrix * vec4(place.xyz + p, 1.0);
    tint.a = foggy(-seen.z);
    // Fallen entities dissolve.
    shown = 1.0 - smoothstep(0.5, 1.5, state.y);
    gl_Position = projectionMatrix * seen;
  }
`;

const SOLID = `
  in vec4 tint;
  in float shown;
  out vec4 color;
  ${SKY}
  void main() {
    if (shown < 1.0 && fract(52.98 * fract(dot(gl_FragCoord.xy, vec2(0.0671, 0.00584)))) > shown) discard;
    color = vec4(mix(tint.rgb, sky(), tint.a), 1.0);
  }
`;

const SHADOW = `
  in vec4 place;
  out float dark;
  ${FOG}
  ${AFAR}
  void main() {
    float away = -(viewMatrix * vec4(place.xyz, 1.0)).z;
    vec3 p = place.xyz + vec3(0.05, 0.03, -0.03);
    p.xz += position.xz * 0.33 * place.w * afar(away);
    vec4 seen = viewMatrix * vec4(p, 1.0);
    dark = (1.0 - length(position)) * (1.0 - foggy(-seen.z));
    gl_Position = projectionMatrix * seen;
  }
`;

const DARK = `
  in float dark;
  out vec4 color;
  void main() { color = vec4(0.0, 0.02, 0.05, min(dark * 0.9, 0.42)); }
`;

const BAR = `
  in vec4 place, filled;
  out vec2 at;
  out vec3 full;
  out float shown;
  ${AFAR}
  void main() {
    vec4 seen = viewMatrix * vec4(place.xyz, 1.0);
    float away = -seen.z;
    seen.y += 0.1 * afar(away);
    // Pixels per tile here.
    float tile = 1.0 / (pixel * away);
    float width = clamp(0.72 * tile, 12.0 * screen.z, 46.0 * screen.z);
    float height = max(floor(width * 0.13), 2.0) * (filled.y < 0.0 ? 1.0 : 3.0);
    vec4 where = projectionMatrix * seen;
    where.xy += (vec2(position.x * width, (position.y + 1.0) * height) / screen.xy) * where.w;
    at = position.xy * 0.5 + 0.5;
    full = filled.xyz;
    shown = smoothstep(14.0, 24.0, tile / screen.z) * place.w;
    gl_Position = where;
  }
`;

const STRIPES = `
  in vec2 at;
  in vec3 full;
  in float shown;
  out vec4 color;
  void main() {
    bool one = full.y < 0.0;
    float share = one || at.y > 0.667 ? full.x : at.y > 0.333 ? full.y : full.z;
    vec3 c = one || at.y > 0.667 ? vec3(0.878, 0.322, 0.290) : at.y > 0.333 ? vec3(0.925, 0.714, 0.267)
      : vec3(0.275, 0.627, 0.902);
    color = at.x <= share ? vec4(c, shown) : vec4(0.05, 0.06, 0.08, 0.72 * shown);
  }
`;
