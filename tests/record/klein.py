"""Builds the tiny FLUX.2-klein snapshots in tests/fixtures/models, and records diffusers' outputs with them.

    python tests/record/klein.py [snapshots|text|stages|edits]...

Without arguments all of it. Weights are random, not trained; they are stored as fp16 and computed with in fp32.

- klein: the distilled model as published, one prediction a step: a Qwen3 encoder whose last layer nobody reads, an
  autoencoder with 1x1 convolutions around its latents.
- klein_base: the base model, with guidance of two predictions; and what else a configuration may say: other numbers of
  blocks and heads, a decoder of other widths than the encoder, no 1x1 convolutions, no attention in the autoencoder.

What diffusers takes as arguments of a call, `text_encoder_out_layers` and `max_sequence_length`, each snapshot says in
its retouch.json.
"""

import contextlib
import itertools
import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import safetensors.torch
import torch
import transformers
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinInpaintPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from diffusers.models.transformers import transformer_flux2
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from klein_snapshots import END, SNAPSHOTS, START, STOP, THINK, build, save

PINNED = {"torch": ("2.11.0", torch), "diffusers": ("0.42.1", diffusers), "transformers": ("5.24.0", transformers)}
SEED = 23
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "models"
# Of a stage's values, every seventh is kept: seven shares no factor with the numbers of channels.
STAGE_STRIDE = 7

INSTRUCTION = "change the red circle to a blue star"


def main():
    for name, (version, module) in PINNED.items():
        found = module.__version__.split("+")[0]
        if found != version:
            sys.exit(f"{name} is {found}, the fixtures are recorded with {version}")
    parts = sys.argv[1:] or ["snapshots", "text", "stages", "edits"]
    if "snapshots" in parts:
        for index, (name, sizes) in enumerate(SNAPSHOTS.items()):
            torch.manual_seed(SEED + index)
            save(build(sizes), sizes, FIXTURES / name)
    for name, sizes in SNAPSHOTS.items():
        pipe = Flux2KleinPipeline.from_pretrained(FIXTURES / name, torch_dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        if "text" in parts:
            record_text(pipe, sizes, name)
        if "stages" in parts:
            record_stages(pipe, sizes, name)
        if "edits" in parts:
            record_edits(pipe, sizes, name)
    if "text" in parts:
        record_tokens()
    if "stages" in parts:
        record_sigmas()
        record_head_size()
    total = sum(path.stat().st_size for path in FIXTURES.glob("klein*/**/*") if path.is_file())
    records = sum(path.stat().st_size for path in FIXTURES.glob("klein*") if path.is_file())
    print(f"seed {SEED}, snapshots {total / 1000:.0f} kB, records {records / 1000:.0f} kB")


# === Text ===


def arguments(sizes):
    return {"text_encoder_out_layers": sizes["taps"], "max_sequence_length": sizes["tokens"]}


@torch.no_grad()
def record_text(pipe, sizes, name):
    """The hidden states of a few prompts, with their ids: short, long, cut, and empty."""
    prompts = [INSTRUCTION, "", "make the café's sky 猫 " * 12]
    tensors, ids = {}, []
    for index, prompt in enumerate(prompts):
        hidden, _ = pipe.encode_prompt(prompt, **arguments(sizes))
        tensors[f"{index}.hidden"] = hidden
        text = templated(pipe.tokenizer, prompt)
        read = pipe.tokenizer(text, padding="max_length", truncation=True, max_length=sizes["tokens"])
        tensors[f"{index}.ids"] = torch.tensor(read["input_ids"])
        tensors[f"{index}.mask"] = torch.tensor(read["attention_mask"])
        # Each tap by itself, before they are joined.
        output = pipe.text_encoder(
            input_ids=torch.tensor([read["input_ids"]]), attention_mask=torch.tensor([read["attention_mask"]]),
            output_hidden_states=True, use_cache=False,
        )
        for tap in range(max(sizes["taps"]) + 1):
            tensors[f"{index}.layers.{tap}"] = output.hidden_states[tap].flatten()[::STAGE_STRIDE]
        ids.append(prompt)
    write(f"{name}.text.safetensors", tensors, {"prompts": json.dumps(ids)})


def templated(words, prompt):
    return words.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )


def record_tokens():
    """Ids of prompts within their template, and byte offsets within the prompt of those that are the prompt's."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    words = transformers.AutoTokenizer.from_pretrained(FIXTURES / "klein" / "tokenizer")
    rows = []
    for prompt in prompts():
        text = templated(words, prompt)
        read = words(text, return_offsets_mapping=True)
        at = [0]
        for character in text:
            at.append(at[-1] + len(character.encode()))
        offsets = [[at[a], at[b]] for a, b in read["offset_mapping"]]
        rows.append({"prompt": prompt, "ids": read["input_ids"], "offsets": offsets})
    assert len(rows) >= 200, len(rows)
    lines = ",\n".join(json.dumps(it, ensure_ascii=False, separators=(",", ":")) for it in rows)
    (FIXTURES / "klein.tokens.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def prompts():
    """Prompts of every script, of punctuation, white space, digits and special tokens."""
    written = json.loads((FIXTURES.parent / "text" / "clip.json").read_text(encoding="utf-8"))
    texts = [it["text"] for it in written if len(it["text"]) < 120]
    texts += [f"a {it} b" for it in (END, START, STOP, *THINK)] + ["<|im_start|>user\nhi<|im_end|>", "12345 67", " x  y   z\n\n\n"]
    return list(dict.fromkeys(texts))[:220]


def write(name, tensors, metadata=None):
    tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
    safetensors.torch.save_file(tensors, FIXTURES / name, metadata=metadata)
    for key, value in tensors.items():
        print(f"{name:28} {key:32} {str(tuple(value.shape)):20} std {value.float().std(correction=0):.3f}")


# === Stages ===


@torch.no_grad()
def record_stages(pipe, sizes, name):
    """One call of the transformer on two rows with one reference and with two, each block's output; the autoencoder
    both ways."""
    torch.manual_seed(SEED)
    transformer, vae, tensors = pipe.transformer, pipe.vae, {}
    channels, width = transformer.config.in_channels, transformer.config.joint_attention_dim
    for case, (height, wide, references) in {"one": (4, 6, 1), "two": (5, 3, 2)}.items():
        latents = torch.randn(2, channels, height, wide)
        pictures = torch.randn(2, references, channels, height, wide)
        prompts = torch.randn(2, 7, width)
        timesteps = torch.tensor([958.125, 250.0])
        call = {"latents": latents, "pictures": pictures, "prompts": prompts, "timesteps": timesteps}
        stages, noise = transformer_stages(pipe, **call)
        tensors |= {f"{case}.{key}": it for key, it in call.items()}
        tensors |= {f"{case}.stages.{key}": it.flatten()[::STAGE_STRIDE] for key, it in stages.items()}
        tensors[f"{case}.noise"] = noise

    cell = 2 * pipe.vae_scale_factor
    for case, (height, wide) in {"even": (3 * cell, 2 * cell), "square": (4 * cell, 4 * cell)}.items():
        images = torch.rand(2, 3, height, wide) * 2 - 1
        latents = pipe._encode_vae_image(images, None)
        raw = vae.encode(images).latent_dist.mode()
        tensors[f"vae.{case}.images"] = images
        tensors[f"vae.{case}.mode"] = raw
        tensors[f"vae.{case}.latents"] = latents
        tensors[f"vae.{case}.decoded"] = decoded(pipe, latents)
    write(f"{name}.stages.safetensors", tensors)


def decoded(pipe, latents):
    """The pixels of latents as they are denoised."""
    norm = pipe.vae.bn
    std = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + pipe.vae.config.batch_norm_eps)
    latents = pipe._unpatchify_latents(latents * std + norm.running_mean.view(1, -1, 1, 1))
    return pipe.vae.decode(latents).sample


def transformer_stages(pipe, latents, pictures, prompts, timesteps):
    """Outputs of each block, prompt before image, and the prediction as a grid."""
    transformer, stages = pipe.transformer, {}

    def hook(name):
        def keep(_module, _inputs, output):
            stages[name] = torch.cat(output, dim=1) if isinstance(output, tuple) else output

        return keep

    modules = {f"transformer_blocks.{index}": it for index, it in enumerate(transformer.transformer_blocks)}
    modules |= {
        f"single_transformer_blocks.{index}": it for index, it in enumerate(transformer.single_transformer_blocks)
    }
    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    references = pictures.unbind(1)
    packed = [pipe._pack_latents(it) for it in (latents, *references)]
    image_ids = pipe._prepare_image_ids([it[:1] for it in references])
    ids = torch.cat([pipe._prepare_latent_ids(latents[:1]), image_ids], dim=1)
    out = transformer(
        hidden_states=torch.cat(packed, dim=1), timestep=timesteps / 1000, guidance=None, encoder_hidden_states=prompts,
        txt_ids=pipe._prepare_text_ids(prompts)[:1], img_ids=ids, return_dict=False,
    )[0]
    for handle in handles:
        handle.remove()
    noise = out[:, : packed[0].shape[1]].transpose(1, 2).reshape(latents.shape)
    return stages, noise


def record_sigmas():
    """Noise levels, the last of which is 0: of the model's own schedule for 1 to 50 steps and five sizes, in cells, and
    of other configurations."""
    own = dict(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    tensors = {}
    for cells in (64, 1024, 2304, 4096, 8192):
        rows = [sigmas(own, cells, steps) for steps in range(1, 51)]
        tensors[f"own.{cells}"] = torch.cat(rows)
    others = {
        "linear": own | {"time_shift_type": "linear"},
        "terminal": own | {"shift_terminal": 0.02},
        "static": dict(shift=3.0, use_dynamic_shifting=False),
        "static_terminal": dict(shift=1.5, use_dynamic_shifting=False, shift_terminal=0.1),
    }
    for name, config in others.items():
        tensors[f"{name}.1024"] = torch.cat([sigmas(config, 1024, steps) for steps in (2, 4, 25)])
    generator = torch.Generator().manual_seed(5)
    tensors["noise"] = torch.randn((1, 16, 4, 3), generator=generator)
    write("klein.sigmas.safetensors", tensors)


def sigmas(config, cells, steps):
    """As the pipeline sets them."""
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    mu = compute_empirical_mu(image_seq_len=cells, num_steps=steps)
    scheduler.set_timesteps(steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    assert torch.equal(scheduler.timesteps, scheduler.sigmas[:-1] * 1000)
    return scheduler.sigmas


@torch.no_grad()
def record_head_size():
    """One block of each kind at the published size of heads, 128, with weights by `recipe`, which the test makes too."""
    torch.manual_seed(SEED)
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=128, num_attention_heads=2,
        joint_attention_dim=24, guidance_embeds=False,
    ).eval()
    for index, (key, parameter) in enumerate(sorted(transformer.named_parameters())):
        parameter.copy_(recipe(index, key, parameter.shape))
    pipe = Flux2KleinPipeline.from_pretrained(FIXTURES / "klein", transformer=transformer, torch_dtype=torch.float32)
    call = {
        "latents": torch.randn(1, 16, 5, 4),
        "pictures": torch.randn(1, 1, 16, 5, 4),
        "prompts": torch.randn(1, 9, 24),
        "timesteps": torch.tensor([717.5]),
    }
    stages, noise = transformer_stages(pipe, **call)
    tensors = call | {f"stages.{key}": it.flatten()[::STAGE_STRIDE] for key, it in stages.items()} | {"noise": noise}
    # The whole table of a published size's rotary embedding, thinned out.
    ids = torch.cartesian_prod(torch.tensor([10]), torch.arange(64), torch.arange(64), torch.arange(1))
    cos, sin = transformer.pos_embed(ids)
    tensors |= {"rope.cos": cos.flatten()[::997], "rope.sin": sin.flatten()[::997]}
    write("klein_heads.safetensors", tensors)


def recipe(seed, key, shape):
    """Weights from whole numbers alone, so that others can make the same."""
    prime = 65521
    count = int(np.prod(shape))
    value = torch.arange(count, dtype=torch.int64) + 1000 * seed
    for step in (3, 7, 11):
        value = (value % prime * (value % prime) + step * value + seed + step) % (prime * 32768)
    value = (value % prime).double() / prime * 2 - 1
    if key.endswith("bias") or len(shape) > 1:
        value = value * 1.4 / (int(np.prod(shape[1:])) ** 0.5)
    else:
        value = 1.2 + 0.4 * value
    return value.view(shape).float()


# === Edits ===


def picture(width, height, seed):
    """Smooth colors, and a few edges."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [np.sin(x / (5 + k + seed) + k) * np.cos(y / (7 + seed - k)) for k in range(3)]
    image = (np.stack(channels, -1) * 0.4 + 0.5) * 255
    image[height // 4 : height // 2, width // 3 : 2 * width // 3, seed % 3] = 230
    return Image.fromarray(image.round().clip(0, 255).astype(np.uint8))


@torch.no_grad()
def record_edits(pipe, sizes, name):
    """Whole edits: square, not square, cut to the grid, of two pictures; held inside a region by attention masks, by other
    keys and values, and by diffusers' own pipeline for regions."""
    steps = 4 if sizes["distilled"] else 5
    common = dict(
        prompt=INSTRUCTION, num_inference_steps=steps, guidance_scale=4.0, output_type="np", **arguments(sizes)
    )
    tensors, pixels = {}, {}

    def edit(case, pictures, run=pipe, **options):
        seed = 40 + len(tensors)
        generator = torch.Generator().manual_seed(seed)
        images = {"image": pictures} if run is pipe else {"image": pictures[0]}
        last = {}

        def keep(_pipe, _step, _timestep, tensors):
            last.update(tensors)
            return tensors

        edited = run(**images, **common, **options, generator=generator, callback_on_step_end=keep).images[0]
        # As they are denoised, cell by cell.
        tensors[f"{case}.latents"] = last["latents"]
        for index, it in enumerate(pictures):
            tensors[f"{case}.picture.{index}"] = torch.from_numpy(np.asarray(it).copy())
        tensors[f"{case}.seed"] = torch.tensor([seed])
        tensors[f"{case}.edited"] = torch.from_numpy((edited * 255).round().astype(np.uint8))
        # Before they are rounded to bytes.
        pixels[f"{case}.pixels"] = torch.from_numpy(edited).flatten()[::STAGE_STRIDE]

    edit("square", [picture(64, 64, 1)])
    edit("wide", [picture(96, 64, 2)])
    # Neither side is a multiple of a token's.
    edit("cut", [picture(109, 77, 3)])
    if sizes["distilled"]:
        edit("two", [picture(64, 64, 4), picture(64, 64, 5)])

    cell = 2 * pipe.vae_scale_factor
    side = 64 // cell
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[side // 4 : side * 3 // 4, side // 4 : side // 2 + 1] = True
    mask = Image.fromarray(inside.repeat_interleave(cell, 0).repeat_interleave(cell, 1).numpy().astype(np.uint8) * 255)
    tensors["mask"] = torch.from_numpy(np.asarray(mask).copy())
    total = sizes["tokens"] + 2 * side * side
    allowed = torch.ones(total, total, dtype=torch.bool)
    outside = torch.where(~inside.flatten())[0] + sizes["tokens"]
    # The first tokens of every prompt are the same, three of the template.
    allowed[outside[:, None], torch.arange(3, sizes["tokens"])[None]] = False
    forward = pipe.transformer.forward
    if not sizes["distilled"]:
        # Of the two calls of a step the first alone, with the instruction, is held.
        calls = itertools.count()

        def held(*args, joint_attention_kwargs, **kwargs):
            kept = joint_attention_kwargs if next(calls) % 2 == 0 else None
            return forward(*args, joint_attention_kwargs=kept, **kwargs)

        pipe.transformer.forward = held
    edit("held", [picture(64, 64, 6)], attention_kwargs={"attention_mask": allowed[None, None]})
    pipe.transformer.forward = forward
    inpaint = Flux2KleinInpaintPipeline(**pipe.components, is_distilled=sizes["distilled"])
    inpaint.set_progress_bar_config(disable=True)
    edit("inpaint", [picture(64, 64, 7)], run=inpaint, mask_image=mask, strength=1.0)
    # What is about the picture, and not about the instruction, holds for both calls of a step.
    cells = side * side
    latents = torch.arange(sizes["tokens"], sizes["tokens"] + cells)
    unseen = torch.ones(total, total, dtype=torch.bool)
    unseen[outside[:, None], latents[inside.flatten()][None]] = False
    edit("isolate", [picture(64, 64, 8)], attention_kwargs={"attention_mask": unseen[None, None]})
    with clean_keys(outside, outside + cells):
        edit("reference", [picture(64, 64, 9)])
    # The instruction's share of the output is taken away.
    calls = itertools.count() if not sizes["distilled"] else itertools.repeat(0)
    with gated(pipe.transformer, calls, outside, torch.arange(3, sizes["tokens"])):
        edit("gate", [picture(64, 64, 10)])
    write(f"{name}.edits.safetensors", tensors | pixels)


@contextlib.contextmanager
def clean_keys(to, of):
    """Attention to the tokens `of` in the place of `to`: to their keys, turned to where `to` are, and their values."""
    turn, attend = transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn
    are_keys = itertools.cycle([False, True])

    def replaced(it):
        it = it.clone()
        it[:, to] = it[:, of]
        return it

    def turned(it, *args, **kwargs):
        return turn(replaced(it) if next(are_keys) else it, *args, **kwargs)

    def attended(query, key, value, **kwargs):
        return attend(query, key, replaced(value), **kwargs)

    transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn = turned, attended
    yield
    transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn = turn, attend


@contextlib.contextmanager
def gated(transformer, calls, queries, keys):
    """Attention without what comes of some keys for some queries, in every call that has an even number."""
    attend, forward = transformer_flux2.dispatch_attention_fn, transformer.forward
    number = [0]

    def called(*args, **kwargs):
        number[0] = next(calls)
        return forward(*args, **kwargs)

    def attended(query, key, value, **kwargs):
        output = attend(query, key, value, **kwargs)
        if number[0] % 2 == 0:
            q, k, v = (it.transpose(1, 2).double() for it in (query, key, value))
            probs = (q[:, :, queries] @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            held = probs[..., keys] @ v[:, :, keys]
            output = output.clone()
            output[:, queries] -= held.transpose(1, 2).float()
        return output

    transformer_flux2.dispatch_attention_fn, transformer.forward = attended, called
    yield
    transformer_flux2.dispatch_attention_fn, transformer.forward = attend, forward


if __name__ == "__main__":
    main()
