"""The Muon optimizer (Jordan et al. 2024): momentum whose update is made orthogonal, for weights that are matrices."""

import torch
from torch import Tensor, nn

# The quintic whose iteration drives singular values toward 1 (Jordan et al.).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
# Root mean square of an update, which makes the rate comparable to Adam's (Liu et al. 2025).
UPDATE_RMS = 0.2


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Returns about the nearest matrix with orthonormal rows or columns.

    Differs: the polynomial is iterated on the Gram matrix of the shorter side, and the matrix itself is multiplied once at the
    end: the same result, at a third of the time for a convolution's wide matrices.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(iterations):
        factor = torch.addmm(a * identity + b * gram, gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay. Convolutions count as (out, in x h x w) matrices."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                momentum = self.state[param].setdefault("momentum", torch.zeros_like(param))
                momentum.lerp_(param.grad, 1 - group["momentum"])
                update = param.grad.lerp(momentum, group["momentum"]).reshape(len(param), -1)
                update = orthogonal(update) * UPDATE_RMS * max(update.shape) ** 0.5
                param.mul_(1 - group["lr"] * group["weight_decay"])
                param.add_(update.view_as(param), alpha=-group["lr"])


def optimizers(named: list[tuple[str, nn.Parameter]], rate: float) -> list[torch.optim.Optimizer]:
    """Splits parameters: inner matrices to Muon; biases, norms, embeddings and the outermost layers to AdamW."""
    outer = ("conv_in.", "conv_out.", "quant_conv.", "token_embedding", "position_embedding")
    inner = [p for name, p in named if p.ndim >= 2 and not any(part in name for part in outer)]
    chosen = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in chosen]
    return [Muon(inner, rate), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)]
