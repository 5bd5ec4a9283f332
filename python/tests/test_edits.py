"""Edits against a real server: pictures in and out, masks, progress, errors."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from serving import INSTRUCTION, PICTURE

import retouch_client.progress
from retouch_client import Accept, Client, Edit, InputError, JobFailed, Mask, Proposal, Refused, Unreachable
from retouch_client import edit_pb2 as pb

STEPS = 3
OUTSIDE = "pixels outside the mask"


def pixels() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PICTURE).convert("RGB"), dtype=np.uint8)


def noise(side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_an_array_comes_back_bit_for_bit_outside_the_mask(client: Client) -> None:
    source = pixels()
    result = client.edit(source, INSTRUCTION, seed=7, steps=STEPS)
    mask = result.mask_array()
    assert mask is not None and 0 < mask.mean() < 1
    edited = result.array()
    assert edited.shape == source.shape and edited.dtype == np.uint8
    np.testing.assert_array_equal(edited[~mask], source[~mask], OUTSIDE)
    assert (edited[mask] != source[mask]).any()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_pillow_images_of_every_common_mode_come_back(client: Client, mode: str) -> None:
    source = Image.open(PICTURE).convert("RGB").resize((96, 80))
    if mode == "RGBA":
        source.putalpha(Image.linear_gradient("L").resize(source.size))
    source = source.convert(mode)
    result = client.edit(source, INSTRUCTION, mask=Mask(boxes=[(8, 8, 40, 40)]), seed=7, steps=STEPS)
    mask = result.mask_array()
    assert mask is not None
    # What the server makes of gray and palettes is RGB.
    there = "RGBA" if mode == "RGBA" else "RGB"
    before, after = (np.asarray(it.convert(there)) for it in (source, result.image))
    np.testing.assert_array_equal(after[~mask], before[~mask], OUTSIDE)


def test_a_file_comes_back_with_its_metadata(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    Image.open(PICTURE).save(source, dpi=(300, 300))
    result = client.edit(source, INSTRUCTION, seed=7, steps=STEPS)
    result.save(tmp_path / "edited.png")
    written = Image.open(tmp_path / "edited.png")
    assert round(written.info["dpi"][0]) == 300
    assert client.edit(str(source), INSTRUCTION, seed=7, steps=STEPS).file == result.file
    assert client.edit(source.read_bytes(), INSTRUCTION, seed=7, steps=STEPS).file == result.file


def test_large_pictures_are_sent_and_fetched_in_pieces(client: Client) -> None:
    source = noise(1250)
    mask = np.zeros(source.shape[:2], dtype=np.bool_)
    mask[100:400, 200:500] = True
    result = client.edit(source, INSTRUCTION, mask=mask, seed=7, steps=STEPS)
    assert len(result.file) > 4 << 20 and not result.job.result.image.inline
    np.testing.assert_array_equal(result.mask_array(), mask)
    np.testing.assert_array_equal(result.array()[~mask], source[~mask], OUTSIDE)


def test_the_output_may_be_a_jpeg(client: Client) -> None:
    output = pb.OutputOptions(mime_type="image/jpeg", quality=80)
    assert client.edit(PICTURE, INSTRUCTION, steps=STEPS, output="webp").image.format == "WEBP"
    assert client.edit(PICTURE, INSTRUCTION, steps=STEPS, output=output).image.format == "JPEG"


def test_the_same_seed_makes_the_same_picture(client: Client) -> None:
    first = client.edit(PICTURE, INSTRUCTION, steps=STEPS)
    again = client.edit(PICTURE, INSTRUCTION, steps=STEPS, seed=first.seed)
    np.testing.assert_array_equal(first.array(), again.array())


def test_a_reviewed_mask_is_the_one_that_is_used(client: Client) -> None:
    seen: list[Proposal] = []

    def grow(proposal: Proposal) -> Image.Image:
        seen.append(proposal)
        return proposal.mask.filter(ImageFilter.MaxFilter(5))

    result = client.edit(PICTURE, INSTRUCTION, review=grow, seed=7, steps=STEPS)
    (proposal,) = seen
    assert proposal.confidence is not None and 0 <= proposal.confidence <= 1
    assert [it.id for it in proposal.clusters] == list(range(1, len(proposal.clusters) + 1))
    assert any(it.selected for it in proposal.clusters) and not all(it.selected for it in proposal.clusters)
    assert proposal.area == pytest.approx(proposal.array().mean())
    grown = np.asarray(proposal.mask.filter(ImageFilter.MaxFilter(5))) >= 128
    np.testing.assert_array_equal(result.mask_array(), grown)
    np.testing.assert_array_equal(result.array()[~grown], pixels()[~grown], OUTSIDE)


def test_each_part_of_an_instruction_is_reviewed_by_itself(client: Client) -> None:
    boxes = iter([(0, 0, 32, 32), (32, 0, 64, 64)])
    seen: list[Proposal] = []

    def choose(proposal: Proposal) -> Mask:
        seen.append(proposal)
        return Mask(boxes=[next(boxes)])

    both = f"{INSTRUCTION}, then remove the yellow trees"
    result = client.edit(PICTURE, both, review=choose, seed=7, steps=STEPS)
    assert len({it.etag for it in seen}) == len(seen) == 2
    mask = result.mask_array()
    assert mask is not None and mask[:32, :32].all() and mask[:, 32:].all() and not mask[32:, :32].any()


def test_a_review_takes_the_proposal_or_clusters_of_it(client: Client) -> None:
    def edited(decision: Accept | Mask) -> float:
        result = client.edit(PICTURE, INSTRUCTION, review=lambda _: decision, seed=7, steps=STEPS)
        mask = result.mask_array()
        assert mask is not None
        return float(mask.mean())

    accepted, one = edited(Accept()), edited(Mask(clusters=[1]))
    assert 0 < one < accepted < edited(Accept(dilate=2))


def test_a_review_that_raises_cancels_its_job(client: Client) -> None:
    def refuse(proposal: Proposal) -> Accept:
        raise LookupError(proposal.job)

    with pytest.raises(LookupError) as raised:
        client.edit(PICTURE, INSTRUCTION, review=refuse, steps=STEPS)
    job = client.get(str(raised.value.args[0]))
    assert (job.state, job.error.message) == (pb.EditJob.STATE_CANCELLED, "its caller left")


def test_a_detached_job_is_decided_and_waited_for_by_its_name(client: Client) -> None:
    job = client.submit(PICTURE, INSTRUCTION, mask_policy="review", seed=7, steps=STEPS, labels={"for": "decide"})
    for event in client.watch(job.name):
        if event.HasField("mask_proposed"):
            break
    proposal = client.proposal(job.name)
    assert proposal is not None
    with pytest.raises(Refused, match="MASK_ETAG_MISMATCH"):
        client.decide(job.name, Accept(), etag="another")
    client.decide(job.name, Mask(boxes=[(0, 0, 16, 16)]), etag=proposal.etag)
    result = client.wait(job.name)
    mask = result.mask_array()
    assert mask is not None and mask.sum() == 16 * 16 and mask[:16, :16].all()
    assert [it.name for it in client.jobs(labels={"for": "decide"}, states=["succeeded"])] == [job.name]
    client.delete(job.name)
    with pytest.raises(Refused) as raised:
        client.get(job.name)
    assert raised.value.reason == "JOB_NOT_FOUND" and raised.value.remedy


def test_a_localization_is_reused(client: Client) -> None:
    found = client.localize(PICTURE, INSTRUCTION, seed=7)
    assert found.clusters and 0 < found.array().mean() < 1
    result = client.edit(PICTURE, INSTRUCTION, reuse_localization_of=found.job, seed=7, steps=STEPS)
    assert result.job.mask.localization_source == pb.LOCALIZATION_SOURCE_JOB
    np.testing.assert_array_equal(result.mask_array(), found.array())


def test_a_streams_events_come_in_order_with_previews(client: Client) -> None:
    events = list(client.stream(PICTURE, INSTRUCTION, seed=7, steps=STEPS))
    kinds = [it.WhichOneof("event") for it in events]
    assert {"instruction", "mask_proposed", "preview", "result"} <= set(kinds) and kinds[-1] == "state"
    control = [it.sequence for it in events if it.WhichOneof("event") not in ("step", "preview", "queue", "heartbeat")]
    assert control == list(range(1, len(control) + 1))
    preview = next(it.preview for it in events if it.HasField("preview"))
    assert Image.open(io.BytesIO(client.download(preview.image))).size == (preview.image.width, preview.image.height)
    assert retouch_client.pass_of(preview) in ("localize", "edit")


def test_a_stream_that_is_left_cancels_its_job(client: Client) -> None:
    for event in client.stream(PICTURE, INSTRUCTION, steps=1000):
        if event.HasField("step"):
            break
    assert client.get(event.job).state == pb.EditJob.STATE_CANCELLED


def test_progress_is_a_bar(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.edit(PICTURE, INSTRUCTION, seed=8, steps=STEPS, progress=True)
    shown = capsys.readouterr().err
    assert "localize" in shown and "edit" in shown and "/3 " in shown


def test_a_batch_has_an_outcome_for_each_edit(client: Client, tmp_path: Path) -> None:
    edits = [Edit(PICTURE, INSTRUCTION, seed=seed, steps=STEPS) for seed in range(4)]
    edits.insert(1, Edit(PICTURE, INSTRUCTION, steps=0))
    edits.insert(2, Edit(tmp_path / "none.png", INSTRUCTION))
    outcomes = sorted(client.batch(iter(edits), concurrency=3), key=lambda it: it.index)
    assert [it.index for it in outcomes] == list(range(6)) and [it.edit for it in outcomes] == edits
    assert [type(it.error) for it in outcomes] == [type(None), Refused, FileNotFoundError] + 3 * [type(None)]
    assert len({it.unwrap().file for it in outcomes if it.error is None}) == 4
    assert {it.unwrap().job.spec.priority for it in outcomes if it.error is None} == {pb.PRIORITY_BATCH}
    with pytest.raises(FileNotFoundError):
        outcomes[2].unwrap()
    # The same request id asks for the same job.
    (again,) = client.batch([edits[0]])
    assert again.unwrap().name == outcomes[0].unwrap().name


def test_a_batch_that_is_left_ends_at_once_and_its_jobs_go_on(client: Client) -> None:
    long = Edit(PICTURE, INSTRUCTION, steps=1000, labels={"batch": "left"})
    outcomes = client.batch([Edit(PICTURE, INSTRUCTION, steps=0), long], concurrency=2)
    assert next(outcomes).error is not None
    while not (jobs := list(client.jobs(labels={"batch": "left"}))):
        time.sleep(0.1)
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 5
    assert client.cancel(jobs[0].name).state == pb.EditJob.STATE_CANCELLED


def test_a_deadline_ends_the_edit_and_its_job(client: Client) -> None:
    start = time.monotonic()
    edit = Edit(PICTURE, INSTRUCTION, steps=1000)
    with pytest.raises(Refused) as raised:
        client.edit(PICTURE, INSTRUCTION, steps=1000, request_id=edit.request_id, timeout=2)
    assert raised.value.reason == "CLIENT_DEADLINE" and 1.9 < time.monotonic() - start < 2 + 5
    (job,) = [it for it in client.jobs() if it.request_id == edit.request_id]
    with pytest.raises(JobFailed) as failed:
        client.wait(job.name, timeout=20)
    assert failed.value.reason in ("CLIENT_DEADLINE", "CANCELLED_BY_API") and failed.value.job.name == job.name


def test_waiting_ends_with_its_time_and_leaves_the_job(client: Client) -> None:
    job = client.submit(PICTURE, INSTRUCTION, steps=1000)
    with pytest.raises(Refused, match="CLIENT_DEADLINE"):
        client.wait(job.name, timeout=0.5)
    assert client.get(job.name).state not in (pb.EditJob.STATE_CANCELLED, pb.EditJob.STATE_FAILED)
    client.cancel(job.name)


@pytest.mark.parametrize("picture", [b"no picture", PICTURE.read_bytes()[:900], np.zeros((8, 8, 3), np.uint8)])
def test_bad_pictures_are_refused_with_a_reason(client: Client, picture: bytes) -> None:
    with pytest.raises(Refused) as raised:
        client.edit(picture, INSTRUCTION)
    assert raised.value.reason == "BAD_IMAGE" and raised.value.remedy in str(raised.value)


def test_an_empty_mask_is_refused(client: Client) -> None:
    with pytest.raises(Refused, match="EMPTY_MASK"):
        client.edit(PICTURE, INSTRUCTION, mask=np.zeros((64, 64), dtype=np.bool_))


def test_wrong_fields_are_named(client: Client) -> None:
    with pytest.raises(Refused) as raised:
        client.edit(PICTURE, INSTRUCTION, steps=0)
    assert raised.value.reason == "INVALID_ARGUMENT" and raised.value.fields == ("spec.steps",)


def test_a_failed_job_has_its_reason(client: Client) -> None:
    with pytest.raises(JobFailed) as raised:
        client.edit(PICTURE, "change the zebra to blue", steps=STEPS, strict=True, min_confidence=1.0)
    assert raised.value.reason in ("LOW_CONFIDENCE", "OBJECT_NOT_FOUND") and raised.value.remedy


def test_artifacts_are_uploaded_and_deleted(client: Client) -> None:
    source = noise(700)
    artifact = client.upload(source)
    stored = client.download(pb.Artifact(name=artifact.name, size_bytes=artifact.size_bytes, sha256=artifact.sha256))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))), source)
    client.delete_artifact(artifact.name)
    with pytest.raises(Refused, match="ARTIFACT_NOT_FOUND"):
        client.download(pb.Artifact(name=artifact.name, size_bytes=1))


def test_the_servers_info_has_its_model(client: Client) -> None:
    info = client.info()
    assert info.model == "demo-model" and info.limits.max_pixels > 0


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    start = time.monotonic()
    with Client("http://localhost:1") as client, pytest.raises(Unreachable) as raised:
        client.info()
    assert raised.value.reason == "SERVER_UNREACHABLE" and "http://localhost:1" in str(raised.value)
    with Client("http://localhost:1") as client, pytest.raises(Unreachable):
        list(client.batch([Edit(PICTURE, INSTRUCTION)] * 9))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("picture", [pixels() / 255, np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), 7])
def test_what_is_no_picture_is_told_before_anything_is_sent(picture: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError):
        Edit(picture, INSTRUCTION).message()


def test_a_cmyk_image_is_told_with_a_remedy() -> None:
    with pytest.raises(InputError, match='convert it, as to "RGB"'):
        Edit(Image.new("CMYK", (32, 32)), INSTRUCTION).message()
