"""Records how the tensors of FLUX.2 [klein] in its original layout (Black Forest Labs) become diffusers' own.

    python tests/record/bfl.py

The original keys are derived from diffusers' state dicts, filled with numbers that count up over all tensors, and
converted with diffusers' own converters. A fixture has the original tensors, by key with shape and first number, and
those of diffusers, by key with shape and the runs of numbers that they consist of. Beside it are lists of the published
models' tensors: names and shapes alone.
"""

import json
import re
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_ldm_vae_checkpoint,
)
from transformers import Qwen3Config, Qwen3ForCausalLM

PINNED = {"torch": ("2.11.0", torch), "diffusers": ("0.42.1", diffusers), "transformers": ("5.23.0", transformers)}
OUT = Path(__file__).resolve().parent.parent / "fixtures" / "flux2"

TRANSFORMER = dict(
    in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
    joint_attention_dim=24, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
)
VAE = dict(
    block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, latent_channels=4, norm_num_groups=4,
)
# Those of diffusers, in the order in which the original names are tried.
RENAMED = [
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^time_guidance_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"^time_guidance_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"^(.*_modulation.*)\.linear\.", r"\1.lin."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_q\.", r"double_blocks.\1.img_attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.", r"double_blocks.\1.txt_attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.attn\.(to_[kv]|add_[kv]_proj)\..*", ""),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"double_blocks.\1.img_attn.norm.query_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"double_blocks.\1.img_attn.norm.key_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_added_q\.weight", r"double_blocks.\1.txt_attn.norm.query_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_added_k\.weight", r"double_blocks.\1.txt_attn.norm.key_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"double_blocks.\1.img_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.", r"double_blocks.\1.txt_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.ff\.linear_in\.", r"double_blocks.\1.img_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff\.linear_out\.", r"double_blocks.\1.img_mlp.2."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.linear_in\.", r"double_blocks.\1.txt_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.linear_out\.", r"double_blocks.\1.txt_mlp.2."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj\.", r"single_blocks.\1.linear1."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_out\.", r"single_blocks.\1.linear2."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
]
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def main():
    for name, (version, module) in PINNED.items():
        found = module.__version__.split("+")[0]
        if found != version:
            sys.exit(f"{name} is {found}, the fixtures are recorded with {version}")
    OUT.mkdir(parents=True, exist_ok=True)
    record_transformer()
    record_vae()
    record_published()


def original_transformer(key, shape):
    for pattern, name in RENAMED:
        if re.match(pattern, key):
            new = re.sub(pattern, name, key) if name else None
            return new, [3 * shape[0], *shape[1:]] if ".qkv." in (new or "") else shape
    raise ValueError(key)


def record_transformer():
    shapes = {key: list(it.shape) for key, it in Flux2Transformer2DModel(**TRANSFORMER).state_dict().items()}
    originals = (original_transformer(key, shape) for key, shape in shapes.items())
    original = counted({key: shape for key, shape in originals if key})
    converted = convert_flux2_transformer_checkpoint_to_diffusers(dict(original))
    write("transformer", TRANSFORMER, original, converted, shapes)


def original_vae(key, levels):
    key = re.sub(r"^quant_conv", "encoder.quant_conv", key)
    key = re.sub(r"^post_quant_conv", "decoder.post_quant_conv", key)
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    up = lambda rest: lambda it: f"up.{levels - 1 - int(it[1])}.{rest}."
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.", up("block"), key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", up("upsample"), key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda it: f"mid.block_{int(it[1]) + 1}", key)
    found = re.match(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)$", key)
    return f"{found[1]}mid.attn_1.{VAE_ATTENTION[found[2]]}.{found[3]}" if found else key


def record_vae():
    shapes = {key: list(it.shape) for key, it in AutoencoderKLFlux2(**VAE).state_dict().items()}
    shapes.pop("bn.num_batches_tracked")
    levels = len(VAE["block_out_channels"])
    # A linear layer is a convolution there.
    linear = lambda key, shape: shape + [1, 1] if "attentions" in key and len(shape) == 2 else shape
    original = counted({original_vae(key, levels): linear(key, shape) for key, shape in shapes.items()})
    # The converter is that of other models, whose convolutions around the latents are at the top.
    place = {"encoder.quant_conv": "quant_conv", "decoder.post_quant_conv": "post_quant_conv"}
    moved = {}
    for key, it in original.items():
        layer, kind = key.rsplit(".", 1)
        moved[f"{place.get(layer, layer)}.{kind}"] = it
    converted = convert_ldm_vae_checkpoint(moved, AutoencoderKLFlux2(**VAE).config)
    converted |= {key: it for key, it in original.items() if key.startswith("bn.")}
    write("vae", VAE, original, converted, shapes)


def counted(shapes):
    tensors, start = {}, 0
    for key, shape in shapes.items():
        count = torch.Size(shape).numel()
        tensors[key] = torch.arange(start, start + count, dtype=torch.float64).view(shape)
        start += count
    return tensors


def runs(tensor):
    values = tensor.flatten().to(torch.int64)
    breaks = (values[1:] - values[:-1] != 1).nonzero().flatten() + 1
    edges = [0, *breaks.tolist(), len(values)]
    return [[values[a].item(), b - a] for a, b in zip(edges, edges[1:])]


def write(name, config, original, converted, shapes):
    assert sorted(converted) == sorted(shapes), set(converted) ^ set(shapes)
    for key, shape in shapes.items():
        assert list(converted[key].shape) == shape, key
    rows = {
        "original": {key: [list(it.shape), int(it.flatten()[0])] for key, it in original.items()},
        "diffusers": {key: [shapes[key], runs(it)] for key, it in sorted(converted.items())},
    }
    row = lambda key, it: f"{json.dumps(key)}: {json.dumps(it, separators=(',', ':'))}"
    blocks = {kind: ",\n".join(row(*it) for it in tensors.items()) for kind, tensors in rows.items()}
    lines = ",\n".join(f'"{kind}": {{\n{block}\n}}' for kind, block in blocks.items())
    settings = json.dumps({key: list(it) if isinstance(it, tuple) else it for key, it in config.items()})
    (OUT / f"{name}.json").write_text(f'{{"config": {settings},\n{lines}\n}}\n')
    print(name, len(original), "original tensors,", len(converted), "of diffusers")


# What FLUX.2-klein-4B and -9B are published with: names and shapes, from models on no device.
KLEIN_4B = dict(
    patch_size=1, in_channels=128, num_layers=5, num_single_layers=20, attention_head_dim=128, num_attention_heads=24,
    joint_attention_dim=7680, timestep_guidance_channels=256, mlp_ratio=3.0, axes_dims_rope=(32, 32, 32, 32),
    rope_theta=2000, eps=1e-6, guidance_embeds=False,
)
KLEIN_9B = KLEIN_4B | dict(num_layers=8, num_single_layers=24, num_attention_heads=32, joint_attention_dim=12288)
KLEIN_VAE = dict(
    block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=32, norm_num_groups=32,
)
QWEN3_4B = dict(
    vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, rms_norm_eps=1e-6, tie_word_embeddings=True,
)
QWEN3_8B = QWEN3_4B | dict(hidden_size=4096, intermediate_size=12288, tie_word_embeddings=False)


def record_published():
    with torch.device("meta"):
        models = {
            "transformer": [(it, Flux2Transformer2DModel(**it)) for it in (KLEIN_4B, KLEIN_9B)],
            "vae": [(KLEIN_VAE, AutoencoderKLFlux2(**KLEIN_VAE))],
            "text_encoder": [(it, Qwen3ForCausalLM(Qwen3Config(**it))) for it in (QWEN3_4B, QWEN3_8B)],
        }
    lines = []
    for name, cases in models.items():
        for config, model in cases:
            tensors = {key: list(it.shape) for key, it in model.state_dict().items()}
            lines.append(f"# {name} {len(tensors)} {json.dumps(config)}")
            lines += [f"{key} {shape}" for key, shape in folded(tensors).items()]
            print(name, len(tensors))
    (OUT / "published.txt").write_text("\n".join(lines) + "\n")


def folded(tensors):
    """Keys with `*N` for the numbers of blocks from 0 to N, if all of them have the tensor in one shape."""
    groups = {}
    for key, shape in tensors.items():
        pattern = re.sub(r"(transformer_blocks|layers)\.\d+\.", r"\1.*.", key)
        groups.setdefault((pattern, str(shape)), []).append(key)
    found = {}
    for (pattern, _), keys in groups.items():
        if "*" in pattern:
            assert keys == [pattern.replace("*", str(it)) for it in range(len(keys))], pattern
        found[pattern.replace("*", f"*{len(keys) - 1}")] = tensors[keys[0]]
    return found


if __name__ == "__main__":
    main()
