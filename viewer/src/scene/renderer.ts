import { WebGLRenderer } from "three";

const SOFTWARE = /llvmpipe|softpipe|swiftshader|software|basic render/i;

/** A canvas that is drawn on, and by what. */
export interface Drawing {
  readonly renderer: WebGLRenderer;
  /** As WebGL names it. */
  readonly name: string;
  /** Drawn by the processor: as little as possible is to be drawn. */
  readonly software: boolean;
}

/** Takes hold of a canvas. Throws an Error with a plain sentence if it cannot be drawn on. */
export function openRenderer(canvas: HTMLCanvasElement): Drawing {
  const name = rendererName(document.createElement("canvas"));
  if (name === null) {
    throw new Error(
      "This browser cannot draw in 3D: WebGL 2 is missing or disabled. A newer browser, or enabling " +
        "hardware acceleration in its settings, may help.",
    );
  }
  const software = SOFTWARE.test(name);
  const renderer = new WebGLRenderer({ canvas, antialias: !software, powerPreference: "high-performance" });
  // Asking for errors would wait for each shader; that there are none, the tests of the picture show.
  renderer.debug.checkShaderErrors = false;
  return { renderer, name, software };
}

/** Name of what would draw on this canvas; null without WebGL 2. Gives the context up again. */
function rendererName(canvas: HTMLCanvasElement): string | null {
  const context = canvas.getContext("webgl2");
  if (!context) return null;
  // Firefox says it right away, and warns of asking by the extension.
  let name = String(context.getParameter(context.RENDERER));
  if (!/firefox/i.test(navigator.userAgent)) {
    const extension = context.getExtension("WEBGL_debug_renderer_info");
    if (extension) name = String(context.getParameter(extension.UNMASKED_RENDERER_WEBGL));
  }
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return name;
}
