"""Checks retouch on a GPU against diffusers for the same random weights, in one run.

    python benches/gpu.py pack FOLDER      # where retouch is built: no GPU, no CUDA
    python FOLDER/benches/gpu.py run       # where the GPU is: PyTorch 2.11 with CUDA, no compiler, no network

`pack` builds the command, the engine and the library that a GPU adds, and lays them into FOLDER with these scripts and with
diffusers' wheels. `run` writes `gpu.json` and prints tables: times, ratios, and which of the aims are met. A section that fails is
told of, and the others go on.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("gpu.py", "gpu_peer.py", "gpu_profile.py", "gpu_report.py", "engines.py", "random_model.py")
PACKAGES = ("diffusers", "transformers", "numpy", "pillow")
PLATFORMS = [f"manylinux{it}_x86_64" for it in ("_2_28", "_2_27", "_2_17", "2014", "_2_5", "1")]
WATCHERS, JOBS = 4, 8
LEVERS = {
    "retouch": "recorded,fused",
    "launched": "fused",
    "not-fused": "recorded",
    "searched": "recorded,fused,searched",
}
"""What each of our engines does; the first is what `retouch serve` does, the last lets cuDNN time its convolutions."""
SECTIONS = ("layers", "errors", "steps", "guests", "service", "jobs", "kernels", "reduce_overhead", "max_autotune")


def pack(folder: Path, python: str, packages: list[str]) -> None:
    """Builds everything and lays it into a folder; target/ keeps what was built."""
    (folder / "bin").mkdir(parents=True)
    libtorch = subprocess.run([sys.executable, ROOT / ".ci" / "libtorch.py"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    environment = {**os.environ, "LIBTORCH": libtorch}
    cargo = ["cargo", "build", "--release", "--locked", "--bin", "retouch", "--bench", "gpu_engine", "--message-format=json"]
    built = subprocess.run(cargo, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    for artifact in map(json.loads, built.splitlines()):
        if artifact.get("executable"):
            binary = folder / "bin" / artifact["target"]["name"]
            subprocess.run(["strip", "-o", binary, artifact["executable"]], check=True)
    subprocess.run([sys.executable, ROOT / ".ci" / "cuda_library.py", folder / "bin"], env=environment, check=True)
    (folder / "benches").mkdir()
    for script in SCRIPTS:
        shutil.copy(ROOT / "benches" / script, folder / "benches")
    (folder / "assets" / "clip").mkdir(parents=True)
    shutil.copy(ROOT / "assets" / "clip" / "merges.txt", folder / "assets" / "clip")
    pins = dict(line.split("==") for line in (ROOT / "benches" / "requirements.txt").read_text().split())
    download = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    download += [f"--platform={it}" for it in PLATFORMS] + [f"{it}=={pins[it]}" for it in packages]
    if set(packages) != set(PACKAGES):
        download.append("--no-deps")
    subprocess.run([*download, "--dest", str(folder / "wheels")], check=True)
    size = sum(it.stat().st_size for it in folder.rglob("*") if it.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB")


def install() -> None:
    """Makes the packed wheels importable, beside the machine's own PyTorch; all of them, since the machine lacks none of their needs."""
    wheels, site = sorted((ROOT / "wheels").glob("*.whl")), ROOT / "site"
    if wheels and not site.exists():
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    sys.path.insert(0, str(site))


class Service:
    """`retouch serve` with the model, on loopback."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.data = tempfile.TemporaryDirectory()
        command = [args.bin / "retouch", "serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--model", args.model]
        command += ["--device", args.device, "--dtype", args.dtype, "--log-level", "info", "--data-dir", self.data.name]
        self.child = subprocess.Popen([str(it) for it in command], stderr=subprocess.PIPE, text=True)
        self.url = None
        for line in self.child.stderr:
            print(line, end="", file=sys.stderr)
            found = re.search(r"listening on (http://[^,\s]+)", line)
            if found:
                self.url = found[1]
            if "the model is loaded and warmed up" in line:
                break
        else:
            raise RuntimeError(f"the service ended with {self.child.wait()}")
        # Somebody must read on, or the service would wait for that.
        self.reader = subprocess.Popen(["grep", "--line-buffered", "-E", "WARN|ERROR|panicked"], stdin=self.child.stderr, stdout=sys.stderr)

    def close(self) -> None:
        self.child.terminate()
        self.child.wait()
        self.reader.wait()
        self.data.cleanup()


class Measurement:
    """One run; each method is a section, which gives what it found."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch
        from gpu_peer import matmul_peak

        lib = Path(torch.__file__).parent
        os.environ |= {"LIBTORCH": str(lib), "LD_LIBRARY_PATH": f"{lib / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
        self.args, self.engines, self.started, self.peers, self.weights = args, {}, None, {}, None
        self.begun = time.perf_counter()
        self.kind = {"fp16": "float16", "fp32": "float32"}[args.dtype]
        self.on_gpu = args.device == "cuda"
        self.found: dict = {"device": torch.cuda.get_device_name() if self.on_gpu else "cpu", "matmul": matmul_peak(args)}

    def tell(self, what: str) -> None:
        print(f"{time.perf_counter() - self.begun:6.1f} s {what}", file=sys.stderr, flush=True)

    def engine(self, name: str):
        """An engine of ours, begun anew if it ended."""
        from engines import Engine

        if name not in self.engines or self.engines[name].child.poll() is not None:
            self.engines[name] = Engine([self.args.bin / "gpu_engine", self.args.model, self.args.device, self.args.dtype, LEVERS[name]])
            self.tell(f"{name}: loaded in {self.engines[name].loaded} s")
        return self.engines[name]

    def service_url(self) -> str:
        if self.started is None:
            self.started = Service(self.args)
            self.tell("the service is there")
        return self.started.url

    def stop_service(self) -> None:
        if self.started is not None:
            self.started.close()
            self.started = None

    def all_engines(self) -> dict:
        """Every engine that there can be; one that can't is told of."""
        found = {}
        for name in self.args.engines if self.on_gpu else ["retouch"]:
            try:
                found[name] = self.engine(name)
            except (Exception, SystemExit):
                self.fail(name)
        return found

    def unet(self):
        """diffusers', read once."""
        if self.weights is None:
            from gpu_peer import read

            self.weights = read(self.args, self.kind)
        return self.weights

    def plain_peers(self) -> dict:
        from gpu_peer import Peer

        if not self.peers:
            layouts = {"diffusers": "contiguous", "diffusers, channels last": "channels last"}
            self.peers = {name: Peer(self.args, self.unet(), self.kind, layout) for name, layout in layouts.items()}
            self.tell("the peers are there")
        return self.peers

    def picture(self, folder: str) -> str:
        """A picture of the model's own size, as the service takes no other."""
        from PIL import Image

        picture = Path(folder) / "picture.png"
        Image.linear_gradient("L").resize((self.args.pixels, self.args.pixels)).convert("RGB").save(picture)
        return str(picture)

    # The sections, in their order

    def layers(self):
        """Is each fused layer right?"""
        return self.engine("retouch").ask("fused_layers")["layers"] if self.on_gpu else None

    def errors(self) -> dict:
        """Is the whole right, and is a recorded call what a launched one is?"""
        from gpu_peer import Peer, errors

        half = self.plain_peers()["diffusers"]
        return errors(self.args, self.all_engines(), Peer(self.args, half.unet, "float32"), half)

    def steps(self) -> dict:
        """A step, in turn, and what each lever gives."""
        from engines import rounds

        args, peers = self.args, self.plain_peers()
        self.found["operations"] = peers["diffusers"].operations()
        runs = {name: lambda it=it: it.ask("steps", pixels=args.pixels, guest="none", count=args.calls) for name, it in self.all_engines().items()}
        return rounds(args.samples, runs | {name: it.steps for name, it in peers.items()})

    def guests(self) -> dict:
        from engines import rounds

        self.leave("retouch")
        ask, args = self.engine("retouch").ask, self.args
        guests = {guest: lambda guest=guest: ask("steps", pixels=args.pixels, guest=guest, count=args.calls) for guest in ("none", "localize", "gate")}
        return rounds(args.pairs, guests)

    def service(self) -> dict:
        from engines import rounds

        ask, args, url = self.engine("retouch").ask, self.args, self.service_url()
        with tempfile.TemporaryDirectory() as folder:
            picture = self.picture(folder)
            return rounds(args.samples, {
                "bare": lambda: ask("edit", pixels=args.pixels, steps=args.edit_steps),
                "service": lambda: ask("service", url=url, image=picture, steps=args.edit_steps, watchers=WATCHERS),
            })

    def jobs(self) -> dict:
        """Seconds of a picture at the service, whose jobs share steps."""
        from engines import rounds

        ask, args, url = self.engine("retouch").ask, self.args, self.service_url()
        with tempfile.TemporaryDirectory() as folder:
            edits = {"url": url, "image": self.picture(folder), "steps": args.job_steps, "jobs": JOBS}
            # Batches of every size that comes are recorded at their second sight.
            ask("jobs", **edits, at_once=True)
            runs = {"one after the other": False, "at once": True}
            return rounds(args.samples, {name: lambda at_once=at_once: ask("jobs", **edits, at_once=at_once) for name, at_once in runs.items()})

    def kernels(self):
        """Where a step's time goes."""
        from gpu_profile import kernels

        self.leave("retouch")
        return kernels(self.args, "fused") if self.on_gpu and self.args.profile else None

    def reduce_overhead(self):
        """Compiled for a minute: fused, and recorded as one CUDA graph."""
        return self._compiled("reduce-overhead")

    def max_autotune(self):
        """Last, as it compiles for minutes: every product and convolution is searched for its fastest kernel besides."""
        return self._compiled("max-autotune")

    def _compiled(self, mode: str):
        from engines import rounds
        from gpu_peer import Peer

        if not self.on_gpu:
            return None
        self.leave("retouch")
        args, engine = self.args, self.engine("retouch")
        peer = Peer(args, self.unet(), self.kind, "channels last", mode)
        ours = lambda: engine.ask("steps", pixels=args.pixels, guest="none", count=args.calls)  # noqa: E731
        return rounds(args.samples, {"retouch": ours, f"diffusers, {mode}": peer.steps})

    def leave(self, *engines: str) -> None:
        """Ends what the next sections don't need, for its memory and its share of the device."""
        self.peers.clear()
        for name in [it for it in self.engines if it not in engines]:
            self.engines.pop(name).close()
        if self.on_gpu:
            import torch

            torch.cuda.empty_cache()

    def fail(self, name: str) -> None:
        self.found.setdefault("failed", {})[name] = traceback.format_exc()
        traceback.print_exc()

    def run(self) -> dict:
        for name in [it for it in SECTIONS if it in self.args.sections]:
            self.tell(f"== {name}")
            if name not in ("service", "jobs"):
                self.stop_service()
            try:
                found = getattr(self, name)()
                if found is not None:
                    self.found[name] = found
            except (Exception, SystemExit):
                self.fail(name)
            self.args.out.write_text(json.dumps(self.found, indent=2))
        self.tell("== ended")
        self.stop_service()
        self.leave()
        return self.found


def run(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    install()
    args.model = args.model or ROOT / "random-ip2p"
    if not (args.model / "model_index.json").exists():
        import random_model

        print("writing random weights of full size", file=sys.stderr)
        random_model.write(args.model, "float16", args.device)
    print(f"== preparing took {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    found = Measurement(args).run()
    from gpu_report import report

    print(report(args, found))
    print(f"== all took {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    packing.add_argument("--packages", nargs="+", default=PACKAGES, choices=PACKAGES, help="what that machine lacks; fewer come without what they need")
    running = commands.add_parser("run")
    running.add_argument("--bin", type=Path, default=ROOT / "bin", help="where the binaries are")
    running.add_argument("--model", type=Path, help="a diffusers folder; one of full size is made at random where there is none")
    running.add_argument("--engines", nargs="+", default=["retouch", "launched"], choices=LEVERS, help="which of ours; `retouch` must be among them")
    running.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    running.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu shows that the script runs")
    running.add_argument("--dtype", default="fp16", choices=["fp16", "fp32"])
    running.add_argument("--pixels", type=int, default=512, help="side of the picture; the model's own, as the service takes no other")
    running.add_argument("--calls", type=int, default=20, help="U-Net calls between two waits for the device")
    running.add_argument("--samples", type=int, default=7)
    running.add_argument("--pairs", type=int, default=15, help="samples of ratios near 1")
    running.add_argument("--edit-steps", type=int, default=100)
    running.add_argument("--job-steps", type=int, default=20, help=f"steps of each of {JOBS} jobs")
    running.add_argument("--profile", choices=["none", "localize", "gate"], help="lists the kernels of a step with this guest, by `ncu`")
    running.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    if args.command == "pack":
        return pack(args.folder, args.python, args.packages)
    run(args)


if __name__ == "__main__":
    main()
