// How fast the page is, from Chromium's trace: first paint, and how long it takes to answer while previews arrive.
import { test } from "vitest";
import { launch, Visitor } from "../browser/page";
import { Server } from "../browser/server";

interface TraceEvent {
  name: string;
  ts: number;
  args: { data?: { type?: string; duration?: number; interactionId?: number; documentLoaderURL?: string } };
}

/** Rounds of each measurement. */
const ROUNDS = 5;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

test("first paint, and interactions while previews arrive", { timeout: 600_000 }, async () => {
  const server = await Server.start();
  const browser = await launch();
  const url = `http://localhost:${server.port}/`;
  const traced = async (act: (visitor: Visitor) => Promise<void>, prepare?: (visitor: Visitor) => Promise<void>): Promise<TraceEvent[]> => {
    const visitor = await Visitor.at(browser, prepare ? url : "about:blank");
    await prepare?.(visitor);
    await browser.startTracing(visitor.page, { categories: ["devtools.timeline", "loading", "blink.user_timing"] });
    await act(visitor);
    const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
    await visitor.leave();
    return trace.traceEvents;
  };

  const paints: number[] = [];
  const waits: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const loaded = await traced(async ({ page }) => {
      await page.goto(url);
      await page.getByText("Keep every other pixel").waitFor();
      await page.waitForTimeout(500);
    });
    const start = loaded.filter((it) => it.name === "navigationStart" && it.args.data?.documentLoaderURL?.startsWith(url)).at(-1);
    const paint = loaded.filter((it) => it.name === "firstContentfulPaint").at(-1);
    if (start && paint) paints.push((paint.ts - start.ts) / 1000);

    const used = await traced(
      async (visitor) => {
        await visitor.button("Edit").click();
        await visitor.page.getByText(/Editing, step/).waitFor();
        await visitor.page.keyboard.press("b");
        for (let i = 0; i < 8 && (await visitor.button("Stop").isVisible()); i++) {
          await visitor.drag([0.1 + i * 0.05, 0.1], [0.2 + i * 0.05, 0.2]);
          await visitor.page.getByRole("checkbox").nth(i).click();
          await visitor.page.keyboard.press("]");
        }
        await visitor.page.waitForTimeout(300);
      },
      async (visitor) => {
        await visitor.example();
        await visitor.find();
      },
    );
    waits.push(...used.filter((it) => it.name === "EventTiming" && (it.args.data?.interactionId ?? 0) > 0).map((it) => it.args.data!.duration ?? 0));
  }
  const sorted = waits.toSorted((a, b) => a - b);
  console.log(`first paint: median ${median(paints).toFixed(0)} ms of ${paints.length}`);
  console.log(`interactions while previews arrive: ${sorted.length}, median ${median(sorted).toFixed(0)} ms, 98 % within ${(sorted[Math.floor(sorted.length * 0.98)] ?? Number.NaN).toFixed(0)} ms`);
  await browser.close();
  await server.stop();
});
