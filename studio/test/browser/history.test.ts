// Edits so far: back to one, further from one, variants, files with their record, commands for other tools.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, LONG, Visitor } from "./page";
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

test("an edit is gone back to, also after the page was loaded anew, and its mask is used without pass 1", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.find();
  const found = await visitor.area();
  // One that awaits its mask is gone on with.
  await page.reload();
  await page.getByRole("navigation", { name: "Edits so far" }).getByRole("button").first().click();
  await expect.poll(() => visitor.area(), { timeout: LONG }).toBe(found);
  await visitor.edit();
  const area = await visitor.area();
  await page.reload();
  await page.getByRole("navigation", { name: "Edits so far" }).getByRole("button").first().click();
  await visitor.kept.waitFor({ timeout: LONG });
  expect(await page.getByLabel("What should change").inputValue()).toBe("make the red star yellow");
  expect(await visitor.area()).toBeCloseTo(area, 0);
  await visitor.say("make the red star green");
  await visitor.edit();
  const [job] = (await server.service.listEditJobs({ pageSize: 1 })).jobs;
  expect(job!.spec!.instruction).toBe("make the red star green");
  expect(Number(job!.result!.timings?.localize?.nanos ?? 0) + Number(job!.result!.timings?.localize?.seconds ?? 0n)).toBe(0);
  await visitor.leave();
});

test("a result is edited further, by its name at the server", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await page.getByRole("navigation", { name: "Edits so far" }).getByRole("button").first().click();
  await visitor.kept.waitFor({ timeout: LONG });
  const [before] = (await server.service.listEditJobs({ pageSize: 1 })).jobs;
  await visitor.button("Edit further").click();
  await visitor.say("remove the blue house");
  await visitor.find();
  const [job] = (await server.service.listEditJobs({ pageSize: 1 })).jobs;
  expect(job!.spec!.image!.source).toEqual({ case: "artifact", value: before!.result!.image!.name });
  await visitor.leave();
});

test("ten variants come in a grid over one watch, and the page's calls are answered meanwhile", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await page.getByRole("navigation", { name: "Edits so far" }).getByRole("button").nth(1).click();
  await visitor.kept.waitFor({ timeout: LONG });
  // A second tab of the same page.
  const other = await visitor.context.newPage();
  await other.goto(door.url);
  await other.getByText("Keep every other pixel").waitFor();
  door.mostWatches = 0;
  await page.getByLabel("How many variants").fill("1000");
  await visitor.button("Make variants").click();
  const grid = page.getByRole("region", { name: "Variants" });
  await grid.getByText(/in the queue/).first().waitFor();
  // The list is asked for and answered while all ten wait or run.
  const asked = Date.now();
  await visitor.button("Jobs").click();
  await page.getByRole("dialog").getByText("make the red star green").first().waitFor({ timeout: 10_000 });
  expect(Date.now() - asked).toBeLessThan(10_000);
  await page.keyboard.press("Escape");
  await grid.getByText("10 of 10").waitFor({ timeout: LONG });
  expect(door.mostWatches).toBe(1);
  const seeds = await grid.getByText(/^Seed/).allInnerTexts();
  expect(new Set(seeds).size).toBe(10);
  if (process.env.STUDIO_SHOTS) await page.screenshot({ path: `${process.env.STUDIO_SHOTS}/variants-1440-light.png` });
  await grid.getByRole("button").nth(3).click();
  await visitor.kept.waitFor();
  await visitor.leave();
});

test("a download is the server's file, with the record of how it was made", async () => {
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await page.getByRole("navigation", { name: "Edits so far" }).getByRole("button").first().click();
  await visitor.kept.waitFor({ timeout: LONG });
  const { name, bytes } = await visitor.download("Download");
  expect(name).toBe("star.edited.png");
  expect(bytes.includes("iTXtretouch") || bytes.includes("retouch\0")).toBe(true);
  expect(bytes.includes("DigitalSourceType")).toBe(true);
  await visitor.leave();
});

test("“copy as” runs an instruction with quotes, a command and line breaks unharmed, and holds no key", async () => {
  const keyed = await Server.start({ keys: true });
  const visitor = await Visitor.at(browser, `http://localhost:${keyed.port}/`);
  const { page } = visitor;
  await page.locator("#key").fill(keyed.key);
  await visitor.button("Use the key").click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const said = "make the red star yellow; it's \"quick\" $(touch harm) `touch harm` \\ $HOME";
  await visitor.example();
  await visitor.say(said);
  await page.getByRole("application").focus();
  await page.keyboard.press("r");
  await visitor.drag([0.5, 0.5], [0.95, 0.95]);
  await visitor.edit();
  await visitor.button("Copy as…").click();
  const folder = mkdtempSync(join(tmpdir(), "studio-"));
  for (const tool of ["retouch", "grpcurl"]) {
    await page.getByRole("tab", { name: tool }).click();
    const text = await page.locator("[data-command]").innerText();
    expect(text).not.toContain(keyed.key);
    writeFileSync(join(folder, tool), '#!/bin/bash\nprintf "%s\\0" "$@" > words\n');
    chmodSync(join(folder, tool), 0o755);
    execFileSync("bash", ["-c", text], { cwd: folder, env: { PATH: `${folder}:/usr/bin:/bin`, RETOUCH_API_KEY: "x" } });
    const words = readFileSync(join(folder, "words"), "utf8").split("\0");
    if (tool === "retouch") expect(words).toContain(said);
    else expect((JSON.parse(words[words.indexOf("-d") + 1]!) as { spec: { instruction: string } }).spec.instruction).toBe(said);
  }
  await page.getByRole("tab", { name: "Python" }).click();
  const source = await page.locator("[data-command]").innerText();
  expect(source).not.toContain(keyed.key);
  const literal = execFileSync("python3", ["-c", "import ast, sys\nfor it in ast.walk(ast.parse(sys.stdin.read())):\n    if isinstance(it, ast.Constant) and 'quick' in str(it.value): print(it.value, end='')"], { input: source, encoding: "utf8" });
  expect(literal).toBe(said);
  expect(readdirSync(folder).sort()).toEqual(["grpcurl", "retouch", "words"]);
  await visitor.leave();
  await keyed.stop();
});
