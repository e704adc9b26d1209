import { describe } from "vitest";
import { shareBrowser } from "./harness";
import { PYTHON } from "./programs";
import { WORLDS } from "./truth";

// All browser tests, in one browser. `npm run test:browser -- -t "^scene"` runs a part of them.

shareBrowser();
describe("scene", async () => {
  await import("./scene.tests");
});
describe("ui", async () => {
  await import("./ui.tests");
});
describe.runIf(WORLDS)("worlds", async () => {
  await import("./worlds.tests");
});
describe.runIf(PYTHON)("live", async () => {
  await import("./live.tests");
});
