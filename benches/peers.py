"""Python's engines for the same network, each a process that `benches/compare.py` asks line by line.

    python benches/peers.py diffusers|compile|openvino MODEL fp32|bf16

The lines are those of `benches/engine`: a request names what is to be run, the answer has the seconds that it took.
"""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Diffusers:
    """Its default path on a CPU: eager, with fused attention."""

    def __init__(self, model: Path, dtype: str) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel

        self.kind = KINDS[dtype]
        self.unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=self.kind).eval()
        self.vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=self.kind).eval()
        self.config = self.unet.config

    def noise(self, sample: torch.Tensor, timestep: float, prompts: torch.Tensor) -> torch.Tensor:
        return self.unet(sample, timestep, encoder_hidden_states=prompts, return_dict=False)[0]

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape).to(self.kind)

    def step(self, pixels: int, guest: str) -> dict:
        if guest != "none":
            raise ValueError(f"no guest {guest} in this engine")
        side = pixels // 8
        sample, prompts = self.random(3, self.config.in_channels, side, side), self.random(3, 77, self.config.cross_attention_dim)
        return timed(lambda: self.noise(sample, 500.0, prompts))

    def forward(self, input: str, output: str) -> dict:
        cases = load_file(input)
        samples, prompts = cases["sample"].to(self.kind), cases["prompts"].to(self.kind)
        noise = [self.noise(*case) for case in zip(samples, cases["timesteps"].tolist(), prompts)]
        save_file({"noise": torch.stack([it.float() for it in noise])}, output)
        return {}

    def encode(self, pixels: int) -> dict:
        image = self.random(1, 3, pixels, pixels)
        return timed(lambda: self.vae.encode(image).latent_dist.mode())

    def decode(self, pixels: int) -> dict:
        latents = self.random(1, 4, pixels // 8, pixels // 8)
        return timed(lambda: self.vae.decode(latents, return_dict=False)[0])


class Compiled(Diffusers):
    """`torch.compile` with weights frozen into the graph: packed for oneDNN, operators fused."""

    def __init__(self, model: Path, dtype: str) -> None:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        super().__init__(model, dtype)
        self.compiled = torch.compile(self.unet)

    def noise(self, sample: torch.Tensor, timestep: float, prompts: torch.Tensor) -> torch.Tensor:
        timestep = torch.tensor(timestep)
        return self.compiled(sample, timestep, encoder_hidden_states=prompts, return_dict=False)[0]


class OpenVino(Diffusers):
    """The U-Net compiled by OpenVINO, converted from torch in fp32 and run in `dtype`."""

    def __init__(self, model: Path, dtype: str) -> None:
        import openvino

        super().__init__(model, "fp32")
        example = {
            "sample": torch.randn(3, self.config.in_channels, 32, 32),
            "timestep": torch.tensor(500.0),
            "encoder_hidden_states": torch.randn(3, 77, self.config.cross_attention_dim),
        }
        self.network = openvino.convert_model(self.unet, example_input=example)
        self.unet = self.vae = None
        self.options = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        self.by_shape: dict[tuple, object] = {}

    def noise(self, sample: torch.Tensor, timestep: float, prompts: torch.Tensor) -> torch.Tensor:
        import openvino

        shape = tuple(sample.shape)
        if shape not in self.by_shape:
            network = self.network.clone()
            names = [it.get_any_name() for it in network.inputs]
            network.reshape(dict(zip(names, ([*shape], [], [*prompts.shape]))))
            self.by_shape = {shape: openvino.Core().compile_model(network, "CPU", self.options)}
        compiled = self.by_shape[shape]
        return torch.from_numpy(compiled([sample.numpy(), torch.tensor(timestep).numpy(), prompts.numpy()])[0].copy())


PEERS = {"diffusers": Diffusers, "compile": Compiled, "openvino": OpenVino}


def timed(run) -> dict:
    start = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - start}


def memory() -> dict:
    """Resident memory now and at its highest, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {"now": int(status["VmRSS"].split()[0]) / 1024, "highest": int(status["VmHWM"].split()[0]) / 1024}


@torch.no_grad()
def main() -> None:
    name, model, dtype = sys.argv[1:]
    start = time.perf_counter()
    peer = PEERS[name](Path(model), dtype)
    print(json.dumps({"load": time.perf_counter() - start, "memory": memory()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request.pop("run"))(**request)
        print(json.dumps({**answer, "memory": memory()}), flush=True)


if __name__ == "__main__":
    main()
