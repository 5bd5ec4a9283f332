// Safe in a browser: headers, no other origin, texts as texts, nothing kept.
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, LONG, STAR, Visitor } from "./page";
import { Door, Server } from "./server";

let server: Server;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});

test("every file of the page carries the headers, and nothing else is a page", async () => {
  const base = `http://localhost:${server.port}/`;
  const index = await (await fetch(base)).text();
  const files = ["", "icon.svg", "examples/star.png", ...[...index.matchAll(/"\.\/(assets\/[^"]+)"/g)].map((it) => it[1]!)];
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    const answer = await fetch(base + file);
    expect(answer.status, file).toBe(200);
    const policy = answer.headers.get("content-security-policy")!;
    for (const rule of ["default-src 'self'", "img-src 'self' blob: data:", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'"]) expect(policy).toContain(rule);
    expect(policy).not.toMatch(/unsafe|http|\*/);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
    expect(answer.headers.get("content-type")).not.toContain("octet-stream");
  }
  for (const path of ["studio", "assets/", "index.html/", "..%2fCargo.toml", "retouch.v1.EditService/GetServerInfo"]) {
    expect((await fetch(base + path)).status, path).not.toBe(200);
  }
});

test("the page can't be framed, and under a path and behind a proxy it asks its own host alone", async () => {
  const door = await Door.open(server.port, "/deep/er/");
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  await visitor.example();
  await visitor.find();
  expect([...visitor.hosts]).toEqual([new URL(door.url).host]);
  expect(new Set(door.calls.map((it) => it.method))).toContain("WatchEditJob");
  await visitor.leave();
  const frame = await browser.newPage();
  await frame.setContent(`<iframe src="${door.url}"></iframe>`);
  await frame.waitForTimeout(500);
  expect(await frame.frames()[1]?.locator("#studio").count().catch(() => 0)).toBe(0);
  await frame.close();
  door.close();
  await page.close().catch(() => undefined);
});

test("texts of callers are texts: in words, names, notes, lists and errors", async () => {
  const door = await Door.open(server.port);
  const visitor = await Visitor.at(browser, door.url);
  const { page } = visitor;
  const harm = "<img src=x onerror=alert(1)><b id=harm>";
  const dialogs: string[] = [];
  page.on("dialog", (dialog) => void (dialogs.push(dialog.message()), dialog.dismiss()));
  await visitor.give(`${harm}.png`, STAR);
  await page.getByText(`${harm}.png`).waitFor();
  await visitor.say(`make the ${harm} star yellow`);
  await visitor.button("Find").click();
  await page.getByRole("checkbox").first().waitFor({ timeout: LONG });
  await visitor.button("Jobs").click();
  await page.getByRole("dialog").getByText(harm).first().waitFor();
  await page.keyboard.press("Escape");
  await visitor.edit();
  await visitor.button("Copy as…").click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await visitor.give(`${harm}.txt`, Buffer.from("none"), "text/plain");
  await page.getByRole("alert").waitFor();
  expect(await page.locator("#harm").count()).toBe(0);
  expect(dialogs).toEqual([]);
  await visitor.leave();
  door.close();
});
