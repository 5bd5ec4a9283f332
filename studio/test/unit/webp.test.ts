import { expect, test } from "vitest";
import { takeOrientation, upright } from "../../src/ui/webp";

/** Where the top left and the top right corner of a stored picture belong, by the EXIF standard. */
const CORNERS = [["top left", "top right"], ["top right", "top left"], ["bottom right", "bottom left"], ["bottom left", "bottom right"], ["top left", "bottom left"], ["top right", "bottom right"], ["bottom right", "top right"], ["bottom left", "top left"]];

test.each(CORNERS.map((corners, i) => [i + 1, ...corners] as [number, string, string]))("orientation %i puts the top left corner to the %s, the top right one to the %s", (orientation, left, right) => {
  const [width, height] = [30, 20];
  const { a, b, c, d, e, f } = upright(orientation, width, height) as Record<"a" | "b" | "c" | "d" | "e" | "f", number>;
  const [wide, high] = orientation > 4 ? [height, width] : [width, height];
  const place = (x: number, y: number) => {
    const [toX, toY] = [a * x + c * y + e, b * x + d * y + f];
    return `${toY === 0 ? "top" : toY === high ? "bottom" : toY} ${toX === 0 ? "left" : toX === wide ? "right" : toX}`;
  };
  expect([place(0, 0), place(width, 0)]).toEqual([left, right]);
});

/** A WebP file with these EXIF data, and no picture. */
function webp(exif: string): Uint8Array<ArrayBuffer> {
  const data = Buffer.from(exif, "hex");
  return Uint8Array.from([...Buffer.from("RIFF????WEBPVP8X\x03\0\0\0abc\0EXIF", "latin1"), data.length, 0, 0, 0, ...data]);
}

test("the orientation is read in either order of bytes, and whatever is no EXIF has none", () => {
  const little = "49492a0008000000" + "0200" + "000003000100000000000000" + "120103000100000006000000";
  const big = "457869660000" + "4d4d002a00000008" + "0001" + "011200030000000100080000";
  expect([little, big].map((it) => takeOrientation(webp(it)).orientation)).toEqual([6, 8]);
  for (const broken of ["", "49", little.slice(0, 40), little.replace("06000000", "ff000000"), "49492a00ffffff7f"]) expect(takeOrientation(webp(broken)).orientation).toBe(1);
  const png = Uint8Array.from(Buffer.from("89504e470d0a1a0a", "hex"));
  expect(takeOrientation(png)).toEqual({ orientation: 1, rest: png });
  expect(Buffer.from(takeOrientation(webp(little)).rest).includes("EXIF"), "browsers that heed it turn no second time").toBe(false);
});
