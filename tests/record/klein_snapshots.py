"""The tiny FLUX.2-klein snapshots of tests/record/klein.py: sizes, random weights, and how they are saved."""

import json
import shutil

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

SNAPSHOTS = {
    "klein": {
        "distilled": True,
        "text": dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            head_dim=16,
        ),
        "taps": (1, 2, 3),
        "tokens": 48,
        "transformer": dict(
            num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=3,
            axes_dims_rope=(4, 4, 4, 4),
            timestep_guidance_channels=32,
        ),
        "vae": dict(
            block_out_channels=(8, 12, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64
        ),
    },
    "klein_base": {
        "distilled": False,
        "text": dict(
            hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
            head_dim=8, rope_theta=5000.0, rms_norm_eps=1e-5,
        ),
        "taps": (0, 2),
        "tokens": 40,
        "transformer": dict(
            num_layers=1, num_single_layers=2, attention_head_dim=20, num_attention_heads=2,
            axes_dims_rope=(2, 8, 6, 4),
            timestep_guidance_channels=16, mlp_ratio=2.5, rope_theta=500, eps=1e-5,
        ),
        "vae": dict(
            block_out_channels=(8, 16), decoder_block_out_channels=(4, 12), layers_per_block=2, latent_channels=2,
            norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False, sample_size=64,
            batch_norm_eps=1e-2,
        ),
    },
}

# What Qwen's tokenizer splits a text by, before merges.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
THINK = ("<think>", "</think>")
# The part of Qwen3's chat template that one message of a user without thinking takes.
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)


def tokenizer():
    """Qwen's kind of tokenizer with a vocabulary of a few hundred."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(corpus(), trainer)
    # As Qwen's, of which some are no special tokens but whole ones all the same.
    backend.add_special_tokens([AddedToken(it, special=True, normalized=False) for it in (END, START, STOP)])
    backend.add_tokens([AddedToken(it, special=False, normalized=False) for it in THINK])
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=END, eos_token=STOP, padding_side="right", model_max_length=131072
    )
    found.chat_template = TEMPLATE
    return found


def corpus():
    verbs = ["change the {} to a {}", "turn the {} into a {}", "replace the {} with a {}", "make the {} {}"]
    nouns = ["red circle", "blue star", "green square", "tree", "house", "wooden chair", "old car", "cat", "sky", "lake"]
    lines = [verb.format(a, b) for verb in verbs for a in nouns for b in nouns if a != b]
    extra = ["user", "assistant", "system", "it's the dog's, they're café été 猫 が крас", "add a hat to the person's head"]
    return lines + extra * 20


def build(sizes):
    """A pipeline of the given sizes with random weights."""
    words = tokenizer()
    text = dict(sizes["text"])
    rope = text.pop("rope_theta", 1_000_000.0)
    config = Qwen3Config(
        vocab_size=len(words), max_position_embeddings=256, tie_word_embeddings=True,
        rope_parameters={"rope_theta": rope, "rope_type": "default"}, bos_token_id=None,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, **text,
    )
    latent = sizes["vae"]["latent_channels"]
    levels = len(sizes["vae"]["block_out_channels"])
    pipe = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15
        ),
        vae=AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
            **sizes["vae"],
        ),
        text_encoder=Qwen3ForCausalLM(config),
        tokenizer=words,
        transformer=Flux2Transformer2DModel(
            in_channels=4 * latent, joint_attention_dim=len(sizes["taps"]) * sizes["text"]["hidden_size"],
            guidance_embeds=False, **sizes["transformer"],
        ),
        is_distilled=sizes["distilled"],
    )
    for model in (pipe.vae, pipe.text_encoder, pipe.transformer):
        model.eval()
        for key, parameter in model.named_parameters():
            randomize(key, parameter.data)
    norm = pipe.vae.bn
    norm.running_mean.copy_((0.3 * torch.randn_like(norm.running_mean)).half().float())
    norm.running_var.copy_((0.2 + 0.8 * torch.rand_like(norm.running_var)).half().float())
    return pipe


def randomize(key, parameter):
    """Weights that make every layer affect the output: no norm is the identity, hidden states stay near unit size, and
    attention is neither flat nor one-hot."""
    noise = torch.randn(parameter.shape)
    if "embed_tokens" in key or "lm_head" in key:
        value = noise
    elif key.endswith("bias"):
        value = 0.2 * noise
    elif parameter.ndim == 1:
        gain = 1.4 if any(name in key for name in ("norm_q", "norm_k", "norm_added", "q_norm", "k_norm")) else 1
        value = gain * (1 + 0.2 * noise)
    else:
        # Gates that let a block's prompt and pictures show.
        gain = 3.2 if "modulation" in key else 1.6 if "timestep_embedder" in key else 0.8
        value = gain * noise / parameter[0].numel() ** 0.5
    parameter.copy_(value.half().float())


def save(pipe, sizes, folder):
    """Writes the snapshot in fp16."""
    shutil.rmtree(folder, ignore_errors=True)
    pipe.to(torch.float16)
    pipe.save_pretrained(folder)
    (folder / "text_encoder" / "generation_config.json").unlink(missing_ok=True)
    rewrite(folder / "model_index.json", lambda it: it | {"tokenizer": ["transformers", "Qwen2TokenizerFast"]})
    rewrite(folder / "tokenizer" / "tokenizer_config.json", lambda it: it | {"tokenizer_class": "Qwen2Tokenizer"})
    if sizes["distilled"]:
        rewrite(folder / "model_index.json", lambda it: it | {"is_distilled": True})
    else:
        # As published, where what is the default is not said, and as transformers wrote configurations before 5.
        rewrite(folder / "model_index.json", lambda it: {key: it[key] for key in it if key != "is_distilled"})
        rewrite(folder / "text_encoder" / "config.json", before_5)
    said = {"text_encoder_out_layers": list(sizes["taps"]), "max_sequence_length": sizes["tokens"]}
    (folder / "retouch.json").write_text(json.dumps(said) + "\n")


def before_5(config):
    theta = config.pop("rope_parameters")["rope_theta"]
    return config | {"rope_theta": theta, "rope_scaling": None, "torch_dtype": config.pop("dtype")}


def rewrite(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2) + "\n")
