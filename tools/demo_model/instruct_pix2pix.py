"""A tiny InstructPix2Pix: a U-Net over the noisy latent and the picture's, and CLIP's kind of text encoder."""

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTokenizer

import grounding
import tokenizer as bpe
from architecture import Architecture, change_weight, with_known_words
from models import Preset, new_scheduler, new_text_encoder, new_unet
from pairs import Pair

# Share of samples without text, without picture, and without both, each (InstructPix2Pix §3.2.1).
DROPOUT = 0.05
# Share of samples whose timestep is drawn from the noisier half, where places and shapes are settled.
NOISY = 0.25
# Pairs that the judge edits at a time.
BATCH = 20


class InstructPix2Pix(Architecture):
    """The U-Net and the text encoder. The loss is the squared error of v; text, picture and both are dropped."""

    pipeline_class = StableDiffusionInstructPix2PixPipeline
    guided_by_the_picture = True
    outer = ("conv_in.", "conv_out.", "quant_conv.", "token_embedding", "position_embedding")

    def __init__(self, preset: Preset, tokenizer: CLIPTokenizer, bf16: bool = False):
        super().__init__(preset, tokenizer, bf16)
        self.unet = new_unet(preset)
        self.text = new_text_encoder(preset, tokenizer)
        self.modules = {"unet": self.unet, "text": self.text}

    @staticmethod
    def open_tokenizer(folder: Path, words: tuple[str, ...]) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(folder) if folder.exists() else bpe.build(folder, words)

    @staticmethod
    def open_vae(folder: Path, preset: Preset) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)

    def start_from(self, snapshot: Path) -> None:
        self.unet.load_state_dict(load_file(snapshot / "unet" / "diffusion_pytorch_model.safetensors"))
        weights = load_file(snapshot / "text_encoder" / "model.safetensors")
        weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
        old = CLIPTokenizer.from_pretrained(snapshot / "tokenizer").get_vocab()
        embedding = "embeddings.token_embedding.weight"
        table = self.text.get_input_embeddings().weight
        weights[embedding] = with_known_words(table, weights[embedding], self.tokenizer.get_vocab(), old)
        own_prefix = "text_model." if next(iter(self.text.state_dict())).startswith("text_model.") else ""
        self.text.load_state_dict({own_prefix + name: value for name, value in weights.items()})

    def to(self, device: str) -> None:
        self.unet.to(device, memory_format=self.layout)
        self.text.to(device)
        self.maps = grounding.watch(self.unet)
        self.alphas = new_scheduler().alphas_cumprod.to(device)
        self.empty = torch.tensor(self.tokenizer("", padding="max_length")["input_ids"], device=device)

    def read(self, text: str, span: tuple[int, int]) -> tuple[Tensor, Tensor]:
        encoded = self.tokenizer(text, padding="max_length", truncation=True, return_offsets_mapping=True)
        inside = [float(start >= span[0] and end <= span[1] and end > start) for start, end in encoded["offset_mapping"]]
        return torch.tensor(encoded["input_ids"]), torch.tensor(inside)

    def encode(self, vae: AutoencoderKL, pictures: Tensor) -> Tensor:
        return vae.encode(pictures.contiguous(memory_format=self.layout)).latent_dist.mode().float()

    def timesteps(self, count: int, device: torch.device) -> Tensor:
        uniform = torch.randint(0, 1000, (count,), device=device)
        noisy = torch.randint(500, 1000, (count,), device=device)
        return torch.where(torch.rand(count, device=device) < NOISY, noisy, uniform)

    def losses(self, batch: dict[str, Tensor], inside: float) -> tuple[Tensor, Tensor, Tensor]:
        count, device = len(batch["ids"]), batch["ids"].device
        # 1. weigh what changes
        source, target = batch["source"], batch["target"]
        weight = change_weight(source, target, inside)
        # 2. drop conditions
        draw = torch.rand(count, device=device)
        no_text = (draw < 2 * DROPOUT)[:, None]
        no_picture = (draw >= DROPOUT) & (draw < 3 * DROPOUT)
        ids = torch.where(no_text, self.empty, batch["ids"])
        picture = source * (~no_picture).float()[:, None, None, None]
        # 3. add noise
        steps = self.timesteps(count, device)
        alpha = self.alphas[steps].view(-1, 1, 1, 1)
        noise = torch.randn_like(target)
        noisy = alpha.sqrt() * target + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * target
        # 4. predict
        hidden = self.text(input_ids=ids).last_hidden_state
        inputs = torch.cat([noisy, picture], 1).contiguous(memory_format=self.layout)
        predicted = self.unet(inputs, steps, encoder_hidden_states=hidden).sample.float()
        # 5. weigh
        error = ((predicted - velocity).square() * weight).mean()
        counted = (draw >= 3 * DROPOUT).float()
        ground, share = grounding.loss(self.maps, batch["mask"].float(), batch["tokens"], counted)
        self.maps.clear()
        return error, ground, share

    def pipeline(self, vae: AutoencoderKL) -> StableDiffusionInstructPix2PixPipeline:
        return StableDiffusionInstructPix2PixPipeline(
            vae=vae,
            text_encoder=self.text.eval(),
            tokenizer=self.tokenizer,
            unet=self.unet.eval(),
            scheduler=new_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    @staticmethod
    def export(pipe: StableDiffusionInstructPix2PixPipeline, run: Path, folder: Path) -> None:
        """Writes the tokenizer in its second form, too."""
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(run / "tokenizer" / name, folder / "tokenizer" / name)

    @staticmethod
    def edit(pipe, pairs: list[Pair], steps: int, text: float, image: float) -> np.ndarray:
        pictures = []
        for start in range(0, len(pairs), BATCH):
            some = pairs[start : start + BATCH]
            made = pipe(
                prompt=[pair.edit.instruction for pair in some],
                image=[Image.fromarray(pair.source) for pair in some],
                num_inference_steps=steps,
                guidance_scale=text,
                image_guidance_scale=image,
                generator=[torch.Generator().manual_seed(pair.seed) for pair in some],
                output_type="np",
            ).images
            pictures.append(made)
            print(f"edited {start + len(some)} of {len(pairs)}", flush=True)
        return np.concatenate(pictures)
