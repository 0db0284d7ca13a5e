#!/usr/bin/env python3
"""`make bench-cluster`: plan and apply of many resources, beside Helm, on the same API server in the same run.

A control plane of its own is started (scripts/test-cluster.sh brings the programs): etcd, kube-apiserver and the controller
manager. Helm is the engine of scripts/helm_peer.py, one warm process, with its limits of requests lifted as far as it lets.

For each size and kind (ConfigMaps, Deployments of no pods): *install*, *no change*, *one change* and *all changed*. Ours is two
whole processes, `plan --out` and `apply PLAN`; Helm's is one call of install or upgrade. Peers take turns; a table has the best of
the rounds, and the requests of the last. They are counted from the audit log of the server, for each of us under a user of its own.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import helm_peer  # noqa: E402

PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PROGRAMS = Path(os.environ.get("STAGEWRIGHT_TEST_KUBERNETES") or CACHE / "stagewright-test" / "kubernetes-1.20.2")
US, HELM = "stagewright", "helm"


def ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


class Cluster:
    """A control plane below a folder; it ends with `stop`."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        client, peer, api, manager = ports(4)
        self.url = f"https://127.0.0.1:{api}"
        url = f"http://127.0.0.1:{client}"
        self.start("etcd", {"data-dir": folder / "data", "listen-client-urls": url, "advertise-client-urls": url,
                            "listen-peer-urls": f"http://127.0.0.1:{peer}", "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
                            "initial-cluster": f"default=http://127.0.0.1:{peer}", "unsafe-no-fsync": "true"})
        keys = ["openssl", "genpkey", "-algorithm", "RSA", "-out", folder / "key"]
        subprocess.run(list(map(str, keys)), check=True, capture_output=True)
        (folder / "tokens").write_text("".join(f"{user},{user},{n},system:masters\n" for n, user in enumerate((US, HELM))))
        (folder / "policy").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
                                       f"rules: [{{level: Metadata, users: [{US}, {HELM}]}}, {{level: None}}]\n")
        for user in (US, HELM):
            (folder / f"{user}.kubeconfig").write_text(
                f"apiVersion: v1\nkind: Config\ncurrent-context: bench\nclusters: [{{name: bench, cluster: {{server: '{self.url}', "
                f"insecure-skip-tls-verify: true}}}}]\nusers: [{{name: me, user: {{token: {user}}}}}]\n"
                "contexts: [{name: bench, context: {cluster: bench, user: me}}]\n")
        self.start(PROGRAMS / "kube-apiserver", {
            "etcd-servers": url, "bind-address": "127.0.0.1", "advertise-address": "127.0.0.1", "secure-port": api,
            "cert-dir": folder / "certificates", "token-auth-file": folder / "tokens", "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc", "service-account-key-file": folder / "key",
            "service-account-signing-key-file": folder / "key", "disable-admission-plugins": "ServiceAccount",
            "service-cluster-ip-range": "10.96.0.0/16", "endpoint-reconciler-type": "none",
            "audit-policy-file": folder / "policy", "audit-log-path": folder / "audit"})
        for _ in range(600):
            if self.ask("GET", "/readyz") is not None:
                break
            time.sleep(0.1)
        else:
            sys.exit("the API server does not answer")
        self.start(PROGRAMS / "kube-controller-manager", {
            "kubeconfig": folder / f"{HELM}.kubeconfig", "leader-elect": "false", "bind-address": "127.0.0.1", "port": 0,
            "secure-port": manager, "cert-dir": folder / "certificates-2", "service-account-private-key-file": folder / "key",
            "controllers": "*,-nodeipam,-cloud-node-lifecycle,-service,-route"})

    def start(self, program, options):
        log = open(self.folder / f"{Path(program).name}.log", "wb")
        args = [str(program), *(f"--{name}={value}" for name, value in options.items())]
        self.processes.append(subprocess.Popen(args, stdout=log, stderr=log, env={**os.environ, "PATH": PATH}))

    def ask(self, method, address, body=None):
        context = ssl._create_unverified_context()
        headers = {"Authorization": f"Bearer {HELM}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + address, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError):
            return None

    def mark(self):
        """Returns how long the audit log is."""
        time.sleep(0.2)  # the account of a request comes a moment after its answer
        return (self.folder / "audit").stat().st_size if (self.folder / "audit").exists() else 0

    def requests(self, since, user):
        """Counts the requests of a user since a mark: reads, dry runs, writes."""
        reads = tries = writes = 0
        with open(self.folder / "audit", encoding="utf-8") as log:
            log.seek(since)
            for line in log:
                if not line.endswith("\n"):
                    break  # it is being written: whose request that is, is asked for no more
                event = json.loads(line)
                if event["user"]["username"] != user or "leases" in event["requestURI"]:
                    continue
                if user == HELM and not event.get("userAgent", "").lower().startswith("helm"):
                    continue  # the controller manager has its account
                if event["verb"] in ("get", "list", "watch"):
                    reads += 1
                elif "dryRun=All" in event["requestURI"]:
                    tries += 1
                else:
                    writes += 1
        return reads, tries, writes

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


CHARTS = {
    "ConfigMap": 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{{ $i }}\ndata:\n  all: {{ $.Values.all | quote }}\n'
                 '  one: {{ if eq $i 0 }}{{ $.Values.one | quote }}{{ else }}"0"{{ end }}\n  text: |\n'
                 + "".join(f"    line {n} of a configuration that is as long as many are\n" for n in range(20)),
    "Deployment": 'apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d{{ $i }}\n  labels: {app: d{{ $i }}}\nspec:\n  replicas: 0\n'
                  '  selector:\n    matchLabels: {app: d{{ $i }}}\n  template:\n    metadata:\n      labels: {app: d{{ $i }}}\n    spec:\n'
                  '      containers:\n      - name: app\n        image: "example/app:{{ $.Values.all }}"\n        env:\n'
                  '        - {name: ONE, value: {{ if eq $i 0 }}{{ $.Values.one | quote }}{{ else }}"0"{{ end }}}\n        ports:\n'
                  '        - {containerPort: 8080}\n        resources: {requests: {cpu: 10m, memory: 16Mi}}\n',
}


def git(folder, *args):
    settings = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"]
    subprocess.run(["git", *settings, *args], cwd=folder, check=True, capture_output=True)


def write(folder, kind, count, values):
    templates = folder / ".helm" / "templates"
    templates.mkdir(parents=True, exist_ok=True)
    (folder / "werf.yaml").write_text("configVersion: 1\nproject: bench\n")
    (folder / ".helm" / "Chart.yaml").write_text("apiVersion: v2\nname: bench\nversion: 1.0.0\n")
    (folder / ".helm" / "values.yaml").write_text("".join(f"{key}: {value!r}\n" for key, value in values.items()))
    (templates / "all.yaml").write_text(f"{{{{- range $i := until {count} }}}}\n---\n{CHARTS[kind]}{{{{- end }}}}\n")
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "bench")


class Ours:
    user = US

    def __init__(self, cluster, program):
        home = cluster.folder / "home"
        home.mkdir(exist_ok=True)
        self.program, self.env = program, {"PATH": PATH, "HOME": str(home), "KUBECONFIG": str(cluster.folder / f"{US}.kubeconfig")}

    def deploy(self, folder, namespace):
        target = ["--target", "cluster", "--namespace", namespace, "--release", "bench"]
        took = 0.0
        for args in (["plan", "--out", "bench.plan", *target], ["apply", "bench.plan", "--auto-approve", "--no-wait"]):
            begin = time.perf_counter()
            done = subprocess.run([self.program, *args], cwd=folder, env=self.env, capture_output=True, text=True, check=False)
            took += time.perf_counter() - begin
            if done.returncode != 0:
                sys.exit(f"{args}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return took


class Helm:
    user = HELM

    def __init__(self, cluster, version):
        self.engine = helm_peer.Helm(version)
        self.engine.start()
        self.common = {"helm_version": version, "kubeconfig": str(cluster.folder / f"{HELM}.kubeconfig"), "release_name": "bench",
                       "qps": 10_000, "burst_limit": 10_000}

    def deploy(self, folder, namespace):
        arguments = {**self.common, "namespace": namespace, "chart": str(folder / ".helm")}
        history = self.engine._call("tools/call", {"name": "helm_history", "arguments": {**self.common, "namespace": namespace}})
        name = "helm_install" if history["result"].get("isError") else "helm_upgrade"
        if name == "helm_install":
            arguments["create_namespace"] = True
        begin = time.perf_counter()
        answer = self.engine._call("tools/call", {"name": name, "arguments": arguments})
        took = time.perf_counter() - begin
        if "error" in answer or answer["result"].get("isError"):
            sys.exit(f"{name}: {answer}")
        return took


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", default="10,100,500", help="how many resources (default: 10,100,500)")
    arguments.add_argument("--kinds", default="ConfigMap,Deployment", help="which kinds (default: both)")
    arguments.add_argument("--rounds", type=int, default=3, help="how often each is done (default: 3)")
    arguments.add_argument("--helm", default="v3,v4", help="which Helm (default: v3,v4)")
    arguments.add_argument("--program", default=str(ROOT / "target" / "release" / "stagewright"))
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped then, too
    folder = Path(tempfile.mkdtemp(prefix="stagewright-bench-"))
    cluster = engines = None
    try:
        cluster = Cluster(folder)
        engines = {version: Helm(cluster, version) for version in args.helm.split(",")}
        peers = {"ours": Ours(cluster, str(Path(args.program).resolve())), **{f"helm {version}": helm for version, helm in engines.items()}}
        print(f"{'':28}" + "".join(f"{name:>12}" for name in peers) + "   times faster   requests: reads + dry runs + writes")
        for kind in args.kinds.split(","):
            for size in map(int, args.sizes.split(",")):
                measure(cluster, peers, kind, size, args.rounds)
    finally:
        for engine in (engines or {}).values():
            engine.engine.stop()
        if cluster:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure(cluster, peers, kind, size, rounds):
    best, counted = {}, {}
    for turn in range(rounds):
        steps = [("install", {"all": "1", "one": "1"}), ("no change", {"all": "1", "one": "1"}), ("one change", {"all": "1", "one": "2"}),
                 ("all changed", {"all": "2", "one": "2"})]
        project = cluster.folder / f"{kind.lower()}-{size}-{turn}"
        project.mkdir()
        for step, values in steps:
            write(project, kind, size, values)
            order = list(peers.items())
            for name, peer in order if turn % 2 == 0 else reversed(order):  # whoever comes later finds the server warm
                namespace = f"{kind.lower()}-{size}-{turn}-{name.replace(' ', '-')}"
                mark = cluster.mark()
                took = peer.deploy(project, namespace)
                best[step, name] = min(took, best.get((step, name), took))
                cluster.mark()
                counted[step, name] = cluster.requests(mark, peer.user)
        for name in peers:
            namespace = f"{kind.lower()}-{size}-{turn}-{name.replace(' ', '-')}"
            cluster.ask("DELETE", f"/api/v1/namespaces/{namespace}")
        for name in peers:  # what is being deleted must not slow the next round down
            namespace = f"{kind.lower()}-{size}-{turn}-{name.replace(' ', '-')}"
            for _ in range(600):
                if cluster.ask("GET", f"/api/v1/namespaces/{namespace}") is None:
                    break
                time.sleep(0.1)
    for step, _ in steps:
        ours = best[step, "ours"]
        times = "".join(f"{best[step, name]:11.2f}s" for name in peers)
        ratio = " / ".join(f"{best[step, name] / ours:.1f}" for name in peers if name != "ours")
        requests = ", ".join("+".join(map(str, counted[step, name])) for name in peers)
        print(f"{size:4} {kind:11} {step:11}{times}   {ratio:>12}   {requests}", flush=True)


if __name__ == "__main__":
    main()
