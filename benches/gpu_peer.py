"""diffusers' U-Net on a device, to be compared with."""

import argparse
import copy
import tempfile
import time
from pathlib import Path

CASE = ("latents", "pictures", "prompts", "negatives", "timesteps")


def read(args: argparse.Namespace, dtype: str):
    """The U-Net on the device."""
    import torch
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(args.model / "unet", torch_dtype=getattr(torch, dtype)).eval().to(args.device)


class Peer:
    """diffusers' U-Net in one memory format, as it is or compiled in one of `torch.compile`'s modes."""

    def __init__(self, args: argparse.Namespace, unet, dtype: str, layout: str = "contiguous", mode: str | None = None) -> None:
        import torch

        self.torch, self.args = torch, args
        self.kind = getattr(torch, dtype)
        # What is exact must not be rounded to 10 bits in a convolution.
        torch.backends.cudnn.allow_tf32 = False
        self.unet = copy.deepcopy(unet).to(self.kind)
        self.config = self.unet.config
        if layout == "channels last":
            self.unet.to(memory_format=torch.channels_last)
        if mode is not None:
            self.unet = torch.compile(self.unet, mode=mode, fullgraph=True)
        side = args.pixels // 8
        random = lambda *shape: torch.randn(shape, device=args.device, dtype=self.kind)  # noqa: E731
        self.inputs = random(3, self.config.in_channels, side, side), random(3, 77, self.config.cross_attention_dim)
        if layout == "channels last":
            self.inputs = self.inputs[0].to(memory_format=torch.channels_last), self.inputs[1]
        self.timestep = torch.tensor(500.0, device=args.device)

    def wait(self) -> None:
        if self.args.device == "cuda":
            self.torch.cuda.synchronize()

    def steps(self) -> dict:
        """Seconds of a call, of many that are waited for once."""
        sample, prompts = self.inputs
        with self.torch.no_grad():
            self.wait()
            start = time.perf_counter()
            for _ in range(self.args.calls):
                self.unet(sample, self.timestep, encoder_hidden_states=prompts, return_dict=False)
            self.wait()
            return {"seconds": (time.perf_counter() - start) / self.args.calls}

    def operations(self) -> int:
        """Of a call, a product and its sum being two."""
        from torch.utils.flop_counter import FlopCounterMode

        with self.torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.unet(self.inputs[0], self.timestep, encoder_hidden_states=self.inputs[1], return_dict=False)
        return counter.get_total_flops()

    def noise(self, cases: dict):
        """The noise of each case, (cases, 3, 4, h, w) in fp32 on the CPU."""
        torch, found = self.torch, []
        for latents, picture, prompt, negative, timestep in zip(*(cases[it] for it in CASE)):
            sample = torch.cat([latents.repeat(3, 1, 1, 1), torch.cat([picture, picture, torch.zeros_like(picture)])], 1)
            prompts = torch.cat([prompt, negative, negative])
            on_device = [it.to(self.args.device, self.kind) for it in (sample, prompts)]
            with torch.no_grad():
                found.append(self.unet(on_device[0], timestep.to(self.args.device), encoder_hidden_states=on_device[1], return_dict=False)[0])
        return torch.stack(found).float().cpu()


def errors(args: argparse.Namespace, engines: dict, exact: Peer, half: Peer) -> dict:
    """Distance of each one's noise to diffusers' in fp32, relative to the latter, mean over the cases; of engines to the first, too."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    side, width = args.pixels // 8, exact.config.cross_attention_dim
    shapes = (4, side, side), (4, side, side), (77, width), (77, width)
    cases = {name: torch.randn(6, 1, *shape) for name, shape in zip(CASE, shapes)}
    cases["timesteps"] = torch.tensor([981.0, 981.0, 741.0, 501.0, 261.0, 21.0])
    noise = {"diffusers": half.noise(cases)}
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "cases.safetensors"
        save_file(cases, given)
        for index, (name, engine) in enumerate(engines.items()):
            # What is loaded is the file itself, mapped.
            output = Path(folder) / f"noise-{index}.safetensors"
            engine.ask("noise", input=str(given), output=str(output))
            noise[name] = load_file(output)["noise"]
    reference = exact.noise(cases)
    found = {name: distance(it, reference) for name, it in noise.items()}
    first, *others = engines
    return found | {f"{first}, to {it}": distance(noise[first], noise[it]) for it in others}


def distance(noise, reference) -> float:
    noise, reference = noise.flatten(1), reference.flatten(1)
    return ((noise - reference).norm(dim=1) / reference.norm(dim=1)).mean().item()


def matmul_peak(args: argparse.Namespace) -> float:
    """The device's own rate of large fp16 products, in operations a second: the best of ten."""
    import torch

    side = 8192 if args.device == "cuda" else 256
    one, other = (torch.randn(side, side, device=args.device, dtype=torch.float16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        for _ in range(10):
            one @ other
        wait()
        best = min(best, (time.perf_counter() - start) / 10)
    return 2 * side**3 / best
