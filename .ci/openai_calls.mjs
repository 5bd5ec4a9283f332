// Calls of OpenAI's official package for JavaScript; each throws where the server's answer is not what it needs.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";

import OpenAI, { toFile } from "openai";

const [url, key, picture, mask] = process.argv.slice(2);
const prompt = "change the black tree to blue";
const retouch = { seed: 7, steps: 3 };
const client = new OpenAI({ baseURL: url, apiKey: key });
const file = () => createReadStream(picture);
const isPng = (text) => Buffer.from(text, "base64").subarray(1, 4).toString() === "PNG";

/** The error that a call throws, which is of this kind. */
async function refused(kind, call) {
  const error = await call.then(() => assert.fail(`no ${kind.name}`), (it) => it);
  assert(error instanceof kind, `${error}`);
  return error;
}

const calls = {
  async models_are_listed() {
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    assert.deepEqual(models, ["demo-model"]);
    assert.equal((await client.models.retrieve("demo-model")).object, "model");
  },

  async every_way_to_give_a_file_is_taken() {
    const bytes = readFileSync(picture);
    const ways = [file(), await toFile(bytes, "a.png"), new File([bytes], "a.png"), [file()]];
    const made = new Set();
    for (const image of ways) made.add((await client.images.edit({ image, prompt, retouch })).data[0].b64_json);
    assert.equal(made.size, 1);
    assert([...made].every(isPng));
  },

  async a_mask_and_variants() {
    const said = { image: file(), mask: createReadStream(mask), prompt, n: 2, size: "1024x1024", quality: "auto" };
    const { data } = await client.images.edit({ ...said, retouch });
    assert.equal(data.length, 2);
    assert.deepEqual(data.map((it) => it.retouch.seed), [7, 8]);
  },

  async a_stream_brings_partial_images_and_the_image() {
    const said = { image: file(), prompt, stream: true, partial_images: 2, retouch: { seed: 7, steps: 12 } };
    const events = [];
    for await (const event of await client.images.edit(said)) events.push(event);
    assert.equal(events.at(-1).type, "image_edit.completed");
    assert(events.length > 1 && events.slice(0, -1).every((it) => it.type === "image_edit.partial_image"));
    assert(events.every((it) => isPng(it.b64_json) && it.created_at && it.size && it.quality && it.background));
  },

  async a_stream_that_is_left_ends_its_job() {
    const said = { image: file(), prompt, stream: true, partial_images: 3, retouch: { steps: 300 } };
    for await (const event of await client.images.edit(said)) {
      assert.equal(event.type, "image_edit.partial_image");
      break;
    }
  },

  async errors_name_what_is_wrong() {
    const error = await refused(OpenAI.BadRequestError, client.images.edit({ image: file(), prompt, stepz: 3 }));
    assert.deepEqual([error.status, error.code, error.param], [400, "INVALID_ARGUMENT", "stepz"]);
    await refused(OpenAI.NotFoundError, client.images.edit({ image: file(), prompt, model: "gpt-image-1" }));
    const stranger = new OpenAI({ baseURL: url, apiKey: "rt_wrong" });
    assert.equal((await refused(OpenAI.AuthenticationError, stranger.models.list())).code, "BAD_KEY");
  },

  async a_key_is_one_request() {
    const headers = { "Idempotency-Key": randomUUID() };
    const edit = (text) => client.images.edit({ image: file(), prompt: text, retouch }, { headers });
    const [first, again] = [await edit(prompt), await edit(prompt)];
    assert.equal(first.data[0].retouch.job, again.data[0].retouch.job);
    assert.equal((await refused(OpenAI.ConflictError, edit("remove the black tree"))).code, "REQUEST_ID_REUSED");
  },

  async a_time_out_is_told() {
    const said = { image: file(), prompt, retouch: { steps: 1000 } };
    await refused(OpenAI.APIConnectionTimeoutError, client.images.edit(said, { timeout: 500, maxRetries: 0 }));
  },
};

for (const [name, call] of Object.entries(calls)) {
  try {
    await call();
  } catch (error) {
    console.error(`${name}: ${error.stack}`);
    process.exitCode = 1;
  }
}
console.log(Object.keys(calls).length);
