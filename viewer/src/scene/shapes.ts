import { BufferAttribute, BufferGeometry } from "three";
import { Model } from "./model";

/**
 * Shapes of agents and NPCs, about a tile high, facing +x. Paint: how far the color is mixed with white
 * (first), with black (second); the third is how far a vertex swings when walking.
 *
 * Each is followed by its hull in nearly black, turned inside out, which gives it an outline; `solid`
 * vertices come before the hull.
 */
export interface Shape {
  readonly geometry: BufferGeometry;
  readonly solid: number;
  /** Height of the top, tiles. */
  readonly height: number;
}

/** The shape of an agent: a figure with a big head, arms and a face. */
export function agentShape(): Shape {
  const model = new Model();
  model.paint(0, 0.45, 1, 0).box(0, 0.08, 0.1, 0.13, 0.18, 0.12);
  model.paint(0, 0.45, -1, 0).box(0, 0.08, -0.1, 0.13, 0.18, 0.12);
  model.paint(0, 0, 0, 0).cone(0, 0.15, 0, 0.24, 0.13, 0.36, 7, true);
  model.paint(0, 0.2, -1, 0).box(0.03, 0.34, 0.235, 0.11, 0.24, 0.09, 0.8);
  model.paint(0, 0.2, 1, 0).box(0.03, 0.34, -0.235, 0.11, 0.24, 0.09, 0.8);
  model.paint(0.28, 0, 0, 0).ball(0, 0.66, 0, 0.2, 0.2, 0.2, 7, 4);
  model.paint(0, 0.85, 0, 0).box(0.165, 0.68, 0.075, 0.05, 0.085, 0.055);
  model.paint(0, 0.85, 0, 0).box(0.165, 0.68, -0.075, 0.05, 0.085, 0.055);
  return finish(model, 0.85);
}

/** An agent from afar: a body and a head. */
export function farAgentShape(): Shape {
  const model = new Model();
  model.paint(0, 0.05, 0, 0).cone(0, 0, 0, 0.25, 0.1, 0.52, 5, false);
  model.paint(0.28, 0, 0, 0).ball(0, 0.66, 0, 0.2, 0.2, 0.2, 5, 3);
  return finish(model, 0.85);
}

const NPCS: readonly (() => Shape)[] = [bird, goblin, beast, slime, spike];

/** The shape of a kind of NPC; there are five, which repeat for further kinds. */
export function npcShape(kind: number): Shape {
  return (NPCS[kind % NPCS.length] ?? bird)();
}

/** Number of NPC shapes. */
export const NPC_SHAPES = NPCS.length;

/** Small and round, with a tail, a beak and a comb. */
function bird(): Shape {
  const model = new Model();
  model.paint(0, 0.5, 1, 0).box(0.02, 0.07, 0.07, 0.05, 0.14, 0.05);
  model.paint(0, 0.5, -1, 0).box(0.02, 0.07, -0.07, 0.05, 0.14, 0.05);
  model.paint(0, 0, 0, 0).ball(0, 0.28, 0, 0.24, 0.17, 0.17, 7, 4);
  model.paint(0, 0.15, 0, 0).box(-0.24, 0.42, 0, 0.1, 0.2, 0.16, 1.5);
  model.paint(0.3, 0, 0, 0).ball(0.2, 0.5, 0, 0.11, 0.13, 0.11, 6, 4);
  model.paint(0, 0.55, 0, 0).cone(0.33, 0.46, 0, 0.05, 0, 0.08, 4, false);
  model.paint(0, 0.7, 0, 0).box(0.2, 0.65, 0, 0.14, 0.07, 0.04);
  return finish(model, 0.68);
}

/** Stooping, with long ears and a club. */
function goblin(): Shape {
  const model = new Model();
  model.paint(0, 0.4, 1, 0).box(0, 0.08, 0.11, 0.13, 0.18, 0.12);
  model.paint(0, 0.4, -1, 0).box(0, 0.08, -0.11, 0.13, 0.18, 0.12);
  model.paint(0, 0.15, 0, 0).box(0.02, 0.31, 0, 0.26, 0.32, 0.36, 0.75);
  model.paint(0.12, 0, 0, 0).ball(0.09, 0.6, 0, 0.19, 0.17, 0.17, 7, 4);
  model.triangle([0.06, 0.68, 0.14], [0.06, 0.56, 0.15], [-0.02, 0.72, 0.42]);
  model.triangle([0.06, 0.56, 0.15], [0.06, 0.68, 0.14], [-0.02, 0.72, 0.42]);
  model.triangle([0.06, 0.56, -0.15], [0.06, 0.68, -0.14], [-0.02, 0.72, -0.42]);
  model.triangle([0.06, 0.68, -0.14], [0.06, 0.56, -0.15], [-0.02, 0.72, -0.42]);
  model.paint(0.1, 0.3, 1, 0).box(0.2, 0.36, -0.25, 0.34, 0.08, 0.09, 1.1);
  model.paint(0.25, 0.1, 1, 0).box(0.38, 0.48, -0.25, 0.11, 0.32, 0.11, 1.5);
  return finish(model, 0.78);
}

/** Heavy, on four legs. */
function beast(): Shape {
  const model = new Model();
  for (const [x, z, swing] of [
    [0.22, 0.14, 1],
    [-0.24, 0.14, -1],
    [0.22, -0.14, -1],
    [-0.24, -0.14, 1],
  ] as const) {
    model.paint(0, 0.35, swing, 0).box(x, 0.12, z, 0.15, 0.24, 0.14);
  }
  model.paint(0, 0, 0, 0).ball(-0.03, 0.42, 0, 0.43, 0.27, 0.27, 8, 5);
  model.paint(0.08, 0, 0, 0).ball(0.4, 0.5, 0, 0.19, 0.18, 0.18, 7, 4);
  model.paint(0.3, 0, 0, 0).box(0.57, 0.45, 0, 0.14, 0.12, 0.14, 0.8);
  model.paint(0, 0.3, 0, 0).box(0.34, 0.68, 0.13, 0.05, 0.11, 0.1).box(0.34, 0.68, -0.13, 0.05, 0.11, 0.1);
  return finish(model, 0.78);
}

/** A drop. */
function slime(): Shape {
  const model = new Model();
  model.paint(0, 0, 0, 0).cone(0, 0, 0, 0.36, 0.3, 0.2, 9, false).cone(0, 0.2, 0, 0.3, 0.12, 0.24, 9, false);
  model.paint(0.2, 0, 0, 0).cone(0, 0.44, 0, 0.12, 0, 0.14, 9, false);
  model.paint(0, 0.85, 0, 0).box(0.28, 0.27, 0.1, 0.06, 0.1, 0.07).box(0.28, 0.27, -0.1, 0.06, 0.1, 0.07);
  return finish(model, 0.6);
}

/** A crystal that floats. */
function spike(): Shape {
  const model = new Model();
  model.paint(0.15, 0, 0, 0).cone(0, 0.45, 0, 0.28, 0, 0.5, 5, false);
  model.paint(0, 0.2, 0, 0).cone(0, 0.12, 0, 0.001, 0.28, 0.33, 5, false);
  model.paint(0.3, 0, 0, 0).cone(0.3, 0.36, 0, 0.09, 0, 0.26, 4, false);
  return finish(model, 0.98);
}

function finish(model: Model, height: number): Shape {
  const { position, normal, paint } = model.attributes();
  const corners = position.count;
  const geometry = new BufferGeometry();
  const positions = doubled(position, 3);
  const normals = doubled(normal, 3);
  const paints = doubled(paint, 4);
  // The hull: inverted faces, moved out along smooth normals, painted black (fourth number 1).
  const smooth = smoothNormals(position, normal);
  for (let corner = 0; corner < corners; corner++) {
    const face = corner - (corner % 3);
    const from = face + [0, 2, 1][corner % 3]!;
    for (let k = 0; k < 3; k++) {
      const out = smooth[3 * from + k] ?? 0;
      positions[3 * (corners + corner) + k] = position.getComponent(from, k) + 0.028 * out;
      normals[3 * (corners + corner) + k] = out;
    }
    paints[4 * (corners + corner) + 2] = paint.getComponent(from, 2);
    paints[4 * (corners + corner) + 3] = 1;
  }
  geometry.setAttribute("position", new BufferAttribute(positions, 3));
  geometry.setAttribute("normal", new BufferAttribute(normals, 3));
  geometry.setAttribute("paint", new BufferAttribute(paints, 4));
  return { geometry, solid: corners, height };
}

function doubled(attribute: BufferAttribute, size: number): Float32Array {
  const array = new Float32Array(2 * attribute.count * size);
  array.set(attribute.array);
  return array;
}

/** Per vertex the mean normal of all faces that meet at its position. */
function smoothNormals(position: BufferAttribute, normal: BufferAttribute): Float32Array {
  const sums = new Map<string, [number, number, number]>();
  const key = (corner: number): string =>
    [0, 1, 2].map((k) => Math.round(position.getComponent(corner, k) * 1000)).join();
  for (let corner = 0; corner < position.count; corner++) {
    const sum = sums.get(key(corner)) ?? [0, 0, 0];
    for (let k = 0; k < 3; k++) sum[k]! += normal.getComponent(corner, k);
    sums.set(key(corner), sum);
  }
  const out = new Float32Array(3 * position.count);
  for (let corner = 0; corner < position.count; corner++) {
    const [x, y, z] = sums.get(key(corner)) ?? [0, 0, 0];
    const length = Math.hypot(x, y, z) || 1;
    out.set([x / length, y / length, z / length], 3 * corner);
  }
  return out;
}
