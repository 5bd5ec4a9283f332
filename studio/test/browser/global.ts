// Finds what the tests need before any of them begins.
import { existsSync } from "node:fs";
import { resolve } from "node:path";

/** The browser, as Debian has it. */
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const root = resolve(import.meta.dirname, "../../..");
const built = ["release", "debug"].map((it) => resolve(root, "target", it, "retouch"));
/** This build's binary. */
export const RETOUCH = process.env.RETOUCH ?? built.find((it) => existsSync(it)) ?? built[0]!;

export default function setup(): void {
  for (const file of [CHROMIUM, RETOUCH]) if (!existsSync(file)) throw new Error(`${file} is missing`);
}
