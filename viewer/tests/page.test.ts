import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the page refers to nothing outside its own folder", () => {
  const page = readFileSync(new URL("../index.html", import.meta.url), "utf-8");
  expect(page).not.toMatch(/https?:\/\//);
});
