import { type BufferAttribute, BufferGeometry, DoubleSide, Group } from "three";
import type { Header } from "../model/types";
import { AFAR, square } from "./crowd";
import type { Events } from "./events";
import type { Ground } from "./ground";
import { Instances } from "./instances";
import { Model } from "./model";
import { shaded, type Shared } from "./shading";

/** Start and hit of a projectile, as shares of the tick. */
const LEAVES = 0.1;
const STRIKES = 0.78;

/** Effects from attacker to target: a slash in melee, an arrow at range, a glowing ball of magic. */
export class Effects {
  readonly group = new Group();
  private readonly slashes: Instances;
  private readonly arrows: Instances;
  private readonly balls: Instances;

  constructor(
    private readonly header: Header,
    private readonly ground: Ground,
    private readonly events: Events,
    shared: Shared,
  ) {
    const { uniforms } = shared;
    const flat = shaded({
      vertexShader: FLYING,
      fragmentShader: PLAIN,
      uniforms,
      transparent: true,
      depthWrite: false,
      side: DoubleSide,
    });
    const solid = shaded({ vertexShader: FLYING, fragmentShader: PLAIN, uniforms, side: DoubleSide });
    const glow = shaded({
      vertexShader: BALL,
      fragmentShader: GLOW,
      uniforms,
      transparent: true,
      depthWrite: false,
    });
    this.slashes = new Instances(crescent(), flat, { place: 4, ahead: 4 });
    this.arrows = new Instances(arrow(), solid, { place: 4, ahead: 4 });
    this.balls = new Instances(square(), glow, { place: 4 });
    for (const { mesh } of [this.slashes, this.arrows, this.balls]) {
      mesh.renderOrder = 10;
      this.group.add(mesh);
    }
  }

  /** Updates the active effects; none if effects are disabled. */
  update(fraction: number, wanted: boolean): void {
    const { events, slashes, arrows, balls } = this;
    const { before, after, attackers, attacked } = events;
    const number = wanted ? events.attacks : 0;
    slashes.begin(number);
    arrows.begin(number);
    balls.begin(number * 3);
    const share = (fraction - LEAVES) / (STRIKES - LEAVES);
    for (let n = 0; n < number && share > 0 && share < 1; n++) {
      const slot = attackers[n] ?? 0;
      const target = attacked[slot] ?? 0;
      const [x, z] = [(before.col[slot] ?? 0) + 0.5, (before.row[slot] ?? 0) + 0.5];
      const [toX, toZ] = [(before.col[target] ?? 0) + 0.5, (before.row[target] ?? 0) + 0.5];
      const [y, toY] = [this.ground.at(x, z) + 0.5, this.ground.at(toX, toZ) + 0.5];
      const length = Math.hypot(toX - x, toZ - z) || 1;
      const [dx, dz] = [(toX - x) / length, (toZ - z) / length];
      const style = slot < this.header.agents ? (after.style[slot] ?? 0) : 0;
      if (style === 0) {
        // Half way there, swinging through.
        const at = slashes.next();
        const reach = Math.max(0.5 * length, length - 0.45);
        slashes.data.set([x + dx * reach, (y + toY) / 2 + 0.1, z + dz * reach, 1 + 0.12 * (length - 1)], at);
        slashes.data.set([dx, 0.25, dz, Math.sin(Math.PI * share)], at + 4);
      } else if (style === 1) {
        const at = arrows.next();
        const rise = 0.12 * length;
        arrows.data.set(
          [
            x + dx * length * share,
            y + (toY - y) * share + rise * 4 * share * (1 - share),
            z + dz * length * share,
            1,
          ],
          at,
        );
        arrows.data.set([dx, (toY - y) / length + (rise * 4 * (1 - 2 * share)) / length, dz, 1], at + 4);
      } else {
        // The ball, with two sparks behind it.
        for (let spark = 0; spark < 3; spark++) {
          const part = share - 0.09 * spark;
          if (part < 0) continue;
          balls.data.set(
            [
              x + dx * length * part,
              y + (toY - y) * part + 0.06 * Math.sin(part * 20) * spark,
              z + dz * length * part,
              0.42 - 0.12 * spark,
            ],
            balls.next(),
          );
        }
      }
    }
    slashes.end();
    arrows.end();
    balls.end();
  }

  dispose(): void {
    for (const instances of [this.slashes, this.arrows, this.balls]) {
      instances.mesh.material.dispose();
      instances.dispose();
    }
  }
}

/** A sickle in the x-z plane, bulging to +x. Paint: color and opacity. */
function crescent(): BufferGeometry {
  const model = new Model();
  const steps = 8;
  for (let k = 0; k < steps; k++) {
    const edge = (n: number, inner: number): readonly [number, number, number] => {
      const angle = ((n / steps) * 2 - 1) * 1.25;
      const radius = 0.5 - inner * 0.2 * Math.cos((angle / 1.25) * (Math.PI / 2));
      return [radius * Math.cos(angle) - 0.36, 0, radius * Math.sin(angle)];
    };
    model.paint(1, 0.98, 0.85, 0.95);
    model.triangle(edge(k, 0), edge(k + 1, 0), edge(k, 1));
    model.triangle(edge(k + 1, 0), edge(k + 1, 1), edge(k, 1));
  }
  return geometry(model);
}

/** Along +x: shaft, head and feathers. */
function arrow(): BufferGeometry {
  const model = new Model();
  model.paint(0.45, 0.27, 0.1, 1).box(-0.05, 0, 0, 0.5, 0.05, 0.05);
  model.paint(1, 0.95, 0.55, 1);
  const tip = [0.36, 0, 0] as const;
  const back = [
    [0.16, 0.07, 0.07],
    [0.16, 0.07, -0.07],
    [0.16, -0.07, -0.07],
    [0.16, -0.07, 0.07],
  ] as const;
  for (let k = 0; k < 4; k++) model.triangle(tip, back[k]!, back[(k + 1) % 4]!);
  model.triangle(back[0], back[1], back[2]).triangle(back[0], back[2], back[3]);
  model.paint(1, 0.98, 0.9, 1).box(-0.28, 0, 0, 0.14, 0.02, 0.16).box(-0.28, 0, 0, 0.14, 0.16, 0.02);
  return geometry(model);
}

function geometry(model: Model): BufferGeometry {
  const { position, paint } = model.attributes() as { position: BufferAttribute; paint: BufferAttribute };
  return new BufferGeometry().setAttribute("position", position).setAttribute("paint", paint);
}

const FLYING = `
  in vec4 place, ahead, paint;
  out vec4 tint;
  ${AFAR}
  void main() {
    vec3 x = normalize(ahead.xyz);
    vec3 z = normalize(cross(x, vec3(0.0, 1.0, 0.0)));
    vec3 y = cross(z, x);
    float away = -(viewMatrix * vec4(place.xyz, 1.0)).z;
    vec3 p = position * place.w * afar(away);
    tint = vec4(paint.rgb, paint.a * ahead.w);
    gl_Position = projectionMatrix * viewMatrix * vec4(place.xyz + x * p.x + y * p.y + z * p.z, 1.0);
  }
`;

const PLAIN = `
  in vec4 tint;
  out vec4 color;
  void main() { color = tint; }
`;

const BALL = `
  in vec4 place;
  out vec2 at;
  ${AFAR}
  void main() {
    vec4 seen = viewMatrix * vec4(place.xyz, 1.0);
    at = position.xy;
    seen.xy += position.xy * place.w * afar(-seen.z);
    gl_Position = projectionMatrix * seen;
  }
`;

const GLOW = `
  in vec2 at;
  out vec4 color;
  void main() {
    float d = length(at);
    float heart = smoothstep(0.42, 0.2, d);
    float glow = max(0.0, 1.0 - d);
    color = vec4(mix(vec3(0.60, 0.36, 1.0), vec3(0.93, 0.86, 1.0), heart), max(heart, glow * 0.85));
  }
`;
