import { expect, test } from "vitest";
import { ClusterMasks, selectedBy } from "../../src/mask/clusters";
import { GuidedFilter } from "../../src/mask/guided_filter";

const scores = (...list: number[]) => list.map((score, i) => ({ id: i + 1, score }));

test("clusters above tau are selected, and the best one where none or all are", () => {
  expect(selectedBy(scores(0.5, 0.3, 0.1), 0.2)).toEqual([1, 2]);
  expect(selectedBy(scores(0.5, 0.3, 0.1), 0.3), "tau itself is not above tau").toEqual([1]);
  expect(selectedBy(scores(0.2, 0.1), 0.3)).toEqual([1]);
  expect(selectedBy(scores(0.5, 0.4), 0.3)).toEqual([1]);
});

/** A picture whose color changes at column `edge`. */
function stepped(width: number, height: number, edge: number) {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) rgba.set(i % width < edge ? [200, 40, 40, 255] : [60, 60, 220, 255], i * 4);
  return { width, height, rgba };
}

test("a blocky mask finds the edge of the picture, as the service's does", () => {
  for (const end of [20, 16]) {
    const mask = Uint8Array.from({ length: 40 * 24 }, (_, i) => (i % 40 < end ? 1 : 0));
    const found = new GuidedFilter(stepped(40, 24, 17), 12).refined(mask);
    found.forEach((it, i) => expect(it, `pixel ${i} from ${end}`).toBe(i % 40 < 17 ? 1 : 0));
  }
});

test("a mask that the picture does not bear out stays", () => {
  const dot = new Uint8Array(32 * 32);
  dot[9 * 32 + 9] = 1;
  expect(new GuidedFilter(stepped(32, 32, 40), 4).refined(dot)).toEqual(dot);
});

test("cells cover what they cover, and what is grown is a share of the shorter side", () => {
  const labels = { width: 2, height: 1, ids: Uint8Array.of(1, 2) };
  const plain = stepped(20, 10, 0);
  const covered = { width: 24, height: 10 };
  const masks = new ClusterMasks(labels, plain, covered, false, 0.2);
  const row = (mask: Uint8Array) => [...mask.slice(0, 20)].join("");
  expect(row(masks.cells([2]))).toBe("0".repeat(12) + "1".repeat(8));
  expect(row(masks.mask([2]))).toBe("0".repeat(10) + "1".repeat(10));
  expect(masks.mask([]).includes(1)).toBe(false);
});
