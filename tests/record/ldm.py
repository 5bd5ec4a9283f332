"""Records the mapping between diffusers' tensor keys and Stable Diffusion's original ones (CompVis/latent-diffusion).

The original keys are derived from diffusers' state dicts, and checked by converting them back with diffusers' own
converters. Each row of a fixture is a tensor of the original file: its key, its shape, and its keys and shapes in a
snapshot; several if it is split along its first dimension.

Run from the repository's root: python tests/record/ldm.py
"""

import json
import re
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert diffusers.__version__ == "0.42.1", diffusers.__version__
assert transformers.__version__ == "5.23.0", transformers.__version__

OUT = Path("tests/fixtures/ldm")

SD1_UNET = dict(in_channels=8, sample_size=64, cross_attention_dim=768, attention_head_dim=8, norm_num_groups=32)
VAE = dict(
    sample_size=512,
    block_out_channels=[128, 256, 512, 512],
    down_block_types=["DownEncoderBlock2D"] * 4,
    up_block_types=["UpDecoderBlock2D"] * 4,
    layers_per_block=2,
    scaling_factor=0.18215,
)
CLIP_L = dict(
    vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    max_position_embeddings=77, hidden_act="quick_gelu", eos_token_id=49407,
)
TINY_VAE = dict(
    sample_size=512,
    block_out_channels=[32, 32, 64],
    down_block_types=["DownEncoderBlock2D"] * 3,
    up_block_types=["UpDecoderBlock2D"] * 3,
    layers_per_block=1,
    scaling_factor=0.18215,
)

CASES = {
    # Stable Diffusion 1.5 with InstructPix2Pix's input channels, in full size; shapes alone.
    "sd1": dict(unet=SD1_UNET, vae=VAE, text=CLIP_L, meta=True),
    # Small ones, one of each generation.
    "tiny1": dict(
        unet=SD1_UNET | dict(
            block_out_channels=[32, 64, 64], cross_attention_dim=128, layers_per_block=1,
            down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        ),
        vae=TINY_VAE,
        text=CLIP_L | dict(vocab_size=49408, hidden_size=128, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2),
        meta=False,
    ),
    "tiny2": dict(
        unet=SD1_UNET | dict(
            block_out_channels=[64, 128], cross_attention_dim=64, layers_per_block=2, use_linear_projection=True,
            attention_head_dim=[1, 2],
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        ),
        vae=TINY_VAE | dict(layers_per_block=2),
        text=CLIP_L | dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, hidden_act="gelu"),
        meta=False,
        open_clip=True,
    ),
}


def unet_key(key: str, layers: int) -> str:
    """The original name of a tensor of the U-Net."""
    table = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    }
    name, _, kind = key.rpartition(".")
    if name in table:
        return f"{table[name]}.{kind}"
    if it := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        number = {"resnets": 2 * int(it[2]), "attentions": 1}[it[1]]
        return f"middle_block.{number}.{unet_resnet(it[3]) if it[1] == 'resnets' else it[3]}"
    it = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", key)
    way, level, what, number, rest = it[1], int(it[2]), it[3], int(it[4]), it[5]
    first = level * (layers + 1) + (way == "down")
    if what == "downsamplers":
        return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
    if what == "upsamplers":
        return f"output_blocks.{first + layers}.UP.{rest}"
    side = "input" if way == "down" else "output"
    if what == "resnets":
        return f"{side}_blocks.{first + number}.0.{unet_resnet(rest)}"
    return f"{side}_blocks.{first + number}.1.{rest}"


def unet_resnet(rest: str) -> str:
    for new, old in {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }.items():
        rest = re.sub(rf"^{new}\.", f"{old}.", rest)
    return rest


def vae_key(key: str, levels: int) -> str:
    """The original name of a tensor of the autoencoder."""
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda it: f"up.{levels - 1 - int(it[1])}.block.", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda it: f"up.{levels - 1 - int(it[1])}.upsample.", key)
    key = re.sub(r"mid_block\.resnets\.(\d)\.", lambda it: f"mid.block_{int(it[1]) + 1}.", key)
    for new, old in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        key = key.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    return key


def open_clip_key(key: str) -> str:
    """The original name of a tensor of OpenCLIP, query, key and value having one name."""
    table = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
    }
    if key in table:
        return table[key]
    key = key.replace("final_layer_norm", "ln_final").replace("encoder.layers.", "transformer.resblocks.")
    key = key.replace("layer_norm", "ln_").replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")
    key = re.sub(r"self_attn\.[qkv]_proj\.", "attn.in_proj_", key)
    return key.replace("self_attn.", "attn.")


def record(name: str, unet: dict, vae: dict, text: dict, meta: bool, open_clip: bool = False) -> None:
    torch.manual_seed(7)
    with torch.device("meta" if meta else "cpu"):
        models = {
            "unet": UNet2DConditionModel(**unet), "vae": AutoencoderKL(**vae), "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        }
    states = {part: model.state_dict() for part, model in models.items()}
    layers, levels = models["unet"].config["layers_per_block"], len(vae["block_out_channels"])
    rows, checkpoint = [], {}
    for part, state in states.items():
        groups: dict[str, list[str]] = {}
        for key in state:
            if part == "unet":
                old = "model.diffusion_model." + unet_key(key, layers)
            elif part == "vae":
                old = "first_stage_model." + vae_key(key, levels)
            elif open_clip:
                old = "cond_stage_model.model." + open_clip_key(key)
            else:
                old = "cond_stage_model.transformer.text_model." + key
            groups.setdefault(old, []).append(key)
        for old, keys in groups.items():
            if ".UP." in old:
                # The upsampler comes after the attention, where there is one.
                block = old.partition(".UP.")[0]
                old = old.replace(".UP.", ".2." if any(it.startswith(f"{block}.1.") for it in groups) else ".1.")
            # In the order of the original: query, key, value.
            if len(keys) > 1:
                keys = sorted(keys, key=lambda it: ["q_proj", "k_proj", "v_proj"].index(it.split(".")[-2]))
            tensor = torch.cat([state[key] for key in keys]) if len(keys) > 1 else state[keys[0]]
            if part == "vae" and ".attn_1." in old and tensor.dim() == 2:
                tensor = tensor[:, :, None, None]
            checkpoint[old] = tensor
            rows.append([old, list(tensor.shape), part, [[key, list(state[key].shape)] for key in keys]])
    check(states, checkpoint, models, open_clip, meta)
    configs = {
        "unet": {key: models["unet"].config[key] for key in (
            "in_channels", "out_channels", "sample_size", "block_out_channels", "down_block_types", "up_block_types",
            "layers_per_block", "cross_attention_dim", "attention_head_dim", "use_linear_projection", "norm_num_groups",
        )},
        "vae": {key: models["vae"].config[key] for key in (
            "in_channels", "out_channels", "latent_channels", "sample_size", "block_out_channels", "down_block_types",
            "up_block_types", "layers_per_block", "norm_num_groups", "mid_block_add_attention", "use_quant_conv",
            "use_post_quant_conv", "scaling_factor",
        )},
        "text_encoder": text,
    }
    lines = ",\n".join(json.dumps(it, separators=(",", ":")) for it in rows)
    fixture = f'{{"configs":{json.dumps(configs)},\n"tensors":[\n{lines}\n]}}\n'
    (OUT / f"{name}.json").write_text(fixture)
    print(name, len(rows), "tensors", (OUT / f"{name}.json").stat().st_size, "bytes")


def check(states: dict, checkpoint: dict, models: dict, open_clip: bool, meta: bool) -> None:
    """Converts the checkpoint back by diffusers' own functions."""
    converted = {
        "unet": convert_ldm_unet_checkpoint(dict(checkpoint), models["unet"].config),
        "vae": convert_ldm_vae_checkpoint(dict(checkpoint), models["vae"].config),
    }
    if open_clip:
        text = convert_open_clip_checkpoint(models["text_encoder"], dict(checkpoint))
    else:
        text = convert_ldm_clip_checkpoint(dict(checkpoint))
    converted["text_encoder"] = {key.removeprefix("text_model."): value for key, value in text.items()}
    for part, state in states.items():
        assert converted[part].keys() == state.keys(), (part, converted[part].keys() ^ state.keys())
        for key, tensor in state.items():
            found = converted[part][key]
            assert found.shape == tensor.shape, (part, key)
            assert meta or torch.equal(found, tensor), (part, key)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        record(name, **case)
