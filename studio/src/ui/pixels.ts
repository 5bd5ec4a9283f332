// Image files and pixels.
import type { Rgb } from "../mask/guided_filter";
import { takeOrientation, upright } from "./webp";

/** Decodes a file as the service does: turned as its EXIF says, its values taken as they stand. */
export async function decode(bytes: Uint8Array<ArrayBuffer> | Blob, type?: string): Promise<ImageBitmap> {
  const file = bytes instanceof Blob ? new Uint8Array(await bytes.arrayBuffer()) : bytes;
  const { orientation, rest } = takeOrientation(file);
  const bitmap = await createImageBitmap(new Blob([rest], type ? { type } : {}), { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  if (orientation === 1) return bitmap;
  const { width, height } = bitmap;
  const [made, context] = orientation > 4 ? canvas(height, width) : canvas(width, height);
  context.setTransform(upright(orientation, width, height));
  context.drawImage(bitmap, 0, 0);
  return made.transferToImageBitmap();
}

export function canvas(width: number, height: number): [OffscreenCanvas, OffscreenCanvasRenderingContext2D] {
  const made = new OffscreenCanvas(width, height);
  const context = made.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("the browser has no canvas");
  return [made, context];
}

/** Pixels of a picture, at a size of its own. */
export function pixels(picture: CanvasImageSource, width: number, height: number): Rgb {
  const [, context] = canvas(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  return { width, height, rgba: context.getImageData(0, 0, width, height).data };
}

/** A size with the same proportions whose longer side is at most `longest`. */
export function within(width: number, height: number, longest: number): { width: number; height: number } {
  const scale = Math.min(1, longest / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** A gray picture's values, a byte a pixel. */
export function grays(picture: ImageBitmap, width = picture.width, height = picture.height): Uint8Array<ArrayBuffer> {
  const { rgba } = pixels(picture, width, height);
  const out = new Uint8Array(width * height);
  for (let i = 0; i < out.length; i++) out[i] = rgba[i * 4]!;
  return out;
}

/** A file of a mask: white where it is edited. */
export async function maskFile(bytes: Uint8Array, width: number, height: number): Promise<Uint8Array<ArrayBuffer>> {
  const [made, context] = canvas(width, height);
  const image = context.createImageData(width, height);
  for (let i = 0; i < bytes.length; i++) {
    image.data.fill(bytes[i]! >= 128 ? 255 : 0, i * 4, i * 4 + 3);
    image.data[i * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return new Uint8Array(await (await made.convertToBlob({ type: "image/png" })).arrayBuffer());
}

/** Offers bytes as a download. */
export function save(bytes: Uint8Array<ArrayBuffer>, name: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
