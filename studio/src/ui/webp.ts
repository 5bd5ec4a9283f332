// The orientation of WebP files, which the service heeds and browsers do not, or not all of them.

/** An EXIF orientation, 1 to 8, as the matrix that turns a picture of this size upright. */
export function upright(orientation: number, width: number, height: number): DOMMatrix2DInit {
  const [a, b, c, d] = [[1, 0, 0, 1], [-1, 0, 0, 1], [-1, 0, 0, -1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0], [0, -1, -1, 0], [0, -1, 1, 0]][orientation - 1] as [number, number, number, number];
  // The corner that comes to lie at 0, 0.
  return { a, b, c, d, e: Math.max(0, -a * width, -c * height), f: Math.max(0, -b * width, -d * height) };
}

/** Takes the orientation out of a WebP file, so that no browser heeds it; 1 for files that have none, or are no WebP. */
export function takeOrientation(bytes: Uint8Array<ArrayBuffer>): { orientation: number; rest: Uint8Array<ArrayBuffer> } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (name(0) === "RIFF" && name(8) === "WEBP") {
    for (let at = 12; at + 8 <= bytes.length; ) {
      const size = view.getUint32(at + 4, true);
      if (name(at) === "EXIF" && at + 8 + size <= bytes.length) {
        const rest = bytes.slice();
        rest.set([0x6e, 0x6f, 0x6e, 0x65], at);
        return { orientation: ofExif(new DataView(view.buffer, view.byteOffset + at + 8, size)), rest };
      }
      at += 8 + size + (size & 1);
    }
  }
  return { orientation: 1, rest: bytes };
}

/** The orientation that EXIF data names in its first directory. */
function ofExif(exif: DataView): number {
  try {
    // Some writers keep the six bytes that begin it in a JPEG.
    const start = exif.getUint32(0) === 0x45786966 ? 6 : 0;
    const little = exif.getUint16(start) === 0x4949;
    const directory = start + exif.getUint32(start + 4, little);
    for (let i = 0; i < exif.getUint16(directory, little); i++) {
      const entry = directory + 2 + 12 * i;
      const value = exif.getUint16(entry + 8, little);
      if (exif.getUint16(entry, little) === 0x112) return value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    // It ends too early: there is none.
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}
