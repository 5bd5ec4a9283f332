"""The networks, all of diffusers' and transformers' own classes, and an autoencoder rewritten as FLUX.2's."""

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from klein.packing import patched
from klein.tokenizer import LENGTH
from models import LATENT_CHANNELS, Preset

# Of the sinusoids of coordinates, which are 15 at most; FLUX.2's 2000 is for pictures of 1024 pixels.
ROPE_THETA = 100


def new_transformer(preset: Preset) -> Flux2Transformer2DModel:
    """Returns an untrained transformer whose blocks and whose output begin at nothing (Peebles and Xie 2023, adaLN-Zero)."""
    shape = preset.networks
    transformer = Flux2Transformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=shape.double_blocks,
        num_single_layers=shape.single_blocks,
        attention_head_dim=sum(shape.axes),
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.text_layers * shape.text_width,
        axes_dims_rope=shape.axes,
        rope_theta=ROPE_THETA,
        guidance_embeds=False,
    )
    begin_at_nothing = [
        transformer.double_stream_modulation_img.linear,
        transformer.double_stream_modulation_txt.linear,
        transformer.single_stream_modulation.linear,
        transformer.norm_out.linear,
        transformer.proj_out,
    ]
    for linear in begin_at_nothing:
        nn.init.zeros_(linear.weight)
    return transformer


def new_text_encoder(preset: Preset, tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    """Returns an untrained text encoder for the tokenizer's vocabulary.

    One layer follows the last that is read, since transformers norms the states after its last; it is never trained.
    """
    shape = preset.networks
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=shape.text_width,
            intermediate_size=2 * shape.text_width,
            num_hidden_layers=shape.text_layers + 1,
            num_attention_heads=shape.text_heads,
            num_key_value_heads=shape.text_heads // 2,
            head_dim=shape.text_width // shape.text_heads,
            max_position_embeddings=LENGTH,
            rope_parameters={"rope_theta": float(ROPE_THETA), "rope_type": "default"},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def taps(text: Qwen3ForCausalLM) -> list[int]:
    """Returns after which layers of a text encoder the prompt's hidden states are read: all but the last."""
    return list(range(1, text.config.num_hidden_layers))


def new_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Returns FLUX.2's scheduler."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)


@torch.no_grad()
def as_flux2(vae: AutoencoderKL, pictures: Tensor) -> AutoencoderKLFlux2:
    """Returns the same autoencoder as FLUX.2's class. The statistics of its batch norm are those of `pictures` (B, 3, h, w).

    The two classes name their weights alike; FLUX.2's has the batch norm of packed latents besides.
    """
    kept = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "latent_channels")
    kept += ("norm_num_groups", "sample_size", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention")
    flux2 = AutoencoderKLFlux2(**{key: vae.config[key] for key in kept})
    missing, unexpected = flux2.load_state_dict(vae.state_dict(), strict=False)
    if unexpected or any(not name.startswith("bn.") for name in missing):
        raise ValueError(f"an autoencoder of another shape: without {missing}, with {unexpected}")
    latents = patched(vae.encode(pictures).latent_dist.mode())
    flux2.bn.running_mean.copy_(latents.mean((0, 2, 3)))
    flux2.bn.running_var.copy_(latents.var((0, 2, 3)))
    return flux2.eval()
