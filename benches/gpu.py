"""Checks retouch on a GPU against diffusers for the same random weights, in one run.

    python benches/gpu.py pack FOLDER      # where retouch is built: no GPU, no CUDA
    python FOLDER/benches/gpu.py run       # where the GPU is: PyTorch 2.11 with CUDA, no compiler, no network

`pack` builds the command, the engine and the recorder of CUDA graphs, and lays them into FOLDER with these scripts and with
diffusers' wheels. `run` writes `gpu.json` and prints a table: times, ratios, and which of the aims are met.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("gpu.py", "engines.py", "random_model.py")
PACKAGES = ("diffusers", "transformers", "numpy", "pillow")
PLATFORMS = [f"manylinux{it}_x86_64" for it in ("_2_28", "_2_27", "_2_17", "2014", "_2_5", "1")]
CALLS = 20
"""U-Net calls between two waits for the device."""
AIMS = {
    "step / diffusers, eager": 0.6,
    "step / diffusers, compiled": 1.15,
    "localizing step / plain step": 1.05,
    "service with 4 watchers / bare engine": 1.02,
}
"""The most that each ratio may be."""
EDIT_STEPS, WATCHERS = 100, 4


def pack(folder: Path, python: str) -> None:
    """Builds everything and lays it into a folder; target/ keeps what was built."""
    (folder / "bin").mkdir(parents=True)
    libtorch = subprocess.run([sys.executable, ROOT / ".ci" / "libtorch.py"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    environment = {**os.environ, "LIBTORCH": libtorch}
    cargo = ["cargo", "build", "--release", "--locked", "--bin", "retouch", "--bench", "gpu_engine", "--message-format=json"]
    built = subprocess.run(cargo, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    for artifact in map(json.loads, built.splitlines()):
        if artifact.get("executable"):
            shutil.copy(artifact["executable"], folder / "bin" / artifact["target"]["name"])
    subprocess.run([sys.executable, ROOT / ".ci" / "cuda_graph.py", folder / "bin"], env=environment, check=True)
    (folder / "benches").mkdir()
    for script in SCRIPTS:
        shutil.copy(ROOT / "benches" / script, folder / "benches")
    (folder / "assets" / "clip").mkdir(parents=True)
    shutil.copy(ROOT / "assets" / "clip" / "merges.txt", folder / "assets" / "clip")
    pins = dict(line.split("==") for line in (ROOT / "benches" / "requirements.txt").read_text().split())
    download = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    download += [f"--platform={it}" for it in PLATFORMS] + [f"{it}=={pins[it]}" for it in PACKAGES]
    subprocess.run([*download, "--dest", str(folder / "wheels")], check=True)


def install() -> None:
    """Makes the packed wheels importable, beside the machine's own PyTorch."""
    wheels, site = ROOT / "wheels", ROOT / "site"
    if wheels.exists() and not site.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels, "--target", site, *PACKAGES]
        subprocess.run([str(it) for it in command], check=True)
    sys.path.insert(0, str(site))


class Peer:
    """diffusers' U-Net on the device, in one memory format, as it is or compiled."""

    def __init__(self, args: argparse.Namespace, dtype: str, layout: str = "contiguous", compiled: bool = False) -> None:
        import torch
        from diffusers import UNet2DConditionModel

        self.torch, self.args = torch, args
        self.kind = getattr(torch, dtype)
        self.unet = UNet2DConditionModel.from_pretrained(args.model / "unet", torch_dtype=self.kind).eval().to(args.device)
        self.config = self.unet.config
        if layout == "channels last":
            self.unet.to(memory_format=torch.channels_last)
        if compiled:
            self.unet = torch.compile(self.unet, mode="max-autotune", fullgraph=True)
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


CASE = ("latents", "pictures", "prompts", "negatives", "timesteps")


def errors(args: argparse.Namespace, engines: dict, exact: Peer, half: Peer) -> dict:
    """Distance of each one's noise to diffusers' in fp32, relative to the latter, mean over the cases."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    side, width = args.pixels // 8, exact.config.cross_attention_dim
    shapes = (4, side, side), (4, side, side), (77, width), (77, width)
    cases = {name: torch.randn(6, 1, *shape) for name, shape in zip(CASE, shapes)}
    cases["timesteps"] = torch.tensor([981.0, 981.0, 741.0, 501.0, 261.0, 21.0])
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder) / "cases.safetensors", Path(folder) / "noise.safetensors"
        save_file(cases, given)
        noise = {"diffusers, eager": half.noise(cases)}
        for name, engine in engines.items():
            engine.ask("noise", input=str(given), output=str(output))
            noise[name] = load_file(output)["noise"]
    reference = exact.noise(cases).flatten(1)
    return {name: ((it.flatten(1) - reference).norm(dim=1) / reference.norm(dim=1)).mean().item() for name, it in noise.items()}


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


class Service:
    """`retouch serve` with the model, on loopback."""

    def __init__(self, args: argparse.Namespace, environment: dict) -> None:
        self.data = tempfile.TemporaryDirectory()
        command = [args.bin / "retouch", "serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--model", args.model]
        command += ["--device", args.device, "--dtype", args.dtype, "--log-level", "info", "--data-dir", self.data.name]
        self.child = subprocess.Popen([str(it) for it in command], env=environment, stderr=subprocess.PIPE, text=True)
        for line in self.child.stderr:
            print(line, end="", file=sys.stderr)
            found = re.search(r"listening on (http://[^,\s]+)", line)
            if found:
                self.url = found[1]
            if "the model is warm" in line:
                break
        # Nobody reads on, and the service must not wait for that.
        self.reader = subprocess.Popen(["cat"], stdin=self.child.stderr, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        self.child.terminate()
        self.child.wait()
        self.reader.wait()
        self.data.cleanup()


def measure(args: argparse.Namespace) -> dict:
    import torch
    from engines import Engine, rounds
    from PIL import Image

    lib = Path(torch.__file__).parent
    environment = {**os.environ, "LIBTORCH": str(lib), "LD_LIBRARY_PATH": f"{lib / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    os.environ.update(environment)
    engine = lambda calls: Engine([args.bin / "gpu_engine", args.model, args.device, args.dtype, calls])  # noqa: E731
    found: dict = {"device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu", "matmul": matmul_peak(args)}
    kind = {"fp16": "float16", "fp32": "float32"}[args.dtype]
    ours = {"retouch": engine("recorded"), "retouch, launched": engine("launched")}
    peers = {"diffusers, eager": Peer(args, kind), "diffusers, channels last": Peer(args, kind, "channels last")}

    # 1. Are they right?
    found["error"] = errors(args, ours, Peer(args, "float32"), peers["diffusers, eager"])

    # 2. A step, in turn
    found["operations"] = peers["diffusers, eager"].operations()
    if args.device == "cuda":
        peers["diffusers, compiled"] = Peer(args, kind, "channels last", compiled=True)
    steps = {name: lambda it=it: it.ask("steps", pixels=args.pixels, guest="none", count=args.calls) for name, it in ours.items()}
    found["step"] = rounds(args.samples, {**steps, **{name: it.steps for name, it in peers.items()}})
    ours.pop("retouch, launched").close()
    peers.clear()
    if args.device == "cuda":
        torch.cuda.empty_cache()

    # 3. Guests
    ask = ours["retouch"].ask
    guests = {guest: lambda guest=guest: ask("steps", pixels=args.pixels, guest=guest, count=args.calls) for guest in ("none", "localize", "gate")}
    found["guests"] = rounds(args.pairs, guests)

    # 4. The service, whose model works at its own size
    service = Service(args, environment)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.linear_gradient("L").resize((args.pixels, args.pixels)).convert("RGB").save(picture)
        runs = {
            "bare": lambda: ask("edit", pixels=args.pixels, steps=args.edit_steps),
            "service": lambda: ask("service", url=service.url, image=str(picture), steps=args.edit_steps, watchers=WATCHERS),
        }
        found["service"] = rounds(args.samples, runs)
    service.close()
    ours["retouch"].close()
    return found


def report(args: argparse.Namespace, found: dict) -> str:
    from engines import ratio, spread

    step, guests = found["step"], found["guests"]
    eager = min((step[it] for it in ("diffusers, eager", "diffusers, channels last")), key=statistics.median)
    ratios = {"step / diffusers, eager": ratio(step["retouch"], eager)}
    if "diffusers, compiled" in step:
        ratios["step / diffusers, compiled"] = ratio(step["retouch"], step["diffusers, compiled"])
    ratios["localizing step / plain step"] = ratio(guests["localize"], guests["none"])
    ratios["gated step / plain step"] = ratio(guests["gate"], guests["none"])
    ratios["service with 4 watchers / bare engine"] = ratio(found["service"]["service"], found["service"]["bare"])
    lines = [f"{found['device']}, {args.dtype}, {args.pixels} px, three rows; products of fp16 {found['matmul'] / 1e12:.3g} TFLOP/s", ""]
    lines += ["| step | ms, median (min-max) | share of the products' rate |", "|---|---|---|"]
    for name, samples in step.items():
        share = found["operations"] / statistics.median(samples) / found["matmul"]
        lines.append(f"| {name} | {spread([it * 1e3 for it in samples])} | {share:.3f} |")
    lines += ["", "| ratio | | 95 % | at most |", "|---|---|---|---|"]
    for name, it in ratios.items():
        aim = AIMS.get(name)
        verdict = "" if aim is None else f"{aim}: {'met' if it['ratio'] <= aim else 'NOT MET'}"
        lines.append(f"| {name} | {it['ratio']:.3f} | {it['low']:.3f}-{it['high']:.3f} | {verdict} |")
    lines += ["", "| distance to diffusers in fp32 | |", "|---|---|", *(f"| {name} | {it:.5f} |" for name, it in found["error"].items())]
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    install()
    if args.model is None:
        import random_model

        args.model = ROOT / "random-ip2p"
        if not args.model.exists():
            print("writing random weights of full size", file=sys.stderr)
            random_model.write(args.model)
    found = measure(args)
    args.out.write_text(json.dumps(found, indent=2))
    print(report(args, found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    running = commands.add_parser("run")
    running.add_argument("--bin", type=Path, default=ROOT / "bin", help="where the binaries are")
    running.add_argument("--model", type=Path, help="a diffusers folder; one of full size is made at random if none is given")
    running.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu shows that the script runs")
    running.add_argument("--dtype", default="fp16", choices=["fp16", "fp32"])
    running.add_argument("--pixels", type=int, default=512, help="side of the picture; the model's own, as the service takes no other")
    running.add_argument("--calls", type=int, default=CALLS, help="U-Net calls between two waits for the device")
    running.add_argument("--samples", type=int, default=7)
    running.add_argument("--pairs", type=int, default=15, help="samples of ratios near 1")
    running.add_argument("--edit-steps", type=int, default=EDIT_STEPS)
    running.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    if args.command == "pack":
        return pack(args.folder, args.python)
    run(args)


if __name__ == "__main__":
    main()
