import {
  CustomBlending,
  GLSL3,
  OneFactor,
  OneMinusSrcAlphaFactor,
  ShaderMaterial,
  type ShaderMaterialParameters,
  Vector2,
  Vector3,
} from "three";
import type { Rgb } from "./colours";
import { LIGHT } from "./chunk";

/**
 * Uniforms that all materials of the scene share. Colours are written as the screen shows them: there is no
 * conversion at the end, so that a tile on level ground has just the colour that the header names.
 */
export class Shared {
  readonly uniforms = {
    light: { value: LIGHT },
    /** Seconds, for water and lava. */
    time: { value: 0 },
    /** Distance at which fog begins, and 1 / how far from there to full fog. */
    fog: { value: new Vector2(100, 0.01) },
    skyLow: { value: new Vector3() },
    skyHigh: { value: new Vector3() },
    /** Pixels of the drawing, and how many there are to a CSS pixel. */
    screen: { value: new Vector3(1, 1, 1) },
    /** Size of a (device) pixel at distance 1. */
    pixel: { value: 0.001 },
  };

  /** Background of the light or the dark page. */
  background(dark: boolean): void {
    const [low, high] = dark ? DARK : BRIGHT;
    this.uniforms.skyLow.value.set(...low).divideScalar(255);
    this.uniforms.skyHigh.value.set(...high).divideScalar(255);
  }
}

/** What lies on the ground: mixed with it, yet drawn with what is solid, before all that stands there. */
export const MIXED = {
  blending: CustomBlending,
  blendSrcAlpha: OneFactor,
  blendDstAlpha: OneMinusSrcAlphaFactor,
  depthWrite: false,
} as const;

/** A material with shaders in GLSL ES 3. */
export function shaded(parameters: ShaderMaterialParameters): ShaderMaterial {
  return new ShaderMaterial({ glslVersion: GLSL3, ...parameters });
}

const DARK: readonly [Rgb, Rgb] = [
  [17, 21, 28],
  [38, 48, 62],
];
const BRIGHT: readonly [Rgb, Rgb] = [
  [236, 240, 243],
  [196, 214, 230],
];

/** For vertex shaders: how much of a place at this distance is hidden by fog. */
export const FOG = `
  uniform vec2 fog;
  float foggy(float away) {
    float share = clamp((away - fog.x) * fog.y, 0.0, 1.0);
    return share * share * (3.0 - 2.0 * share);
  }
`;

/** For fragment shaders: the background behind this pixel. */
export const SKY = `
  uniform vec3 skyLow, skyHigh, screen;
  vec3 sky() { return mix(skyLow, skyHigh, gl_FragCoord.y / screen.y); }
`;
