// Jobs at the server: queue, cancel, list; a server that is away, full, or wants a key; pictures that it does not take.
import { fromBinary } from "@bufbuild/protobuf";
import { crc32, deflateSync } from "node:zlib";
import { randomBytes } from "node:crypto";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EditJob_State as State, WatchEditJobRequestSchema } from "../../src/gen/retouch/v1/edit_pb";
import { launch, LONG, STAR, Visitor } from "./page";
import { Door, Server } from "./server";

let server: Server;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start({ keys: true, environment: { RETOUCH__JOBS__QUEUE_LIMIT: "2" } }), launch()]);
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});

/** A visitor who has given the key. */
async function known(door: Door): Promise<Visitor> {
  const visitor = await Visitor.at(browser, door.url);
  await visitor.page.locator("#key").fill(server.key);
  await visitor.button("Use the key").click();
  await visitor.page.getByRole("dialog").waitFor({ state: "hidden" });
  await visitor.page.getByText("demo-model").waitFor();
  return visitor;
}

/** A job that runs until it is cancelled. */
async function busy(): Promise<string> {
  const image = { source: { case: "data" as const, value: Uint8Array.from(STAR) } };
  const job = await server.service.createEditJob({ spec: { image, instruction: "make the red star blue", steps: 900, localizeSteps: 900 } });
  return job.name;
}

test("a wrong key is said, and the right one is used and kept nowhere", async () => {
  const door = await Door.open(server.port);
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  const dialog = page.getByRole("dialog", { name: "Key of the server" });
  await dialog.waitFor();
  await page.locator("#key").fill("“rt_wrong”");
  await visitor.button("Use the key").click();
  await dialog.getByRole("alert").getByText("ASCII").waitFor();
  await page.locator("#key").fill("rt_wrong");
  await visitor.button("Use the key").click();
  await dialog.getByRole("alert").getByText("ASCII").waitFor({ state: "hidden" });
  await dialog.getByRole("alert").waitFor();
  await visitor.accessible("the key's dialog");
  await page.locator("#key").fill(server.key);
  await visitor.button("Use the key").click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByText("demo-model").waitFor();
  const kept = await page.evaluate(async () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, await indexedDB.databases(), document.documentElement.outerHTML]));
  expect(kept).not.toContain(server.key);
  await page.reload();
  await dialog.waitFor();
  await visitor.leave();
  door.close();
});

test("the place in the queue is shown, a full queue is said and waited for, and jobs are cancelled", async () => {
  const door = await Door.open(server.port);
  const visitor = await known(door);
  const { page } = visitor;
  const running = [await busy(), await busy()];
  await expect.poll(async () => (await server.service.getEditJob({ name: running[0]! })).state, { timeout: LONG }).toBe(State.LOCALIZING);
  await visitor.example();
  await visitor.button("Find").click();
  await page.getByText("Waiting, 2 of 2 in the queue").waitFor({ timeout: LONG });
  const [mine] = (await server.service.listEditJobs({ pageSize: 1 })).jobs;

  // Another tab finds the queue full.
  const late = await known(door);
  await late.example();
  await late.button("Find").click();
  await late.page.getByText(/Trying again in \d+ s/).waitFor({ timeout: LONG });
  await late.button("Give up").click();
  await late.button("Find").waitFor();
  await late.leave();

  await visitor.button("Jobs").click();
  const list = page.getByRole("dialog", { name: "Jobs at the server" });
  await list.getByText("2 of 2 in the queue").waitFor();
  expect(await list.getByRole("listitem").count()).toBeGreaterThanOrEqual(3);
  await visitor.accessible("the list of jobs");
  await list.getByRole("listitem").filter({ hasText: "make the red star yellow" }).first().getByRole("button", { name: "Cancel" }).click();
  await expect.poll(async () => (await server.service.getEditJob({ name: mine!.name })).state, { timeout: LONG }).toBe(State.CANCELLED);
  await page.keyboard.press("Escape");
  await visitor.button("Find").waitFor();
  for (const name of running) await server.service.cancelEditJob({ name });
  await visitor.leave();
  door.close();
});

test("a server that is away is said and waited for; the watch goes on after the last event, and nothing is lost", async () => {
  const door = await Door.open(server.port);
  const visitor = await known(door);
  const { page } = visitor;
  await visitor.example();
  await visitor.button("Find").click();
  await visitor.button("Stop").waitFor();
  await page.getByText(/step \d/).waitFor({ timeout: LONG });
  door.shut();
  await page.getByText("The server does not answer").waitFor({ timeout: LONG });
  await visitor.accessible("the server is away");
  await server.kill();
  await server.run();
  const watches = door.named("WatchEditJob").length;
  door.isShut = false;
  await page.getByText("The server does not answer").waitFor({ state: "hidden", timeout: LONG });
  await visitor.button("Edit").waitFor({ timeout: LONG });
  await expect.poll(() => page.getByRole("checkbox").count(), { timeout: LONG }).toBeGreaterThan(1);
  // A message of gRPC-Web has five bytes before it.
  const again = fromBinary(WatchEditJobRequestSchema, door.named("WatchEditJob")[watches]!.body.subarray(5));
  expect(again.afterSequence).toBeGreaterThan(0n);
  await visitor.leave();
  door.close();
});

test("a picture of 20 MB is edited, one that is larger than the server takes is refused at once, and what is none, too", async () => {
  const door = await Door.open(server.port);
  const visitor = await known(door);
  const { page } = visitor;
  await visitor.give("noise.png", png(2700, 2500));
  await page.getByText("2700 × 2500").waitFor({ timeout: LONG });
  await visitor.say("make the red star yellow");
  await page.getByRole("application").focus();
  await page.keyboard.press("r");
  const [a, b] = [await visitor.over(0.4, 0.4, 1.08), await visitor.over(0.6, 0.6, 1.08)];
  await page.mouse.move(a.x, a.y);
  await page.mouse.down();
  await page.mouse.move(b.x, b.y);
  await page.mouse.up();
  await visitor.button("Edit").click();
  await visitor.kept.waitFor({ timeout: LONG });
  expect(await visitor.kept.innerText()).toMatch(/6,\d{3},\d{3} pixels compared, 0 differ/);

  const calls = door.calls.length;
  await visitor.give("large.png", Buffer.alloc(33 << 20));
  await page.getByRole("alert").getByText("large.png has 33.0 MiB, and this server takes pictures of up to 31.9 MiB.").waitFor();
  await visitor.give("note.png", Buffer.from("<svg onload=alert(1)>"));
  await page.getByRole("alert").getByText("note.png is not a picture that can be read").waitFor();
  expect(door.calls.slice(calls).filter((it) => it.method === "CreateEditJob")).toEqual([]);
  // A picture that the browser reads and the server does not.
  await visitor.give("thin.png", png(4, 4));
  await page.getByText("4 × 4").waitFor();
  await visitor.say("make it red");
  await visitor.button("Find").click();
  await page.getByRole("alert").getByText(/16/).waitFor({ timeout: LONG });
  await visitor.leave();
  door.close();
});

/** A PNG of noise. */
function png(width: number, height: number): Buffer {
  const rows = Buffer.alloc(height * (width * 3 + 1));
  const noise = randomBytes(rows.length);
  for (let y = 0; y < height; y++) noise.copy(rows, y * (width * 3 + 1) + 1, y * (width * 3 + 1) + 1, (y + 1) * (width * 3 + 1));
  const chunk = (name: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", head), chunk("IDAT", deflateSync(rows, { level: 1 })), chunk("IEND", Buffer.alloc(0))]);
}
