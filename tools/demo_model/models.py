"""The presets, and the networks of an InstructPix2Pix, of diffusers' and transformers' own classes, in the shapes of one."""

from dataclasses import dataclass

from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tokenizer import LENGTH

LATENT_CHANNELS = 4


@dataclass(frozen=True)
class UNetShape:
    """An InstructPix2Pix: a U-Net, each of whose levels halves the side before, and a text encoder of CLIP's kind."""

    channels: tuple[int, ...]
    heads: tuple[int, ...]
    attends: tuple[bool, ...]
    text_width: int = 128
    text_layers: int = 2


@dataclass(frozen=True)
class KleinShape:
    """A FLUX.2-klein: a transformer over prompt, latents and picture as one sequence, and a text encoder of Qwen3's kind."""

    heads: int
    axes: tuple[int, int, int, int]
    """Channels of a head that each of a token's four coordinates turns; a head has their sum."""
    double_blocks: int
    single_blocks: int
    text_width: int
    text_heads: int
    """Heads of the queries; keys and values have half as many."""
    text_layers: int
    """Layers of the text encoder, after each of which the prompt's hidden states are read."""


@dataclass(frozen=True)
class Preset:
    """A world, the side of its pictures, and the networks' shapes."""

    world: str
    """Key of `worlds.WORLDS`."""
    pixels: int
    vae_channels: tuple[int, ...]
    networks: UNetShape | KleinShape

    @property
    def latent(self) -> int:
        """The latent's side in cells."""
        return self.pixels // 2 ** (len(self.vae_channels) - 1)


PRESETS = {
    # The shipped model: attention at 16x16 and 8x8.
    "shapes": Preset("shapes", 64, (16, 32), UNetShape((32, 64, 96), (1, 2, 2), (False, True, True))),
    # Attention at 32x32, 16x16 and 8x8; a wider autoencoder, since artwork over photographs has more to keep. For a GPU.
    "emoji": Preset("emoji", 128, (24, 48, 80), UNetShape((80, 128, 176), (2, 4, 4), (True, True, True))),
    # 16x16 cells of 4x4 pixels, 5.9 M parameters with its autoencoder, which is the shipped model's. For a GPU.
    "klein": Preset("shapes", 64, (16, 32), KleinShape(6, (4, 12, 12, 4), 2, 5, 128, 4, 3)),
    # The same in small, for tests on a CPU: 8x8 cells of 8x8 pixels.
    "klein-small": Preset("shapes", 64, (8, 16, 32), KleinShape(2, (4, 12, 12, 4), 1, 2, 48, 2, 2)),
}


def new_vae(preset: Preset) -> AutoencoderKL:
    """Returns an untrained autoencoder; its latents are brought to unit variance after training."""
    levels = len(preset.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=preset.vae_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=preset.pixels,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def new_unet(preset: Preset) -> UNet2DConditionModel:
    """Returns an untrained U-Net over the noisy latent and the picture's latent."""
    shape = preset.networks
    return UNet2DConditionModel(
        sample_size=preset.latent,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=shape.channels,
        layers_per_block=1,
        down_block_types=tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in shape.attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in shape.attends[::-1]),
        attention_head_dim=shape.heads,  # diffusers' old name for the number of heads
        cross_attention_dim=shape.text_width,
        norm_num_groups=16,
    )


def new_text_encoder(preset: Preset, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Returns an untrained text encoder for the tokenizer's vocabulary."""
    shape = preset.networks
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.text_width,
            intermediate_size=4 * shape.text_width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=shape.text_width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            hidden_act="quick_gelu",
        )
    )


def new_scheduler() -> EulerAncestralDiscreteScheduler:
    """Returns the scheduler of InstructPix2Pix with Stable Diffusion's noise levels, for a model that predicts v."""
    return EulerAncestralDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="linspace",
        steps_offset=1,
    )
