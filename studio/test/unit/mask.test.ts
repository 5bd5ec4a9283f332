import { expect, test } from "vitest";
import { Mask } from "../../src/mask/mask";
import { pack, unpack } from "../../src/mask/runs";

const blank = (width: number, height: number) => new Mask<number>(width, height, () => {});

/** A step of undo. */
function step(mask: Mask<number>, paint: () => void, said = 0): void {
  mask.begin();
  paint();
  mask.end(said);
}

test("runs come back as they were", () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i < 40_000 ? 0 : i % 7 === 0 ? 255 : (i >> 9) & 255));
  expect(unpack(pack(bytes), bytes.length)).toEqual(bytes);
  expect(pack(new Uint8Array(1 << 22)).length).toBeLessThan(8);
});

test("a dab covers its circle, and a soft one less of it", () => {
  const count = (softness: number) => {
    const mask = blank(101, 101);
    step(mask, () => mask.dab({ x: 50.5, y: 50.5 }, 40, softness, false));
    return mask.bytes.filter((it) => it >= 128).length;
  };
  expect(count(0) / (Math.PI * 40 ** 2)).toBeCloseTo(1, 1);
  expect(count(1) / (Math.PI * 20 ** 2)).toBeCloseTo(1, 0);
  expect(count(0.5)).toBeLessThan(count(0));
});

test("a polygon that crosses itself is filled by the even-odd rule", () => {
  const mask = blank(10, 10);
  step(mask, () => mask.polygon([{ x: 0, y: 0 }, { x: 10, y: 0 }, { x: 10, y: 10 }, { x: 0, y: 10 }, { x: 0, y: 0 }, { x: 5, y: 0 }, { x: 5, y: 10 }, { x: 0, y: 10 }], false));
  expect([...mask.bytes.slice(50, 60)]).toEqual([0, 0, 0, 0, 0, 255, 255, 255, 255, 255]);
});

test("growing adds every pixel within the distance, and shrinking takes it away", () => {
  const mask = blank(41, 41);
  step(mask, () => mask.polygon([{ x: 15, y: 15 }, { x: 25, y: 15 }, { x: 25, y: 25 }, { x: 15, y: 25 }], false));
  const before = mask.bytes.slice();
  step(mask, () => mask.grow(5));
  const near = (at: number) => {
    const [x, y] = [at % 41, Math.floor(at / 41)];
    return before.some((it, i) => it > 0 && (i % 41 - x) ** 2 + (Math.floor(i / 41) - y) ** 2 <= 25);
  };
  mask.bytes.forEach((it, at) => expect(it > 0, `pixel ${at}`).toBe(near(at)));
  step(mask, () => mask.grow(-5));
  before.forEach((it, at) => it > 0 && expect(mask.bytes[at]).toBe(255));
});

test("220 strokes of a large soft brush on four megapixels are undone and done again within 64 MB", { timeout: 120_000 }, () => {
  const mask = blank(2048, 2048);
  for (let i = 0; i < 220; i++) {
    const at = { x: 200 + ((i * 397) % 1650), y: 200 + ((i * 611) % 1650) };
    step(mask, () => mask.line(at, { x: at.x + 150, y: at.y - 90 }, 120 + (i % 80), 0.8, i % 3 === 2), i);
  }
  const end = mask.bytes.slice();
  expect(mask.historyBytes).toBeLessThan(64 << 20);
  let undone = 0;
  while (mask.canUndo) {
    mask.undo(0);
    undone++;
  }
  expect(undone).toBeGreaterThanOrEqual(200);
  expect(mask.isEmpty).toBe(true);
  while (mask.canRedo) mask.redo(0);
  expect(mask.bytes.every((it, at) => it === end[at])).toBe(true);
});

test("the area is that of the mask as it is, after each stroke, undo and redo", () => {
  const mask = blank(10, 10);
  expect([mask.area(), mask.isEmpty]).toEqual([0, true]);
  step(mask, () => mask.polygon([{ x: 0, y: 0 }, { x: 5, y: 0 }, { x: 5, y: 10 }, { x: 0, y: 10 }], false));
  expect([mask.area(), mask.isEmpty]).toEqual([0.5, false]);
  mask.undo(0);
  expect([mask.area(), mask.isEmpty]).toEqual([0, true]);
  mask.redo(0);
  expect(mask.area()).toBe(0.5);
  step(mask, () => mask.clear());
  expect(mask.isEmpty).toBe(true);
});

test("undo of masks that are noise forgets the oldest, and stays within 64 MB", { timeout: 120_000 }, () => {
  const mask = blank(2048, 2048);
  let random = 1;
  const noise = Uint8Array.from({ length: 2048 * 2048 }, () => (random = (random * 48271) % 0x7fffffff) & 255);
  for (let i = 0; i < 24; i++) step(mask, () => mask.replace(i % 2 === 0 ? noise : new Uint8Array(noise.length)));
  expect(mask.historyBytes).toBeLessThanOrEqual(64 << 20);
  const end = mask.bytes.slice();
  mask.undo(0);
  expect(mask.bytes.every((it, at) => it === end[at])).toBe(false);
  mask.redo(0);
  expect(mask.bytes.every((it, at) => it === end[at])).toBe(true);
});

test("undo gives back what was said of the mask", () => {
  const mask = blank(8, 8);
  step(mask, () => mask.invert(), 7);
  expect(mask.undo(8)).toBe(7);
  expect(mask.redo(9)).toBe(8);
  step(mask, () => mask.replace(mask.bytes.slice()), 1);
  expect(mask.undo(0), "a step that changed nothing is none").toBe(9);
});
