// An edit as commands for other tools. A key is never in them: they read it from the environment.
import { create, toJson } from "@bufbuild/protobuf";
import { type EditSpec, EditSpecSchema } from "../gen/retouch/v1/edit_pb";
import { python, shell, type Json } from "./quote";

export interface Asked {
  spec: EditSpec;
  /** Name of the picture's file. */
  file: string;
  /** Address of the server. */
  server: string;
  hasKey: boolean;
}

/** What of a spec makes the same edit; the rest are the server's defaults. */
function essential(spec: EditSpec): Json {
  const { image, instruction, object, action, method, preserve, seed, steps, maskPolicy, mask, reuseLocalizationOf } = spec;
  return toJson(EditSpecSchema, create(EditSpecSchema, { image, instruction, object, action, method, preserve, seed, steps, maskPolicy, mask, reuseLocalizationOf })) as Json;
}

export function grpcurl({ spec, server, hasKey }: Asked): string {
  const url = new URL(server);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const lines = [
    `grpcurl${url.protocol === "https:" ? "" : " -plaintext"}`,
    ...(hasKey ? [`  -H "x-api-key: $RETOUCH_API_KEY"`] : []),
    `  -d ${shell(JSON.stringify({ spec: essential(spec) }))}`,
    `  ${shell(`${url.hostname}:${port}`)} retouch.v1.EditService/StreamEdit`,
  ];
  return `${lines.join(" \\\n")}\n`;
}

export function pythonClient({ spec, server, hasKey }: Asked): string {
  const url = new URL(server);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const isSecure = url.protocol === "https:";
  const channel = isSecure ? `grpc.secure_channel(${python(`${url.hostname}:${port}`)}, grpc.ssl_channel_credentials())` : `grpc.insecure_channel(${python(`${url.hostname}:${port}`)})`;
  return `${hasKey ? "import os\n\n" : ""}import grpc
from google.protobuf.json_format import ParseDict

from retouch.v1 import edit_pb2 as pb
from retouch.v1.edit_pb2_grpc import EditServiceStub

spec = ${python(essential(spec))}
key = ${hasKey ? `[("x-api-key", os.environ["RETOUCH_API_KEY"])]` : "[]"}
with ${channel} as channel, open("edited.png", "wb") as file:
    stub = EditServiceStub(channel)
    job = stub.RunEdit(pb.CreateEditJobRequest(spec=ParseDict(spec, pb.EditSpec())), metadata=key)
    for chunk in stub.DownloadArtifact(pb.DownloadArtifactRequest(name=job.result.image.name), metadata=key):
        file.write(chunk.data)
`;
}

export function command({ spec, file, server, hasKey }: Asked): string {
  const masked = spec.mask?.image ? file.replace(/\.[^.]*$/, "") + ".mask.png" : undefined;
  const flags = [
    `--server ${shell(server)}`,
    ...(hasKey ? [`--api-key "$RETOUCH_API_KEY"`] : []),
    ...(spec.seed === undefined ? [] : [`--seed ${spec.seed}`]),
    ...(spec.steps === undefined ? [] : [`--steps ${spec.steps}`]),
    ...(spec.object === "" ? [] : [`--object=${shell(spec.object)}`]),
    ...(spec.mask?.clusters ? [`--clusters ${spec.mask.clusters.ids.join(",")}`] : []),
    ...(masked ? [`--mask ${shell(`./${masked}`)}`] : []),
    ...(spec.mask?.featherPx ? [`--feather ${spec.mask.featherPx}`] : []),
    "-o edited.png",
    `-- ${shell(`./${file}`)} ${shell(spec.instruction)}`,
  ];
  const note = masked ? `# ${shell(masked)}: “Save the mask”\n` : "";
  return `${note}retouch edit \\\n  ${flags.join(" \\\n  ")}\n`;
}
