import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: ["test/unit/**/*.test.ts"] } },
      { extends: true, test: { name: "bench", include: ["test/bench/**/*.test.ts"], globalSetup: ["test/browser/global.ts"] } },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          globalSetup: ["test/browser/global.ts"],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          // One server with one model: files run one after another.
          fileParallelism: false,
        },
      },
    ],
  },
});
