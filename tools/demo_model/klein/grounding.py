"""Joint attention that keeps how the latents' cells attend to the prompt, for the grounding loss of `grounding.py`.

What is kept is normalized over the prompt's tokens, as retouch's maps of such a model are. So it needs no more than queries and
keys of that part, and the attention itself stays one fused call.
"""

from dataclasses import dataclass, field

import torch
from diffusers import Flux2Transformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Watch:
    """What the processors share: where the cells are in the sequence, and the maps that they keep."""

    tokens: int
    """Tokens of the prompt, which the sequence begins with."""
    cells: int
    """Cells of the latents, which follow."""
    maps: list[Tensor] = field(default_factory=list)
    """From the cells to the prompt, (B, H, cells, tokens), one of each block."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Returns what attention gives to each token of the sequence, (B, N, H D), from (B, N, H, D) each."""
        query, key, value = (it.transpose(1, 2) for it in (query, key, value))  # (B, H, N, D)
        if torch.is_grad_enabled():
            cells = query[:, :, self.tokens : self.tokens + self.cells]
            logits = (cells * query.shape[-1] ** -0.5) @ key[:, :, : self.tokens].mT
            self.maps.append(logits.softmax(-1, dtype=torch.float32))
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class DoubleProcessor:
    """The attention of a block with weights of their own for prompt and pictures."""

    def __init__(self, watch: Watch):
        self.watch = watch

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, image_rotary_emb=None):
        split = lambda x: x.unflatten(-1, (-1, attn.head_dim))
        pictures, prompt = hidden_states, encoder_hidden_states
        query = torch.cat([attn.norm_added_q(split(attn.add_q_proj(prompt))), attn.norm_q(split(attn.to_q(pictures)))], 1)
        key = torch.cat([attn.norm_added_k(split(attn.add_k_proj(prompt))), attn.norm_k(split(attn.to_k(pictures)))], 1)
        value = torch.cat([split(attn.add_v_proj(prompt)), split(attn.to_v(pictures))], 1)
        query, key = (apply_rotary_emb(it, image_rotary_emb, sequence_dim=1) for it in (query, key))
        prompt, pictures = self.watch.attend(query, key, value).tensor_split([prompt.shape[1]], 1)
        return attn.to_out[0](pictures), attn.to_add_out(prompt)


class SingleProcessor:
    """The attention of a block with the same weights for both, and its feed-forward network beside it."""

    def __init__(self, watch: Watch):
        self.watch = watch

    def __call__(self, attn, hidden_states, attention_mask=None, image_rotary_emb=None):
        attended, inner = attn.to_qkv_mlp_proj(hidden_states).tensor_split([3 * attn.inner_dim], -1)
        query, key, value = (it.unflatten(-1, (-1, attn.head_dim)) for it in attended.chunk(3, -1))
        query, key = attn.norm_q(query), attn.norm_k(key)
        query, key = (apply_rotary_emb(it, image_rotary_emb, sequence_dim=1) for it in (query, key))
        return attn.to_out(torch.cat([self.watch.attend(query, key, value), attn.mlp_act_fn(inner)], -1))


def watch(transformer: Flux2Transformer2DModel, tokens: int, cells: int) -> list[Tensor]:
    """Installs the processors; each forward pass that learns appends its maps to the returned list."""
    shared = Watch(tokens, cells)
    for block in transformer.transformer_blocks:
        block.attn.set_processor(DoubleProcessor(shared))
    for block in transformer.single_transformer_blocks:
        block.attn.set_processor(SingleProcessor(shared))
    return shared.maps
