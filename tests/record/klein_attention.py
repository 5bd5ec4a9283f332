"""What tests/record/klein.py makes of attention in diffusers' FLUX.2 transformer while it records."""

import contextlib
import itertools

from diffusers.models.transformers import transformer_flux2


@contextlib.contextmanager
def clean_keys(to, of):
    """Attention to the tokens `of` in the place of `to`: to their keys, turned to where `to` are, and their values."""
    turn, attend = transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn
    are_keys = itertools.cycle([False, True])

    def replaced(it):
        it = it.clone()
        it[:, to] = it[:, of]
        return it

    def turned(it, *args, **kwargs):
        return turn(replaced(it) if next(are_keys) else it, *args, **kwargs)

    def attended(query, key, value, **kwargs):
        return attend(query, key, replaced(value), **kwargs)

    transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn = turned, attended
    yield
    transformer_flux2.apply_rotary_emb, transformer_flux2.dispatch_attention_fn = turn, attend


@contextlib.contextmanager
def gated(transformer, calls, queries, keys):
    """Attention without what comes of some keys for some queries, in every call that has an even number."""
    attend, forward = transformer_flux2.dispatch_attention_fn, transformer.forward
    number = [0]

    def called(*args, **kwargs):
        number[0] = next(calls)
        return forward(*args, **kwargs)

    def attended(query, key, value, **kwargs):
        output = attend(query, key, value, **kwargs)
        if number[0] % 2 == 0:
            q, k, v = (it.transpose(1, 2).double() for it in (query, key, value))
            probs = (q[:, :, queries] @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            held = probs[..., keys] @ v[:, :, keys]
            output = output.clone()
            output[:, queries] -= held.transpose(1, 2).float()
        return output

    transformer_flux2.dispatch_attention_fn, transformer.forward = attended, called
    yield
    transformer_flux2.dispatch_attention_fn, transformer.forward = attend, forward
