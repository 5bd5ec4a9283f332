"""Calls of OpenAI's official package for Python, and of Open WebUI; each raises where the answer is not what it needs.

A caller of OpenAI's API changes its address and its key; so do these. How the packages retry is theirs: nothing is
told to them but `max_retries` and `timeout`.
"""

import asyncio
import base64
import io
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import openai
from PIL import Image
from serving import INSTRUCTION, PICTURE, Server

from retouch_client import Client

STEPS = {"retouch": {"seed": 7, "steps": 3}}
"""What makes an edit short, as `extra_body` sends it: `retouch[seed]`, `retouch[steps]`."""


@dataclass
class Site:
    """A server with keys, and a caller's key."""

    server: Server
    key: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1"

    def openai(self, **settings: object) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=self.key, **settings)

    def jobs(self) -> list:
        """All jobs so far, asked for over gRPC."""
        with Client(self.server.url, api_key=self.key) as client:
            return list(client.jobs())


def pixels(file: str | bytes, mode: str = "RGB") -> np.ndarray:
    """A picture's pixels; a text is in base64."""
    file = base64.b64decode(file) if isinstance(file, str) else file
    return np.asarray(Image.open(io.BytesIO(file)).convert(mode))


def source() -> np.ndarray:
    return pixels(PICTURE.read_bytes())


def transparent(box: tuple[int, int, int, int]) -> io.BytesIO:
    """A mask as OpenAI has it: transparent where the picture may change."""
    mask = Image.new("RGBA", Image.open(PICTURE).size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), box)
    file = io.BytesIO()
    mask.save(file, "PNG")
    file.name = "mask.png"
    file.seek(0)
    return file


def refused(kind: type, call: "callable") -> openai.APIStatusError:
    """The error that a call raises, which is of this kind and came at the first try."""
    try:
        call()
    except kind as error:
        assert error.request.headers["x-stainless-retry-count"] == "0", "it was repeated"
        return error
    raise AssertionError(f"no {kind.__name__}")


# --- models


def models_are_listed(site: Site) -> None:
    client = site.openai()
    (model,) = client.models.list().data
    assert (model.id, model.object) == ("demo-model", "model"), model
    assert client.models.retrieve(model.id).created == model.created
    assert refused(openai.NotFoundError, lambda: client.models.retrieve("dall-e-2")).code == "model_not_found"


# --- edits


def an_edit_leaves_what_is_outside_its_mask(site: Site) -> None:
    extra = {"retouch": {"seed": 7, "steps": 3, "return_mask": True}}
    answer = site.openai().images.edit(image=PICTURE.open("rb"), prompt=INSTRUCTION, extra_body=extra)
    (image,) = answer.data
    made = image.model_extra["retouch"]
    stays = pixels(made["mask_b64_json"], "L") < 128
    edited = pixels(image.b64_json)
    assert (edited[stays] == source()[stays]).all() and (edited != source()).any()
    assert 0 < stays.mean() < 1 and made["seed"] == 7 and made["job"].startswith("jobs/"), made
    assert answer.created > 1.6e9 and answer.output_format == "png" and answer.usage.total_tokens == 0, answer


def every_way_to_give_a_file_is_taken(site: Site) -> None:
    client, file = site.openai(), PICTURE.read_bytes()
    ways = [Path(PICTURE), file, io.BytesIO(file), ("a.png", file), ("a.png", file, "image/png"), [PICTURE.open("rb")]]
    made = {client.images.edit(image=it, prompt=INSTRUCTION, extra_body=STEPS).data[0].b64_json for it in ways}
    assert len(made) == 1, "the same picture gave several"


def a_masks_transparent_part_may_change(site: Site) -> None:
    box = (8, 8, 40, 40)
    answer = site.openai().images.edit(
        image=PICTURE.open("rb"), mask=transparent(box), prompt=INSTRUCTION, extra_body=STEPS
    )
    inside = np.zeros(source().shape[:2], dtype=bool)
    inside[8:40, 8:40] = True
    edited = pixels(answer.data[0].b64_json)
    assert (edited[~inside] == source()[~inside]).all() and (edited[inside] != source()[inside]).any()


def all_that_may_be_said_is_taken(site: Site) -> None:
    """Values of fields that other servers know, and a size, which is the picture's own here."""
    answer = site.openai().images.edit(
        image=PICTURE.open("rb"),
        prompt=INSTRUCTION,
        model="demo-model",
        background="auto",
        input_fidelity=None,
        output_format="jpeg",
        output_compression=80,
        quality="auto",
        response_format="b64_json",
        size="1024x1024",
        user="somebody",
        extra_body=STEPS,
    )
    (image,) = answer.data
    picture = Image.open(io.BytesIO(base64.b64decode(image.b64_json)))
    assert (picture.format, picture.size) == ("JPEG", Image.open(PICTURE).size)
    assert image.model_extra["retouch"]["size"] == "64x64" and answer.output_format == "jpeg"


def variants_have_one_mask_and_seeds_of_their_own(site: Site) -> None:
    extra = {"retouch": {"seed": 7, "steps": 3, "return_mask": True}}
    data = site.openai().images.edit(image=PICTURE.open("rb"), prompt=INSTRUCTION, n=3, extra_body=extra).data
    made = [it.model_extra["retouch"] for it in data]
    assert [it["seed"] for it in made] == [7, 8, 9] and len({it.b64_json for it in data}) == 3
    assert len({it["mask_b64_json"] for it in made}) == 1 and len({it["job"] for it in made}) == 3


def asyncio_edits_too(site: Site) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=site.url, api_key=site.key) as client:
            edits = [client.images.edit(image=PICTURE.read_bytes(), prompt=INSTRUCTION, extra_body=STEPS)] * 1
            edits.append(client.images.edit(image=PICTURE.read_bytes(), prompt=INSTRUCTION, n=2, extra_body=STEPS))
            one, two = await asyncio.gather(*edits)
            assert (len(one.data), len(two.data)) == (1, 2)
            events = await client.images.edit(image=PICTURE, prompt=INSTRUCTION, stream=True, extra_body=STEPS)
            assert [it.type async for it in events] == ["image_edit.completed"]

    asyncio.run(run())


# --- streams


def a_stream_brings_partial_images_and_the_image(site: Site) -> None:
    extra = {"retouch": {"seed": 7, "steps": 12}}
    stream = site.openai().images.edit(
        image=PICTURE.open("rb"), prompt=INSTRUCTION, stream=True, partial_images=3, extra_body=extra
    )
    *partial, last = stream
    # Fewer may come where the server is faster than the connection.
    assert 1 <= len(partial) <= 3 and [it.partial_image_index for it in partial] == list(range(len(partial)))
    for event in partial:
        assert event.type == "image_edit.partial_image" and pixels(event.b64_json).size, event.type
    assert last.type == "image_edit.completed" and last.usage.total_tokens == 0
    for event in [*partial, last]:
        assert event.created_at > 1.6e9 and event.size and event.quality and event.background and event.output_format
    whole = site.openai().images.edit(image=PICTURE.open("rb"), prompt=INSTRUCTION, extra_body=extra)
    assert last.b64_json == whole.data[0].b64_json, "a stream's image is another one"


def a_stream_that_fails_raises(site: Site) -> None:
    extra = {"retouch": {"steps": 300}}
    stream = site.openai().images.edit(
        image=PICTURE.open("rb"), prompt=INSTRUCTION, stream=True, partial_images=3, extra_body=extra
    )
    begun = next(stream)
    assert begun.type == "image_edit.partial_image"
    with Client(site.server.url, api_key=site.key) as client:
        client.cancel(next(client.jobs()).name, reason="no more")
    try:
        for _ in stream:
            pass
    except openai.APIError as error:
        assert error.code == "CANCELLED_BY_API" and "no more" in error.message, error.body
    else:
        raise AssertionError("the stream ended well")


# --- errors


def errors_name_what_is_wrong(site: Site) -> None:
    client = site.openai(max_retries=3)

    def edit(**said: object) -> "callable":
        said = {"image": PICTURE.read_bytes(), "prompt": INSTRUCTION, **said}
        return lambda: client.images.edit(**said)

    for said, param, code in [
        ({"image": b"no picture"}, "image", "BAD_IMAGE"),
        ({"image": [PICTURE.read_bytes()] * 2}, "image", "INVALID_ARGUMENT"),
        ({"mask": transparent((0, 0, 0, 0))}, "mask", "EMPTY_MASK"),
        ({"prompt": "!!!"}, "prompt", "INVALID_ARGUMENT"),
        ({"n": 11}, "n", "INVALID_ARGUMENT"),
        ({"quality": "high"}, "quality", "INVALID_ARGUMENT"),
        ({"response_format": "url"}, "response_format", "INVALID_ARGUMENT"),
        ({"size": "large"}, "size", "INVALID_ARGUMENT"),
        ({"extra_body": {"stepz": 3}}, "stepz", "INVALID_ARGUMENT"),
        ({"extra_body": {"retouch": {"steps": 0}}}, "retouch.steps", "INVALID_ARGUMENT"),
    ]:
        error = refused(openai.BadRequestError, edit(**said))
        assert error.code == code and (error.param or "").startswith(param), (said.keys(), error.body)
        assert error.type == "invalid_request_error" and error.body["message"], error.body
    assert refused(openai.NotFoundError, edit(model="gpt-image-1")).code == "model_not_found"


def a_wrong_key_is_told(site: Site) -> None:
    client = openai.OpenAI(base_url=site.url, api_key="rt_wrong")
    error = refused(openai.AuthenticationError, lambda: client.images.edit(image=PICTURE, prompt=INSTRUCTION))
    assert error.code == "BAD_KEY" and "rt_wrong" not in str(error)


# --- repeats


def a_key_is_one_request(site: Site) -> None:
    client, headers = site.openai(max_retries=3), {"Idempotency-Key": str(uuid.uuid4())}

    def edit(n: int, prompt: str = INSTRUCTION) -> list[str]:
        answer = client.images.edit(image=PICTURE, prompt=prompt, n=n, extra_headers=headers, extra_body=STEPS)
        return [it.model_extra["retouch"]["job"] for it in answer.data]

    assert edit(2) == edit(2)
    # The package repeats a 409 by itself, unless it is told not to.
    error = refused(openai.ConflictError, lambda: edit(2, "remove the black tree"))
    assert error.code == "REQUEST_ID_REUSED" and error.response.headers["x-should-retry"] == "false"


def timed_out(site: Site, headers: dict[str, str]) -> int:
    """How many jobs an edit makes whose caller runs out of patience, and repeats it until it has an answer."""
    before = {it.name for it in site.jobs()}
    client = site.openai(max_retries=60, timeout=1.5)
    extra = {"retouch": {"seed": int(time.time()), "steps": 30}}
    try:
        client.images.edit(image=PICTURE, prompt=INSTRUCTION, extra_headers=headers, extra_body=extra)
    except openai.APITimeoutError:
        assert not headers, "a repeated request never got its answer"
    made = [it.name for it in site.jobs() if it.name not in before]
    with Client(site.server.url, api_key=site.key) as grpc:
        for name in made:
            if not grpc.get(name).HasField("end_time"):
                grpc.cancel(name)
    return len(made)


def a_repeat_after_a_time_out_gets_the_same_job_where_it_has_a_key(site: Site) -> None:
    assert timed_out(site, {"Idempotency-Key": str(uuid.uuid4())}) == 1


def a_time_out_is_told(site: Site) -> None:
    before = {it.name for it in site.jobs()}
    client = site.openai(max_retries=0, timeout=2)
    extra = {"retouch": {"steps": 1000}}
    try:
        client.images.edit(image=PICTURE, prompt=INSTRUCTION, extra_body=extra)
    except openai.APITimeoutError:
        pass
    else:
        raise AssertionError("no time-out")
    # Its job is cancelled after the grace: nobody waits for it.
    (job,) = [it for it in site.jobs() if it.name not in before]
    with Client(site.server.url, api_key=site.key) as grpc:
        for _ in range(150):
            job = grpc.get(job.name)
            if job.HasField("end_time"):
                break
            time.sleep(0.2)
    assert job.error.reason == "CLIENT_GONE", job.error


def a_restart_is_waited_for(site: Site) -> None:
    """The package repeats what met no server, or one that loads its model; the key finds the job again."""
    client, got = site.openai(max_retries=30), []

    def edit() -> None:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        extra = {"retouch": {"seed": 9, "steps": 30}}
        got.append(client.images.edit(image=PICTURE, prompt=INSTRUCTION, extra_headers=headers, extra_body=extra))

    before = len(site.jobs())
    thread = threading.Thread(target=edit)
    thread.start()
    while len(site.jobs()) == before:
        time.sleep(0.1)
    site.server.kill()
    time.sleep(1)
    site.server.start()
    thread.join()
    assert got and got[0].data[0].b64_json and len(site.jobs()) == before + 1


# --- Open WebUI


def open_webui_edits(site: Site) -> None:
    """The request of its image editing with the engine `openai`, part by part as its source forms it."""

    async def run(said: dict[str, object], param: str) -> dict:
        form = aiohttp.FormData()
        for name, value in said.items():
            form.add_field(name, str(value))
        file = io.BytesIO(PICTURE.read_bytes())
        form.add_field(param, file, filename=f"{uuid.uuid4()}.png", content_type="image/png")
        headers = {"Authorization": f"Bearer {site.key}"}
        url = f"{site.url}/images/edits?api-version=2024-12-01"
        async with aiohttp.ClientSession() as session:
            async with session.post(url, headers=headers, data=form) as answer:
                text = await answer.text()
                assert answer.ok, text
                return await answer.json(content_type=None)

    plain = {"model": "", "prompt": INSTRUCTION, "response_format": "b64_json"}
    whole = {**plain, "model": "demo-model", "n": 1, "size": "512x512", "background": "auto"}
    for said, param in [(plain, "image"), (whole, "image[]")]:
        (image,) = asyncio.run(run(said, param))["data"]
        assert pixels(image["b64_json"]).shape == source().shape and not image.get("url")


CALLS = [
    models_are_listed,
    an_edit_leaves_what_is_outside_its_mask,
    every_way_to_give_a_file_is_taken,
    a_masks_transparent_part_may_change,
    all_that_may_be_said_is_taken,
    variants_have_one_mask_and_seeds_of_their_own,
    asyncio_edits_too,
    a_stream_brings_partial_images_and_the_image,
    a_stream_that_fails_raises,
    errors_name_what_is_wrong,
    a_wrong_key_is_told,
    a_key_is_one_request,
    a_repeat_after_a_time_out_gets_the_same_job_where_it_has_a_key,
    a_time_out_is_told,
    a_restart_is_waited_for,
    open_webui_edits,
]
