// What calls that make jobs are given.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EditSpec, EditSpecSchema } from "../gen/retouch/v1/edit_pb";

export type Spec = Exclude<MessageInitShape<typeof EditSpecSchema>, EditSpec>;

/** What of a spec makes the same edit again. */
export function again(spec: EditSpec): Spec {
  const { image, instruction, object, action, steps, textGuidance, imageGuidance, negativePrompt, labels, events } = spec;
  return { image, instruction, object, action, steps, textGuidance, imageGuidance, negativePrompt, labels, events };
}

/** The end of a file's name, as long as the service takes it in a label. */
export function label(name: string): string {
  return [...name].slice(-255).join("");
}

/** An id that nobody else has; `crypto.randomUUID` is there on secure pages alone. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (it) => it.toString(16).padStart(2, "0")).join("");
}
