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
import { daylightTint, type Rgb } from "./colors";
import { LIGHT } from "./chunk";

/**
 * Uniforms that all materials of the scene share. Colors are given in display space and are not converted, so a
 * tile on level ground has exactly the color in the header.
 */
export class Shared {
  readonly uniforms = {
    light: { value: LIGHT },
    /** Seconds, for water and lava. */
    time: { value: 0 },
    /** Colors of what is lit by the sky are multiplied by this. */
    daylight: { value: new Vector3(1, 1, 1) },
    /** Distance at which fog begins, and 1 / the distance from there to full fog. */
    fog: { value: new Vector2(100, 0.01) },
    skyLow: { value: new Vector3() },
    skyHigh: { value: new Vector3() },
    /** Size of the canvas in pixels, and pixels per CSS pixel. */
    screen: { value: new Vector3(1, 1, 1) },
    /** Size of a (device) pixel at distance 1. */
    pixel: { value: 0.001 },
  };

  /** Background of the light or the dark theme, in the current daylight. */
  background(dark: boolean): void {
    const { skyLow, skyHigh, daylight } = this.uniforms;
    const [low, high] = dark ? DARK : BRIGHT;
    skyLow.value
      .set(...low)
      .divideScalar(255)
      .multiply(daylight.value);
    skyHigh.value
      .set(...high)
      .divideScalar(255)
      .multiply(daylight.value);
  }

  /** @param light 0 at night to 1 by day. */
  light(light: number): void {
    this.uniforms.daylight.value.set(...daylightTint(light));
  }
}

/** For marks on the ground: blended with it, but drawn with the opaque objects, before those on the ground. */
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

/** For vertex shaders: share of fog at this distance. */
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
