import { mergeConfig } from "vitest/config";
import browser from "./vitest.browser.config.ts";

// The pictures of the documentation (scripts/take_pictures.sh), taken in a browser as the tests drive it.
const config = mergeConfig(browser, {});
config.test = { ...config.test, include: ["pictures/*.ts"] };
export default config;
