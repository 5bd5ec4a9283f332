"""The Muon optimizer (Jordan et al. 2024): momentum whose update is made orthogonal, for weights that are matrices."""

from collections import defaultdict

import torch
from torch import Tensor, nn

# The quintic whose iteration drives singular values toward 1 (Jordan et al.).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
# Root mean square of an update, which makes the rate comparable to Adam's (Liu et al. 2025).
UPDATE_RMS = 0.2


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Returns for each of (n, rows, columns) about the nearest matrix with orthonormal rows or columns.

    Differs: the polynomial is iterated on the Gram matrix of the shorter side, and the matrix itself is multiplied once at the
    end: the same result, at a third of the time for a convolution's wide matrices.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    product = identity.expand_as(gram)
    for _ in range(iterations):
        factor = torch.baddbmm(a * identity + b * gram, gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay. Convolutions count as (out, in x h x w) matrices."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Matrices of one shape are worked on together: on a GPU, launching kernels for each would take longer than they do."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            grads = [param.grad for param in params]
            for param in params:
                if not self.state[param]:
                    self.state[param]["momentum"] = torch.zeros_like(param)
            momenta = [self.state[param]["momentum"] for param in params]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            updates = torch._foreach_lerp(grads, momenta, group["momentum"])
            alike = defaultdict(list)
            for param, update in zip(params, updates):
                alike[len(param), update[0].numel()].append((param, update))
            for shape, those in alike.items():
                matrices = orthogonal(torch.stack([update.reshape(shape) for _, update in those]))
                matrices = matrices * (-UPDATE_RMS * max(shape) ** 0.5 * group["lr"])
                for (param, _), matrix in zip(those, matrices):
                    param.mul_(1 - group["lr"] * group["weight_decay"]).add_(matrix.view_as(param))


def optimizers(named: list[tuple[str, nn.Parameter]], rate: float, outer: tuple[str, ...]) -> list[torch.optim.Optimizer]:
    """Splits parameters: inner matrices to Muon; biases, norms and those with a part of `outer` in their names to AdamW."""
    inner = [p for name, p in named if p.ndim >= 2 and not any(part in name for part in outer)]
    chosen = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in chosen]
    # On a GPU the rate is a tensor, so that a recorded step sees it change.
    on_gpu = named[0][1].is_cuda
    lr = torch.tensor(rate, device=named[0][1].device) if on_gpu else rate
    return [Muon(inner, lr), torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0, capturable=on_gpu)]


def set_rate(chosen: list[torch.optim.Optimizer], rate: float) -> None:
    """Sets the learning rate of every group."""
    for group in (group for optimizer in chosen for group in optimizer.param_groups):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
