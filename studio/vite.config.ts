import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** The service that the development server passes calls on to. */
const service = process.env.RETOUCH_SERVER ?? "http://127.0.0.1:50051";

export default defineConfig({
  // Relative addresses: the page may be served under any path.
  base: "./",
  plugins: [svelte()],
  worker: { format: "es" },
  build: { outDir: "../assets/studio", emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 600 },
  server: { port: 5173, strictPort: true, proxy: { "^/retouch\\.v1\\.": service } },
});
