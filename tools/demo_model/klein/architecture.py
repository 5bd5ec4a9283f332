"""The tiny klein in training: rectified flow over prompt, latents and the picture that is edited, as one sequence."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, Flux2KleinPipeline
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2TokenizerFast

import grounding
import klein.grounding
from architecture import Architecture, change_weight, with_known_words
from klein import packing, settings
from klein import tokenizer as bpe
from klein.models import as_flux2, new_scheduler, new_text_encoder, new_transformer, taps
from models import Preset
from pairs import Pair
from train_vae import MEASURED, Sources, scaled

# Share of samples without text, from which the base model has its guidance.
DROPOUT = 0.1
# Noise levels are drawn evenly, then shifted by this toward noise: half are above 0.75. The sampler's are shifted further, half
# of 20 steps are above 0.87, which leaves few for the shapes of small things.
SHIFT = 3.0


class Klein(Architecture):
    """The transformer and the text encoder, which learn together: no language model is at hand that could stay as it is.

    It is trained as the base model is, with text dropped, and edits in some 20 steps of two predictions. To edit in four
    steps without guidance, as the distilled one does, a teacher would have to be there first.
    """

    pipeline_class = Flux2KleinPipeline
    guided_by_the_picture = False
    outer = ("transformer.x_embedder", "transformer.proj_out", "embed_tokens")

    def __init__(self, preset: Preset, tokenizer: Qwen2TokenizerFast, bf16: bool = False):
        super().__init__(preset, tokenizer, bf16)
        self.transformer = new_transformer(preset)
        self.text = new_text_encoder(preset, tokenizer)
        self.modules = {"transformer": self.transformer, "text": self.text}

    @staticmethod
    def open_tokenizer(folder: Path, words: tuple[str, ...]) -> Qwen2TokenizerFast:
        return Qwen2TokenizerFast.from_pretrained(folder) if folder.exists() else bpe.build(folder, words)

    @staticmethod
    def open_vae(folder: Path, preset: Preset) -> AutoencoderKLFlux2:
        """Loads it; one of Stable Diffusion's class is rewritten there as FLUX.2's."""
        name = AutoencoderKL.load_config(folder)["_class_name"]
        kind = AutoencoderKL if name == AutoencoderKL.__name__ else AutoencoderKLFlux2
        vae = kind.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)
        if kind is AutoencoderKL:
            sources = Sources(preset, MEASURED)
            vae = as_flux2(vae, scaled(torch.stack([sources[index] for index in range(MEASURED)]), "cpu"))
            vae.save_pretrained(folder)
        return vae

    def start_from(self, snapshot: Path) -> None:
        self.transformer.load_state_dict(load_file(snapshot / "transformer" / "diffusion_pytorch_model.safetensors"))
        weights = load_file(snapshot / "text_encoder" / "model.safetensors")
        old = Qwen2TokenizerFast.from_pretrained(snapshot / "tokenizer").get_vocab()
        embedding = "model.embed_tokens.weight"
        table = self.text.get_input_embeddings().weight
        weights[embedding] = with_known_words(table, weights[embedding], self.tokenizer.get_vocab(), old)
        self.text.load_state_dict({**self.text.state_dict(), **weights, "lm_head.weight": weights[embedding]})

    def to(self, device: str) -> None:
        self.transformer.to(device)
        self.text.to(device)
        side = self.preset.latent // 2
        self.maps = klein.grounding.watch(self.transformer, bpe.LENGTH, side * side)
        self.empty = self.read("", (0, 0))[0].to(device)
        self.text_ids = packing.text_ids(bpe.LENGTH, device)
        times = (0, packing.REFERENCE_TIME)
        self.cell_ids = torch.cat([packing.cell_ids(side, side, time, device) for time in times])
        self.causal = torch.ones(bpe.LENGTH, bpe.LENGTH, dtype=torch.bool, device=device).tril()

    def read(self, text: str, span: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return bpe.token_mask(self.tokenizer, text, span)

    def encode(self, vae: AutoencoderKLFlux2, pictures: Tensor) -> Tensor:
        latents = vae.encode(pictures.contiguous(memory_format=self.layout)).latent_dist.mode().float()
        return packing.normalized(vae, packing.patched(latents))

    def hidden(self, ids: Tensor) -> Tensor:
        """Returns what the transformer reads of prompts (B, T): the states of its layers, side by side.

        The padding is read as well, as in diffusers; only to the text encoder it is no key. The mask is made here, since
        transformers looks at one that it makes, for which a GPU would be waited for.
        """
        mask = self.causal & (ids != self.tokenizer.pad_token_id)[:, None, None]  # (B, 1, T, T)
        states = self.text.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
        return torch.cat([states[tap] for tap in taps(self.text)], -1)

    def predict(self, cells: Tensor, picture: Tensor, level: Tensor, hidden: Tensor) -> Tensor:
        """Returns the velocity of noisy cells (B, C, h, w) at their levels (B,) in 0..1, given the picture's cells."""
        tokens = torch.cat([packing.packed(cells), packing.packed(picture)], 1)
        made = self.transformer(tokens, hidden, level, self.cell_ids, self.text_ids).sample.float()
        height, width = cells.shape[2:]
        return packing.unpacked(made[:, : height * width], height)

    def losses(self, batch: dict[str, Tensor], inside: float) -> tuple[Tensor, Tensor, Tensor]:
        source, target = batch["source"], batch["target"]
        count, device = len(target), target.device
        # 1. drop the text
        has_text = torch.rand(count, device=device) >= DROPOUT
        ids = torch.where(has_text[:, None], batch["ids"], self.empty)
        # 2. go from the target toward noise
        drawn = torch.rand(count, device=device)
        level = SHIFT * drawn / (1 + (SHIFT - 1) * drawn)
        noise = torch.randn_like(target)
        noisy = torch.lerp(target, noise, level.view(-1, 1, 1, 1))
        # 3. predict the way from the one to the other
        predicted = self.predict(noisy, source, level, self.hidden(ids))
        error = ((predicted - (noise - target)).square() * change_weight(source, target, inside)).mean()
        ground, share = grounding.loss(self.maps, batch["mask"].float(), batch["tokens"], has_text.float())
        self.maps.clear()
        return error, ground, share

    def pipeline(self, vae: AutoencoderKLFlux2) -> Flux2KleinPipeline:
        return Flux2KleinPipeline(
            scheduler=new_scheduler(),
            vae=vae,
            text_encoder=self.text.eval(),
            tokenizer=self.tokenizer,
            transformer=self.transformer.eval(),
            is_distilled=False,
        )

    @staticmethod
    def export(pipe: Flux2KleinPipeline, run: Path, folder: Path) -> None:
        """Writes `retouch.json`."""
        settings.write(folder, taps(pipe.text_encoder))

    @staticmethod
    def edit(pipe: Flux2KleinPipeline, pairs: list[Pair], steps: int, text: float, image: float) -> np.ndarray:
        """Edits one pair after the other: of several pictures in a call, the pipeline shows all to each prompt."""
        pictures = []
        for pair in pairs:
            made = pipe(
                prompt=pair.edit.instruction,
                image=Image.fromarray(pair.source),
                num_inference_steps=steps,
                guidance_scale=text,
                generator=torch.Generator().manual_seed(pair.seed),
                output_type="np",
                max_sequence_length=bpe.LENGTH,
                text_encoder_out_layers=taps(pipe.text_encoder),
            ).images
            pictures.append(made)
            if len(pictures) % 20 == 0:
                print(f"edited {len(pictures)} of {len(pairs)}", flush=True)
        return np.concatenate(pictures)
