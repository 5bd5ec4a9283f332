"""The grounding loss: attention to the words of an object is taught to lie on the object (TokenCompose, Wang et al. 2023)."""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

# Maps coarser than this are left alone.
LEAST_SIDE = 16
# A cell counts fully as the object's from 1 / this share of its area on.
CELL_GAIN = 2.5


class ExplicitAttention:
    """An attention processor that computes its probabilities openly and, for cross-attention, keeps them.

    On a CPU this is also faster than the fused call for heads as small as these.
    """

    def __init__(self, kept: list[Tensor] | None):
        self.kept = kept

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch, queries, _ = hidden_states.shape
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (B, H, tokens, D)
        query, key, value = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        probs = scores.softmax(-1, dtype=torch.float32)  # (B, H, Q, K)
        if self.kept is not None and encoder_hidden_states is not None and queries >= LEAST_SIDE**2:
            self.kept.append(probs)
        return attn.to_out[0]((probs.to(value.dtype) @ value).transpose(1, 2).reshape(batch, queries, -1))


def watch(unet: UNet2DConditionModel) -> list[Tensor]:
    """Installs the processors; each forward pass appends its cross-attention maps to the returned list."""
    kept: list[Tensor] = []
    unet.set_attn_processor({name: ExplicitAttention(kept) for name in unet.attn_processors})
    return kept


def loss(maps: list[Tensor], object_masks: Tensor, tokens: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (loss, mean share of the phrase's attention inside the object), scalars.

    `maps` are (B, H, Q, K) over square grids, `object_masks` (B, 1, h, w) in 0..1, `tokens` (B, K) marks the object's
    phrase, `counted` (B,) is 0 for samples to leave out. The loss of a sample is (1 - share)^2, averaged over the layers.
    """
    losses, shares = [], []
    total = counted.sum() + 1e-6
    for probs in maps:
        side = round(probs.shape[2] ** 0.5)
        cells = (F.adaptive_avg_pool2d(object_masks, side).flatten(1) * CELL_GAIN).clamp(max=1)  # (B, Q)
        attention = (probs.mean(1) * tokens[:, None, :]).sum(-1)  # (B, Q)
        share = (attention * cells).sum(1) / (attention.sum(1) + 1e-8)
        losses.append(((1 - share).square() * counted).sum() / total)
        shares.append((share.detach() * counted).sum() / total)
    return torch.stack(losses).mean(), torch.stack(shares).mean()
