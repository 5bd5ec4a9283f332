// The picture that is edited.
import { decode } from "../ui/pixels";

export interface Picture {
  name: string;
  /** The file, until the service has it and it goes by its name there. */
  bytes: Uint8Array<ArrayBuffer>;
  artifact: string | undefined;
  bitmap: ImageBitmap;
  /** Whether its pixels are the same in every decoder: true of PNG. */
  exact: boolean;
}

export class NoPicture extends Error {}

const KINDS = ["image/png", "image/jpeg", "image/webp"];

/** Opens a file; `limit` is the largest that the service takes in one message. */
export async function open(file: Blob, name: string, limit: number): Promise<Picture> {
  if (file.size > limit) {
    throw new NoPicture(`${name} has ${size(file.size)}, and this server takes pictures of up to ${size(limit)}.`);
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  let bitmap: ImageBitmap;
  try {
    bitmap = await decode(bytes);
  } catch {
    throw new NoPicture(`${name} is not a picture that can be read: PNG, JPEG and WebP are.`);
  }
  if (file.type !== "" && !KINDS.includes(file.type)) throw new NoPicture(`${name} is ${file.type}: the server reads PNG, JPEG and WebP.`);
  return { name, bytes, artifact: undefined, bitmap, exact: bytes[0] === 0x89 };
}

export function size(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}
