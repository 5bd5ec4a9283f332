// Files of the service: small ones come with an event, large ones are fetched by their name.
import type { Artifact } from "../gen/retouch/v1/edit_pb";
import type { Service } from "./client";

export async function bytesOf(service: Service, artifact: Artifact): Promise<Uint8Array<ArrayBuffer>> {
  if (artifact.inline.length > 0) return new Uint8Array(artifact.inline);
  return download(service, artifact.name, Number(artifact.sizeBytes));
}

export async function download(service: Service, name: string, size = 0): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of service.downloadArtifact({ name })) {
    chunks.push(chunk.data);
    length += chunk.data.length;
  }
  const whole = new Uint8Array(Math.max(length, size));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Kind of an image file by its first bytes. */
export function mimeOf(bytes: Uint8Array): string {
  if (bytes[0] === 0x89 && bytes[1] === 0x50) return "image/png";
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return "image/jpeg";
  if (bytes[8] === 0x57 && bytes[9] === 0x45) return "image/webp";
  return "application/octet-stream";
}
