"""Builds the tiny InstructPix2Pix snapshots in tests/fixtures/models, and records diffusers' outputs with them.

    python tests/record/models.py TOKENIZER

TOKENIZER is a folder with the small CLIP vocabulary that both snapshots carry: vocab.json, merges.txt, tokenizer.json,
tokenizer_config.json. Weights are random, not trained; they are stored as fp16 and computed with in fp32.

- sd1: Stable Diffusion 1.x as published: convolution projections, one number of heads, four levels of which the last
  has no attention, the autoencoder's old attention names, `text_model.` keys with `position_ids`.
- linear: Stable Diffusion 2.x: linear projections, a list of heads, velocity prediction, `upcast_attention`; and what
  else a configuration may say: two transformer blocks, an autoencoder without attention and without 1x1
  convolutions, CLIP with gelu, a tokenizer without tokenizer.json.
"""

import json
import shutil
import sys
from pathlib import Path

import diffusers
import safetensors.torch
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PINNED = {"torch": ("2.11.0", torch), "diffusers": ("0.42.1", diffusers), "transformers": ("5.23.0", transformers)}
SEED = 20
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "models"
# Of a stage's values, every fifth is kept: five shares no factor with the numbers of channels, so all of them are seen.
STAGE_STRIDE = 5

SNAPSHOTS = {
    "sd1": {
        "unet": dict(
            sample_size=16,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=24,
            norm_num_groups=4,
        ),
        "vae": dict(block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=4, sample_size=128),
        "text": dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3),
        "scheduler": dict(prediction_type="epsilon"),
        # Latents of height, width; images of height, width.
        "sizes": {"even": ((16, 8), (32, 16)), "odd": ((13, 9), (29, 21))},
    },
    "linear": {
        "unet": dict(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(8, 12, 16),
            layers_per_block=2,
            transformer_layers_per_block=[1, 1, 2],
            attention_head_dim=[1, 2, 4],
            cross_attention_dim=16,
            norm_num_groups=4,
            use_linear_projection=True,
            upcast_attention=True,
        ),
        "vae": dict(
            block_out_channels=(4, 6, 8),
            layers_per_block=2,
            norm_num_groups=2,
            sample_size=32,
            scaling_factor=0.5,
            mid_block_add_attention=False,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        "text": dict(
            hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, hidden_act="gelu"
        ),
        "scheduler": dict(prediction_type="v_prediction"),
        "sizes": {"even": ((8, 12), (16, 24)), "odd": ((7, 10), (27, 22))},
    },
}


def main():
    for name, (version, module) in PINNED.items():
        found = module.__version__.split("+")[0]
        if found != version:
            sys.exit(f"{name} is {found}, the fixtures are recorded with {version}")
    (tokenizer,) = sys.argv[1:]
    torch.manual_seed(SEED)
    for name, parts in SNAPSHOTS.items():
        pipe = build(parts, tokenizer)
        save(pipe, name)
        record(pipe, parts["sizes"], FIXTURES / f"{name}.record.safetensors")
    total = sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file())
    print(f"seed {SEED}, {total / 1000:.0f} kB")


def build(parts, tokenizer):
    """A pipeline of the given sizes with random weights."""
    levels = len(parts["vae"]["block_out_channels"])
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
    text = dict(
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    pipe = StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * levels,
            up_block_types=["UpDecoderBlock2D"] * levels,
            **parts["vae"],
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text, **parts["text"])),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(in_channels=8, out_channels=4, **parts["unet"]),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="linspace",
            **parts["scheduler"],
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for model in (pipe.vae, pipe.text_encoder, pipe.unet):
        model.eval()
        for key, parameter in model.named_parameters():
            randomize(key, parameter.data)
    return pipe


def randomize(key, parameter):
    """Weights that make every layer affect the output: no norm is the identity, hidden states stay near unit size, and the
    logits of attention have a standard deviation of about 2, so that attention is neither flat nor one-hot."""
    noise = torch.randn(parameter.shape)
    if "embedding" in key and "time_embedding" not in key:
        value = noise
    elif key.endswith("bias"):
        value = 0.2 * noise
    elif parameter.ndim == 1:
        value = 1 + 0.2 * noise
    else:
        gain = 1.5 if any(name in key for name in ("to_q", "to_k", "q_proj", "k_proj")) else 0.8
        value = gain * noise / parameter[0].numel() ** 0.5
    parameter.copy_(value.half().float())


def save(pipe, name):
    """Writes the snapshot in fp16, `sd1` under the names of the published checkpoints."""
    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    pipe.to(torch.float16)
    pipe.save_pretrained(folder)
    pipe.to(torch.float32)
    if name == "sd1":
        rename(folder / "vae" / "diffusion_pytorch_model.safetensors", old_attention_name)
        positions = torch.arange(pipe.text_encoder.config.max_position_embeddings)[None]
        rename(
            folder / "text_encoder" / "model.safetensors",
            lambda key: key if key.startswith("text_model.") else f"text_model.{key}",
            {"text_model.embeddings.position_ids": positions},
        )
    else:
        (folder / "tokenizer" / "tokenizer.json").unlink()
        tokenizer = pipe.tokenizer.backend_tokenizer
        model = json.loads(tokenizer.to_str())["model"]
        (folder / "tokenizer" / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
        merges = "\n".join(" ".join(pair) for pair in model["merges"])
        (folder / "tokenizer" / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


def old_attention_name(key):
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        key = key.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
    return key


def rename(path, name, extra=None):
    tensors = {name(key): tensor for key, tensor in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(tensors | (extra or {}), path, metadata={"format": "pt"})


@torch.no_grad()
def record(pipe, sizes, path):
    """Runs each model on random inputs of each size, three rows at a time."""
    tensors = {}
    text = pipe.text_encoder.config
    lengths = (3, 9, text.max_position_embeddings)
    input_ids = torch.full((3, text.max_position_embeddings), text.eos_token_id)
    for row, length in zip(input_ids, lengths):
        row[0] = text.bos_token_id
        row[1 : length - 1] = torch.randint(0, text.bos_token_id, (length - 2,))
    encoded = pipe.text_encoder(input_ids)
    tensors["text.input_ids"] = input_ids
    tensors["text.last_hidden_state"] = encoded.last_hidden_state
    tensors["text.pooler_output"] = encoded.pooler_output

    for size, (latent, image) in sizes.items():
        tensors |= {f"{size}.{key}": value for key, value in unet_stages(pipe, encoded.last_hidden_state, *latent)}
        images = torch.rand(2, 3, *image) * 2 - 1
        latents = pipe.vae.encode(images).latent_dist.mode()
        tensors[f"{size}.vae.images"] = images
        tensors[f"{size}.vae.latents"] = latents
        tensors[f"{size}.vae.decoded"] = pipe.vae.decode(latents).sample
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    report(tensors)


def unet_stages(pipe, encoder_hidden_states, height, width):
    """Inputs, stages and output of one call of the U-Net on the recorded prompts; a stage is every `STAGE_STRIDE`th of
    its values."""
    unet, stages = pipe.unet, {}

    def hook(name):
        def keep(_module, _inputs, output):
            sample, residuals = output if isinstance(output, tuple) else (output, ())
            stages[name] = sample
            stages.update({f"{name}.residuals.{index}": value for index, value in enumerate(residuals)})

        return keep

    modules = {"conv_in": unet.conv_in, "mid_block": unet.mid_block}
    modules |= {f"down_blocks.{index}": block for index, block in enumerate(unet.down_blocks)}
    modules |= {f"up_blocks.{index}": block for index, block in enumerate(unet.up_blocks)}
    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    sample = torch.randn(3, unet.config.in_channels, height, width)
    timesteps = torch.tensor([999.0, 501.25, 7.0])
    noise_pred = unet(sample, timesteps, encoder_hidden_states).sample
    for handle in handles:
        handle.remove()

    yield from (("sample", sample), ("timesteps", timesteps))
    yield from ((f"stages.{name}", value.flatten()[::STAGE_STRIDE]) for name, value in stages.items())
    yield "noise_pred", noise_pred


def report(tensors):
    for key, value in tensors.items():
        print(f"{key:40} {str(tuple(value.shape)):20} std {value.float().std():.3f}")


if __name__ == "__main__":
    main()
