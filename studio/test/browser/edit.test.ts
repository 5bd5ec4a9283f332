// An edit from its picture to its result, at every size, in light and dark.
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, LONG, type Look, STAR, Visitor } from "./page";
import { Door, Server } from "./server";

let server: Server;
let door: Door;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  door = await Door.open(server.port);
});
afterAll(async () => {
  door.close();
  await browser.close();
  await server.stop();
});

/** Folder for pictures of the page, where somebody wants to look at them. */
const SHOTS = process.env.STUDIO_SHOTS;

async function shot(visitor: Visitor, name: string, { width, scheme }: Look): Promise<void> {
  if (SHOTS) await visitor.page.screenshot({ path: `${SHOTS}/${name}-${width}-${scheme}.png` });
}

const LOOKS: Look[] = [
  { width: 1440, height: 900, scheme: "light" },
  { width: 768, height: 1024, scheme: "dark" },
  { width: 390, height: 844, scheme: "light" },
];
// The other scheme at each size takes a minute more.
if (process.env.STUDIO_LOOKS === "all") LOOKS.push(...LOOKS.map((it): Look => ({ ...it, scheme: it.scheme === "light" ? "dark" : "light" })));

test.each(LOOKS)("an edit is seen, corrected and compared at $width × $height, $scheme", async (look) => {
  const visitor = await Visitor.at(browser, door.url, look);
  const { page } = visitor;
  await page.getByRole("heading", { name: "Keep every other pixel" }).waitFor();
  await visitor.accessible("the first screen");
  await shot(visitor, "start", look);
  await visitor.example();
  await visitor.find();

  // What was understood stands in chips.
  expect(await page.getByLabel("Object", { exact: true }).inputValue()).toBe("the red star");
  expect(await page.getByLabel("Kind of edit").inputValue()).toBe("1");
  expect(await page.getByText("found by asking for").innerText()).toContain("the red star");
  const share = await visitor.area();
  expect(share).toBeGreaterThan(5);
  await visitor.accessible("the clusters");
  await shot(visitor, "clusters", look);
  await page.getByRole("button", { name: "star", exact: true }).click();
  await page.getByRole("button", { name: "star", exact: true, pressed: true }).waitFor();
  await shot(visitor, "words", look);

  expect(await visitor.edit()).toMatch(/^Unchanged outside the mask: [\d,]+ pixels compared, 0 differ$/);
  const split = page.getByLabel("Before and after");
  await split.focus();
  await page.keyboard.press("ArrowRight");
  expect(Number(await split.inputValue())).toBeCloseTo(0.505, 3);
  await visitor.accessible("the result");
  await shot(visitor, "compare", look);
  await page.getByRole("radio", { name: "Difference" }).click();
  await shot(visitor, "difference", look);
  const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  expect(isWide, "the page scrolls sideways").toBe(false);
  await visitor.leave();
});

test("a corrected chip asks anew for that object, and pass 1 is made for it", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.find();
  await page.getByLabel("Object", { exact: true }).fill("the blue house");
  await visitor.button("Find").click();
  await page.getByText("found by asking for").filter({ hasText: "the blue house" }).waitFor({ timeout: LONG });
  await page.getByRole("checkbox").first().waitFor({ timeout: LONG });
  const [job] = (await server.service.listEditJobs({ pageSize: 1 })).jobs;
  expect(job!.spec!.object).toBe("the blue house");
  await visitor.leave();
});

test("previews come in both passes, in pass 2 inside the mask alone", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.say("make the red star black");
  // Colors of the stage where the orange house stands, outside the mask, and where the star does.
  const colors = () =>
    page.evaluate(() => {
      const canvas = document.querySelector<HTMLCanvasElement>(".stage canvas")!;
      const pen = canvas.getContext("2d")!;
      const box = { width: canvas.width, height: canvas.height };
      const side = Math.min(box.width, box.height) - 48;
      const at = (x: number, y: number) => [...pen.getImageData((box.width - side) / 2 + x * side, (box.height - side) / 2 + y * side, 1, 1).data].join();
      return [at(0.3, 0.2), at(0.69, 0.72)] as const;
    });
  const [house, star] = await colors();
  const seen = { pass1: new Set<string>(), house2: new Set<string>(), star2: new Set<string>() };
  await visitor.button("Find").click();
  await visitor.button("Stop").waitFor();
  while (await visitor.button("Stop").isVisible()) {
    seen.pass1.add((await colors())[0]);
    await page.waitForTimeout(20);
  }
  await page.getByRole("checkbox").first().waitFor();
  await visitor.button("Edit").click();
  await visitor.button("Stop").waitFor();
  await page.getByText(/Editing, step \d+ of 20/).waitFor({ timeout: LONG });
  while (await visitor.button("Stop").isVisible()) {
    const [at, inside] = await colors();
    if (await page.getByText(/Editing, step/).isVisible()) {
      seen.house2.add(at);
      seen.star2.add(inside);
    }
    await page.waitForTimeout(20);
  }
  expect(seen.pass1.size, "previews of pass 1").toBeGreaterThan(1);
  expect([...seen.house2]).toEqual([house]);
  expect([...seen.star2].some((it) => it !== star), "previews in the mask").toBe(true);
  await visitor.leave();
});

test("plain InstructPix2Pix stands beside on request, and changes more", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.find();
  await visitor.edit();
  await visitor.button("Plain model").click();
  await page.getByText("plain InstructPix2Pix").waitFor();
  await expect.poll(async () => (await server.service.listEditJobs({ labels: { studio: "plain" }, states: [6] })).jobs.length, { timeout: LONG }).toBe(1);
  const { jobs } = await server.service.listEditJobs({ pageSize: 2 });
  expect(jobs[0]!.spec!.seed).toBe(jobs[1]!.spec!.seed);
  if (SHOTS) await page.waitForTimeout(500);
  await shot(visitor, "side", LOOKS[0]!);
  await visitor.leave();
});

test("an instruction that asks for two edits is decided part by part, each on what the part before it made", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.say("remove the red star, then make the blue house green");
  await visitor.button("Find").click();
  await page.getByText("1 of 2: remove the red star").waitFor({ timeout: LONG });
  await visitor.button("Edit").click({ timeout: LONG });
  await page.getByText(/^2 of 2: .*blue house/).waitFor({ timeout: LONG });
  await page.getByRole("checkbox").first().waitFor({ timeout: LONG });
  await visitor.button("Edit").click({ timeout: LONG });
  await visitor.kept.waitFor({ timeout: LONG });
  expect(await visitor.kept.innerText()).toMatch(/pixels compared, 0 differ$/);
  await visitor.leave();
});

test("pictures are dropped, pasted and chosen", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  const base64 = STAR.toString("base64");
  for (const kind of ["drop", "paste"] as const) {
    await page.evaluate(
      ([kind, base64]) => {
        const bytes = Uint8Array.from(atob(base64), (it) => it.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }) : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
      },
      [kind, base64] as const,
    );
    await page.getByText(`${kind}.png`).waitFor();
    await page.getByText("512 × 512").waitFor();
  }
  await visitor.give("chosen.png", STAR);
  await page.getByText("chosen.png").waitFor();
  await visitor.leave();
});
