import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { command, grpcurl, pythonClient } from "../../src/copying/commands";
import { python, shell } from "../../src/copying/quote";
import { EditSpecSchema, MaskPolicy } from "../../src/gen/retouch/v1/edit_pb";

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
    maskPolicy: MaskPolicy.PROVIDED,
    mask: { clusters: { ids: [1, 3] }, featherPx: 2 },
  }),
  file,
  server,
  hasKey: true,
});

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
  expect(spec).toMatchObject({ instruction: text, seed: "7", mask: { clusters: { ids: [1, 3] } }, image: { artifact: "artifacts/0199" } });
  expect(words.at(-1)).toBe("retouch.v1.EditService/StreamEdit");
  expect(left).toEqual([]);
});

test.each(TEXTS)("Python reads %j as it was written", (text) => {
  const folder = mkdtempSync(join(tmpdir(), "studio-"));
  const said = execFileSync("python3", ["-c", `import json\nprint(json.dumps(${python({ text, list: [true, null, 1.5] })}))`], { cwd: folder, encoding: "utf8" });
  expect(JSON.parse(said)).toEqual({ text, list: [true, null, 1.5] });
  const source = pythonClient(asked(text));
  execFileSync("python3", ["-c", "import ast, sys; ast.parse(sys.stdin.read())"], { input: source });
  expect(readdirSync(folder)).toEqual([]);
});

test("no command holds a key", () => {
  for (const text of [command, grpcurl, pythonClient].map((it) => it(asked("a")))) {
    expect(text).toContain("RETOUCH_API_KEY");
    expect(text).not.toContain("rt_");
  }
});
