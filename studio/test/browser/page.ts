// The page in a real Chromium, and how a person uses it.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { expect } from "vitest";
import { CHROMIUM } from "./global";

export const EXAMPLES = resolve(import.meta.dirname, "../../public/examples");
export const STAR = readFileSync(resolve(EXAMPLES, "star.png"));
/** A pass of the model takes seconds where many build at once. */
export const LONG = 300_000;

export async function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

export interface Look {
  width: number;
  height: number;
  scheme: "light" | "dark";
}

export class Visitor {
  /** What the browser complained of: errors, and what the policy forbade. */
  readonly complaints: string[] = [];
  /** Hosts that were asked. */
  readonly hosts = new Set<string>();

  private constructor(
    readonly page: Page,
    readonly context: BrowserContext,
  ) {
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      const isNetwork = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !isNetwork) this.complaints.push(message.text());
    });
    page.on("request", (asked) => {
      if (/^https?:/.test(asked.url())) this.hosts.add(new URL(asked.url()).host);
    });
  }

  static async at(browser: Browser, url: string, look: Partial<Look> = {}, touch = false): Promise<Visitor> {
    const { width = 1440, height = 900, scheme = "light" } = look;
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, hasTouch: touch, reducedMotion: "reduce" });
    context.setDefaultTimeout(LONG);
    const visitor = new Visitor(await context.newPage(), context);
    await visitor.page.goto(url);
    return visitor;
  }

  button(name: string) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** Takes the example of the star. */
  async example(): Promise<void> {
    await this.page.getByText("make the red star yellow").first().click();
    await this.button("Find").waitFor();
  }

  /** Gives a file to the page. */
  async give(name: string, bytes: Buffer, mimeType = "image/png"): Promise<void> {
    await this.page.getByLabel("A picture's file").setInputFiles({ name, mimeType, buffer: bytes });
  }

  async say(instruction: string): Promise<void> {
    await this.page.getByLabel("What should change").fill(instruction);
  }

  async find(): Promise<void> {
    await this.button("Find").click();
    await this.page.getByRole("checkbox").first().waitFor({ timeout: LONG });
    await this.button("Edit").waitFor({ timeout: LONG });
  }

  /** Runs pass 2 and waits for its result; `kept` is what the page says of the rest. */
  async edit(): Promise<string> {
    await this.button("Edit").click();
    await this.button("Stop").waitFor();
    await this.button("Edit").waitFor({ timeout: LONG });
    await this.kept.waitFor({ timeout: LONG });
    return this.kept.innerText();
  }

  get kept() {
    return this.page.locator("[data-kept]");
  }

  /** Share of the picture that the mask covers, in percent. */
  async area(): Promise<number> {
    const said = await this.page.locator("[data-area]").innerText();
    return said.startsWith("nothing") ? 0 : Number.parseFloat(said);
  }

  /** The point of the stage over a point of the picture, given as shares of its sides. The picture must be fitted. */
  async over(x: number, y: number, ratio = 1): Promise<{ x: number; y: number }> {
    const box = (await this.page.getByRole("application").boundingBox())!;
    const margin = Math.min(24, box.width * 0.04);
    const height = Math.min(box.height - 2 * margin, (box.width - 2 * margin) / ratio);
    const width = height * ratio;
    return { x: box.x + (box.width - width) / 2 + x * width, y: box.y + (box.height - height) / 2 + y * height };
  }

  async drag(from: [number, number], to: [number, number]): Promise<void> {
    const [a, b] = [await this.over(...from), await this.over(...to)];
    await this.page.mouse.move(a.x, a.y);
    await this.page.mouse.down();
    await this.page.mouse.move((a.x + b.x) / 2, (a.y + b.y) / 2);
    await this.page.mouse.move(b.x, b.y);
    await this.page.mouse.up();
  }

  /** Downloads what a button gives. */
  async download(button: string): Promise<{ name: string; bytes: Buffer }> {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.button(button).click()]);
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  }

  /** No serious fault of accessibility. */
  async accessible(where: string): Promise<void> {
    const { violations } = await new AxeBuilder({ page: this.page }).analyze();
    const serious = violations.filter((it) => it.impact === "serious" || it.impact === "critical");
    expect(serious.map((it) => `${it.id}: ${it.nodes.map((node) => node.target.join(" ")).join(", ")}`), where).toEqual([]);
  }

  async leave(): Promise<void> {
    await this.context.close();
    expect(this.complaints).toEqual([]);
  }
}
