import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import puppeteer, { type Browser, type LaunchOptions } from "puppeteer-core";

/** A started browser. */
export interface Started {
  readonly browser: Browser;
  /** The renderer reported by WebGL, for example "llvmpipe (LLVM 15.0.6, 256 bits)". */
  readonly renderer: string;
  /** Closes the browser and the display created for it. */
  close(): Promise<void>;
}

const CHROMIUM_FLAGS = [
  "--no-first-run",
  "--no-proxy-server",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-dev-shm-usage",
  "--disable-sync",
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
];
const MESA = ["--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"];
const SWIFTSHADER = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];

const FIREFOX_PREFERENCES = {
  // Limits the frame rate, since software rendering would draw as many frames as it can.
  "layout.frame_rate": 20,
  "webgl.disabled": false,
  "webgl.force-enabled": true,
  // The full name of the renderer, rather than "llvmpipe, or similar".
  "webgl.sanitize-unmasked-renderer": false,
  "webgl.disable-fail-if-major-performance-caveat": true,
  "network.proxy.type": 0,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.aboutwelcome.enabled": false,
  "browser.region.network.url": "",
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "services.settings.server": "data:,#remote-settings-dummy/v1",
  "toolkit.telemetry.enabled": false,
};

/**
 * Starts the browser that the environment variable BROWSER names, "chromium" (default) or "firefox", without
 * a window and with WebGL in software. CHROMIUM and FIREFOX may name the executables.
 *
 * Throws an Error that says what to install if there is no such browser, or if it has no WebGL 2.
 */
export async function launch(): Promise<Started> {
  const name = process.env["BROWSER"] ?? "chromium";
  if (name === "chromium") return launchChromium();
  if (name === "firefox") return launchFirefox();
  throw new Error(`BROWSER is "${name}"; it must be chromium or firefox`);
}

async function launchChromium(): Promise<Started> {
  const executablePath = find("CHROMIUM", ["chromium", "chromium-browser", "google-chrome"]);
  for (const graphics of [MESA, SWIFTSHADER]) {
    const started = await start({ executablePath, args: [...CHROMIUM_FLAGS, ...graphics] });
    if (started) return started;
  }
  throw new Error(`${executablePath} has no WebGL 2, neither by Mesa nor by SwiftShader`);
}

async function launchFirefox(): Promise<Started> {
  const executablePath = find("FIREFOX", ["firefox-esr", "firefox"]);
  const display = await openDisplay();
  const started = await start(
    {
      browser: "firefox",
      executablePath,
      headless: false,
      extraPrefsFirefox: FIREFOX_PREFERENCES,
      env: { ...process.env, DISPLAY: display.name, MOZ_ENABLE_WAYLAND: "0", LIBGL_ALWAYS_SOFTWARE: "1" },
    },
    display.close,
  );
  if (started) return started;
  throw new Error(`${executablePath} has no WebGL 2; on Debian and Ubuntu: apt-get install libgl1-mesa-dri`);
}

/** Returns the browser, or null with everything closed if WebGL 2 is not available. */
async function start(options: LaunchOptions, release = (): void => {}): Promise<Started | null> {
  let browser: Browser;
  try {
    // Wrapper scripts of distributions write to stderr; errors that matter are exceptions.
    browser = await puppeteer.launch({ timeout: 90_000, protocolTimeout: 120_000, ...options });
  } catch (error) {
    release();
    throw error;
  }
  const close = async (): Promise<void> => {
    await browser.close();
    release();
  };
  const page = await browser.newPage();
  const renderer = await page.evaluate(() => {
    const context = document.createElement("canvas").getContext("webgl2");
    if (!context) return null;
    const names = context.getExtension("WEBGL_debug_renderer_info");
    return String(context.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER));
  });
  await page.close();
  if (renderer !== null) return { browser, renderer, close };
  await close();
  return null;
}

/** Returns the executable that an environment variable names, or the first of `names` on the PATH. */
function find(variable: string, names: readonly string[]): string {
  const named = process.env[variable];
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const candidates = named ? [named] : names.flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (found) return found;
  throw new Error(
    named
      ? `${variable} names ${named}, which cannot be run`
      : `none of ${names.join(", ")} is on the PATH: run scripts/install_browsers.sh, or set ${variable}`,
  );
}

/** Starts Xvfb on a free display. */
async function openDisplay(): Promise<{ name: string; close: () => void }> {
  const xvfb = find("XVFB", ["Xvfb"]);
  const server = spawn(xvfb, ["-displayfd", "3", "-screen", "0", "1920x1200x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const close = (): void => {
    server.kill();
  };
  process.once("exit", close);
  const number = await new Promise<string>((resolve, reject) => {
    server.stdio[3]?.once("data", (data: Buffer) => resolve(data.toString().trim()));
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`${xvfb} ended with status ${code}`)));
  });
  return { name: `:${number}`, close };
}
