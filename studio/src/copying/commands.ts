// An edit as commands for other tools. A key is never in them: they read it from the environment.
import { create, toJson } from "@bufbuild/protobuf";
import { type EditSpec, EditSpecSchema, MaskPolicy, Method } from "../gen/retouch/v1/edit_pb";
import { python, shell, type Json } from "./quote";

export interface Asked {
  spec: EditSpec;
  /** Name of the picture's file. */
  file: string;
  /** Address of the server. */
  server: string;
  hasKey: boolean;
  /** The mask, where it is not the one that is found. */
  mask: { artifact: string; clusters: number[]; feather: number } | undefined;
}

/** What of a spec makes the same edit; the rest are the server's defaults. */
function essential({ spec, mask }: Asked): Json {
  const { image, instruction, object, action, method, preserve, seed, steps } = spec;
  const given = mask && { maskPolicy: MaskPolicy.PROVIDED, mask: { image: { source: { case: "artifact" as const, value: mask.artifact } }, featherPx: mask.feather } };
  return toJson(EditSpecSchema, create(EditSpecSchema, { image, instruction, object, action, method, preserve, seed, steps, ...given })) as Json;
}

/** Name that the page saves the mask under. */
const maskFile = (file: string) => `${file.replace(/\.[^.]*$/, "")}.mask.png`;

export function grpcurl(asked: Asked): string {
  const url = new URL(asked.server);
  const isSecure = url.protocol === "https:";
  const lines = [
    `grpcurl${isSecure ? "" : " -plaintext"}`,
    ...(asked.hasKey ? [`  -H "x-api-key: $RETOUCH_API_KEY"`] : []),
    `  -d ${shell(JSON.stringify({ spec: essential(asked) }))}`,
    `  ${shell(`${url.hostname}:${url.port || (isSecure ? "443" : "80")}`)} retouch.v1.EditService/StreamEdit`,
  ];
  return `${lines.join(" \\\n")}\n`;
}

export function pythonClient({ spec, file, server, hasKey, mask }: Asked): string {
  const chosen = mask && mask.clusters.length > 0;
  const given = chosen ? `review=lambda proposal: Mask(clusters=${python(mask.clusters)}, feather=${mask.feather})` : mask && `mask=Mask(${python(maskFile(file))}, feather=${mask.feather})`;
  const words = [
    python(file),
    python(spec.instruction),
    ...(spec.object === "" ? [] : [`object=${python(spec.object)}`]),
    ...(spec.seed === undefined ? [] : [`seed=${spec.seed}`]),
    ...(spec.steps === undefined ? [] : [`steps=${spec.steps}`]),
    ...(spec.method === Method.INSTRUCT_PIX2PIX ? ['method="instruct-pix2pix"'] : []),
    ...(given ? [given] : []),
  ];
  return `${hasKey ? "import os\n\n" : ""}from retouch_client import Client${mask ? ", Mask" : ""}

with Client(${python(server)}${hasKey ? ', api_key=os.environ["RETOUCH_API_KEY"]' : ""}) as client:
    result = client.edit(
${words.map((it) => `        ${it},\n`).join("")}    )
    result.save("edited.png")
`;
}

export function command({ spec, file, server, hasKey, mask }: Asked): string {
  const isFile = mask && mask.clusters.length === 0;
  const flags = [
    `--server ${shell(server)}`,
    ...(hasKey ? [`--api-key "$RETOUCH_API_KEY"`] : []),
    ...(spec.seed === undefined ? [] : [`--seed ${spec.seed}`]),
    ...(spec.steps === undefined ? [] : [`--steps ${spec.steps}`]),
    ...(spec.object === "" ? [] : [`--object=${shell(spec.object)}`]),
    ...(mask && !isFile ? [`--clusters ${mask.clusters.join(",")}`] : []),
    ...(isFile ? [`--mask ${shell(`./${maskFile(file)}`)}`] : []),
    ...(mask?.feather ? [`--feather ${mask.feather}`] : []),
    "-o edited.png",
    `-- ${shell(`./${file}`)} ${shell(spec.instruction)}`,
  ];
  return `retouch edit \\\n  ${flags.join(" \\\n  ")}\n`;
}
