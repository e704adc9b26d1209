import { afterAll, expect, test } from "vitest";
import { builtPage, colourAt, near, pixels, serve, useBrowser } from "./harness";

const session = useBrowser();
const server = await serve(builtPage());
afterAll(() => server.close());

test("the built page draws by WebGL", async () => {
  const page = await session.open(server.url, 641, 479);
  const picture = await pixels(page);
  console.log(`WebGL: ${session.renderer}`);
  expect([picture.width, picture.height]).toEqual([641, 479]);
  const colour = colourAt(picture, 320, 240);
  expect(near(colour, [0x3a, 0x7c, 0xa5]), `the middle is ${colour.join()}`).toBe(true);
});
