import { WebGLRenderer } from "three";

const SOFTWARE = /llvmpipe|softpipe|swiftshader|software|basic render/i;

/** A canvas and its renderer. */
export interface Drawing {
  readonly renderer: WebGLRenderer;
  /** Name of the renderer in WebGL. */
  readonly name: string;
  /** Software rendering: drawing should be minimized. */
  readonly software: boolean;
}

/** Creates a renderer for a canvas. Throws an Error with a readable message if that is not possible. */
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
  // Error checks would wait for each shader; the tests of the scene check for errors instead.
  renderer.debug.checkShaderErrors = false;
  return { renderer, name, software };
}

/** Name of the renderer of this canvas; null without WebGL 2. Releases the context again. */
function rendererName(canvas: HTMLCanvasElement): string | null {
  const context = canvas.getContext("webgl2");
  if (!context) return null;
  // Firefox returns it directly, and warns about the extension.
  let name = String(context.getParameter(context.RENDERER));
  if (!/firefox/i.test(navigator.userAgent)) {
    const extension = context.getExtension("WEBGL_debug_renderer_info");
    if (extension) name = String(context.getParameter(extension.UNMASKED_RENDERER_WEBGL));
  }
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return name;
}
