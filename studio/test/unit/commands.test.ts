import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { command, grpcurl, pythonClient } from "../../src/copying/commands";
import { shell } from "../../src/copying/quote";
import { EditSpecSchema } from "../../src/gen/retouch/v1/edit_pb";

/** What a caller may write, and what would do harm if it were read as code. */
const TEXTS = [
  "make it's $(touch harm) `touch harm` red",
  'a "quoted" word; touch harm #\n\ttouch harm && ${HOME}',
  "-rf --help",
  "'''\"\"\" + __import__('os').system('touch harm') + '''",
  "back\\slash \\' \\n, émoji 🌟, \u2028 and \u202e",
  "!history *glob? ~ [a-z] {b,c} <in >out | pipe & %n",
];

const asked = (instruction: string, file = "bee.png", server = "http://localhost:50051/prefix") => ({
  spec: create(EditSpecSchema, {
    image: { source: { case: "artifact", value: "artifacts/0199" } },
    instruction,
    object: instruction,
    seed: 7n,
  }),
  mask: { artifact: "artifacts/0200", clusters: [] as number[], feather: 2 },
  file,
  server,
  hasKey: true,
});

const CLIENT = `
import json
class Mask:
    def __init__(self, *words, **named): pass
class Client:
    def __init__(self, url, api_key): self.key = api_key
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def edit(self, *words, mask, **named):
        print(json.dumps({"words": words, "named": named, "key": self.key}))
        return self
    def save(self, name): pass
`;

/** Runs a script with a program that only writes down its arguments; returns them, and what else came to be. */
function ran(script: string, program: string): { words: string[]; left: string[] } {
  const folder = mkdtempSync(join(tmpdir(), "studio-"));
  writeFileSync(join(folder, program), '#!/bin/bash\nprintf "%s\\0" "$@" > words\n');
  chmodSync(join(folder, program), 0o755);
  execFileSync("bash", ["-c", script], { cwd: folder, env: { PATH: `${folder}:/usr/bin:/bin`, RETOUCH_API_KEY: "rt_secret" } });
  return { words: readFileSync(join(folder, "words"), "utf8").split("\0").slice(0, -1), left: readdirSync(folder).filter((it) => it !== program && it !== "words") };
}

test.each(TEXTS)("a shell takes %j as one word", (text) => {
  const { words, left } = ran(`tell ${shell(text)}`, "tell");
  expect(words).toEqual([text]);
  expect(left).toEqual([]);
});

test.each(TEXTS)("the command line carries %j unharmed", (text) => {
  const file = text.replaceAll("/", "").slice(0, 40);
  const { words, left } = ran(command(asked(text, file)), "retouch");
  expect(words.slice(-3)).toEqual(["--", `./${file}`, text]);
  expect(words).toContain(`--object=${text}`);
  expect(words).toContain("rt_secret");
  expect(left).toEqual([]);
});

test.each(TEXTS)("grpcurl gets %j in its JSON", (text) => {
  const { words, left } = ran(grpcurl(asked(text)), "grpcurl");
  const { spec } = JSON.parse(words[words.indexOf("-d") + 1]!) as { spec: Record<string, unknown> };
  expect(spec).toMatchObject({ instruction: text, seed: "7", mask: { image: { artifact: "artifacts/0200" }, featherPx: 2 }, image: { artifact: "artifacts/0199" } });
  expect(words.at(-1)).toBe("retouch.v1.EditService/StreamEdit");
  expect(left).toEqual([]);
});

test.each(TEXTS)("Python reads %j as it was written", (text) => {
  const folder = mkdtempSync(join(tmpdir(), "studio-"));
  // A client that only writes down what it is asked.
  writeFileSync(join(folder, "retouch_client.py"), CLIENT);
  const said = execFileSync("python3", ["-B", "-c", pythonClient({ ...asked(text), file: text })], { cwd: folder, encoding: "utf8", env: { PATH: "/usr/bin:/bin", RETOUCH_API_KEY: "secret", PYTHONPATH: folder } });
  expect(JSON.parse(said)).toMatchObject({ words: [text, text], named: { object: text, seed: 7 }, key: "secret" });
  expect(readdirSync(folder)).toEqual(["retouch_client.py"]);
});

test("chosen clusters are named, and another mask is a file or an artifact", () => {
  const clusters = { ...asked("a"), mask: { artifact: "artifacts/0200", clusters: [1, 3], feather: 0 } };
  expect(command(clusters)).toContain("--clusters 1,3");
  expect(pythonClient(clusters)).toContain("Mask(clusters=[1, 3], feather=0)");
  expect(grpcurl(clusters)).toContain('"mask":{"image":{"artifact":"artifacts/0200"}');
  expect(command(asked("a"))).toContain("--mask ./bee.mask.png");
  expect(command({ ...asked("a"), mask: undefined })).not.toContain("mask");
});

test("no command holds a key", () => {
  for (const text of [command, grpcurl, pythonClient].map((it) => it(asked("a")))) {
    expect(text).toContain("RETOUCH_API_KEY");
    expect(text).not.toContain("rt_");
  }
});
