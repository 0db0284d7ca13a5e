#!/usr/bin/env python3
"""`make bench-builds`: what builds cost, against `docker build`, `git ls-tree` and `tar | gzip`, in one run.

Everything is made below a temporary folder: git repositories of text-like files, a Docker Engine and a registry of its
own. Peers take turns, round after round; a table has the best wall time of each. Ours is a whole process, start to exit.

- copy: one Dockerfile that only copies; `native` into an OCI layout, and `docker build` (BuildKit), whose images stay unpacked in its store.
  *cold*: nothing is known of it; *idle*: nothing changed; *edit*: one line of one file.
- context: a plan that must sign a context of 100,000 files behind a `.dockerignore`, and `git ls-tree -r HEAD`.
- layer: the cold build, and `tar | gzip -6` of the same files, on one core and on two.
- registry: an idle build of 100 images, and the requests that the registry saw.
- edit: one line in a Stapel image and in a Dockerfile, built and pushed; bytes are those that the registry gained.
"""
import argparse
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
WORDS = ("let fn match return value name path file image stage build for if else self struct impl use result error "
         "text line index count first last next begin end open close read write check test plan apply").split()


def run(args, cwd=None, env=None, **more):
    done = subprocess.run([str(arg) for arg in args], cwd=cwd, env=env, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, args))}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def timed(args, **more):
    begin = time.perf_counter()
    run(args, **more)
    return time.perf_counter() - begin


def git(folder, *args):
    settings = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"]
    return run(["git", *settings, *args], cwd=folder)


def texts(dice, size):
    """Yields texts of `size` bytes, cut from a pool that compresses as source code does."""
    pool = "".join(f"{'    ' * dice.randrange(4)}{' '.join(dice.choices(WORDS, k=6))} = {dice.getrandbits(40):x};\n"
                   for _ in range(60_000))
    while True:
        at = dice.randrange(len(pool) - size)
        yield f"// {dice.getrandbits(64):x}\n{pool[at:at + size - 20]}\n"


def project(folder, files, megabytes, werf, extra=()):
    """Makes a repository with that many files below `app/`, a hundred a folder."""
    dice = random.Random(files)
    source = texts(dice, max(64, megabytes * 1_000_000 // files))
    for number in range(files):
        path = folder / "app" / f"d{number // 10_000}" / f"p{number // 100 % 100}" / f"f{number % 100}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(next(source), encoding="ascii")
    (folder / "werf.yaml").write_text(werf, encoding="utf-8")
    for path, text in extra:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    git(folder, "init", "-q")
    commit(folder, "first")
    git(folder, "gc", "-q")
    return folder


def commit(folder, subject):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", subject)


def edit(folder, number):
    with open(folder / "app/d0/p0/f0.rs", "a", encoding="ascii") as file:
        file.write(f"one more line: {number}\n")
    commit(folder, "edit")


class Service:
    """A program of our own, ended with its folder."""

    def __init__(self, folder, args, answers):
        self.log = folder / "log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([str(arg) for arg in args], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, "PATH": PATH}, start_new_session=True)
        for _ in range(600):
            if answers():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise OSError(f"{args[0]} does not start: {self.log.read_text(encoding='utf-8')[-500:]}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Docker:
    def __init__(self, folder):
        folder.mkdir()
        (folder / "daemon.json").write_text("{}", encoding="ascii")
        self.env = {**os.environ, "PATH": PATH, "DOCKER_HOST": f"unix://{folder}/sock", "DOCKER_CONFIG": str(folder / "client"),
                    "DOCKER_BUILDKIT": "1"}
        self.env.pop("DOCKER_CONTEXT", None)
        self.client = "docker"
        answers = lambda: self.works("version")
        self.service = Service(folder, [
            "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
            f"--host={self.env['DOCKER_HOST']}", "--bridge=none", "--iptables=false", "--ip6tables=false",
            f"--config-file={folder}/daemon.json"], answers)
        self.folder = folder
        # A client of 23 or later needs a plugin for BuildKit; an older one beside it does not.
        found = [str(Path(place) / "docker") for place in PATH.split(":") if (Path(place) / "docker").is_file()]
        self.client = next((client for client in found if self.works("builder", "prune", "-af", client=client)), None)
        if not self.client:
            self.stop()
            sys.exit("no client of Docker speaks BuildKit here: install its plugin buildx")

    def works(self, *args, client=None):
        args = [client or self.client, *args]
        return subprocess.run(args, env=self.env, capture_output=True, check=False).returncode == 0

    def docker(self, *args):
        return timed([self.client, *args], env=self.env)

    def forget(self, tag):
        self.works("rmi", "-f", tag)
        run([self.client, "builder", "prune", "-af"], env=self.env)

    def stop(self):
        self.service.stop()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
        for place in sorted(mounts, reverse=True):
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", place], check=False)


class Registry:
    def __init__(self, folder):
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.data = folder / "data"
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: false}}}}\n"
            f"storage:\n  filesystem: {{rootdirectory: {self.data}}}\nhttp: {{addr: '{self.address}'}}\n", encoding="utf-8")

        def answers():
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0
        self.service = Service(folder, ["docker-registry", "serve", folder / "config.yml"], answers)
        self.folder = folder

    def requests(self):
        """Counts the requests so far, in the registry's own access log."""
        return sum('HTTP/1.1"' in line for line in open(self.service.log, encoding="utf-8"))

    def bytes(self):
        return sum(file.stat().st_size for file in self.data.rglob("data") if file.is_file())

    def stop(self):
        self.service.stop()


class Ours:
    """Our program, with a home and a cache of its own."""

    def __init__(self, program, home):
        home.mkdir()
        self.program, self.home = program, home
        self.env = {"PATH": PATH, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}

    def __call__(self, folder, *args, cores=None):
        pin = ["taskset", "-c", cores] if cores else []
        return timed([*pin, self.program, *args], cwd=folder, env=self.env)

    def build(self, folder, store, **more):
        return self(folder, "build", "--auto-approve", "--repo", store, **more)

    def forget(self, *stores):
        for folder in [self.home / "cache", *stores]:
            shutil.rmtree(folder, ignore_errors=True)


def best(rounds, *peers):
    """Lets peers take turns; returns the best of each."""
    found = [math.inf] * len(peers)
    for _ in range(rounds):
        for index, peer in enumerate(peers):
            found[index] = min(found[index], peer())
    return found


def ms(seconds):
    return f"{seconds * 1e3:,.0f} ms"


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(*cells):
    row(*cells)
    print("|---|" + "---:|" * (len(cells) - 1))


DOCKERFILE = "FROM scratch\nCOPY app /srv\n"
COPY = "project: bench\nconfigVersion: 1\n---\nimage: app\ndockerfile: Dockerfile\n"


def bench_copy(temp, ours, sizes, rounds):
    docker = Docker(temp / "docker")
    head("`COPY` only", "", "ours", "`docker build`", "ratio")
    try:
        for files, megabytes in sizes:
            folder = project(temp / f"copy-{files}", files, megabytes, COPY, [("Dockerfile", DOCKERFILE)])
            store, tag = temp / "store", "bench:1"

            def cold():
                ours.forget(store)
                return ours.build(folder, f"oci:{store}")

            def docker_cold():
                docker.forget(tag)
                return docker.docker("build", "-q", "-t", tag, str(folder))

            idle = lambda: ours.build(folder, f"oci:{store}")
            docker_idle = lambda: docker.docker("build", "-q", "-t", tag, str(folder))
            numbers = iter(range(1_000_000))

            def after_edit(build):
                edit(folder, next(numbers))
                return build()

            name = f"{files:,} files, {megabytes} MB"
            for what, one, other in [("cold", cold, docker_cold), ("idle", idle, docker_idle),
                                     ("edit", lambda: after_edit(idle), lambda: after_edit(docker_idle))]:
                mine, theirs = best(rounds, one, other)
                row(name, what, ms(mine), ms(theirs), f"{theirs / mine:.1f}")
    finally:
        docker.stop()
    print()


def bench_context(temp, ours, files, rounds):
    ignore = "**/*.md\n**/p99\n"
    folder = project(temp / "context", files, files // 5_000, COPY, [("Dockerfile", DOCKERFILE), (".dockerignore", ignore)])
    small = project(temp / "small", 100, 1, COPY, [("Dockerfile", DOCKERFILE), (".dockerignore", ignore)])
    numbers = iter(range(1_000_000))

    def sign(where):
        if where is folder:
            edit(folder, next(numbers))
        return ours(where, "plan", "app", "--repo", f"oci:{temp}/none")

    head("context", "our plan", "the same of 100 files", "`git ls-tree -r HEAD`", "ratio")
    mine, least, theirs = best(rounds, lambda: sign(folder), lambda: sign(small),
                               lambda: timed(["git", "ls-tree", "-r", "HEAD"], cwd=folder))
    row(f"{files:,} files", ms(mine), ms(least), ms(theirs), f"{mine / theirs:.1f}")
    print()


def bench_layer(temp, ours, files, megabytes, rounds):
    folder = temp / f"copy-{files}"
    if not folder.exists():
        project(folder, files, megabytes, COPY, [("Dockerfile", DOCKERFILE)])
    store, archive = temp / "layer-store", temp / "layer.tar.gz"
    head("layer of " + f"{files:,} files, {megabytes} MB", "ours", "`tar \\| gzip -6`", "ratio", "our layer", "theirs")
    for cores in ["0", "0,1"] if os.cpu_count() > 1 else ["0"]:
        def build():
            ours.forget(store)
            return ours.build(folder, f"oci:{store}", cores=cores)

        pack = lambda: timed(["taskset", "-c", cores, "sh", "-c", f"tar -cf - app | gzip -6 >{archive}"], cwd=folder)
        mine, theirs = best(rounds, build, pack)
        blobs = max((file.stat().st_size for file in (store / "blobs/sha256").iterdir()), default=0)
        row("one core" if cores == "0" else "two cores", f"{ms(mine)} ({megabytes / mine:.0f} MB/s)",
            f"{ms(theirs)} ({megabytes / theirs:.0f} MB/s)", f"{theirs / mine:.1f}",
            f"{blobs / 1e6:.1f} MB", f"{archive.stat().st_size / 1e6:.1f} MB")
    print()


def bench_registry(temp, ours, registry, images, rounds):
    werf = "project: bench\nconfigVersion: 1\n" + "".join(
        f"---\nimage: i{n}\nfrom: scratch\ngit:\n- add: /app/d0/p{n % 100}\n  to: /srv\ndocker:\n  ENV:\n    N: '{n}'\n"
        for n in range(images))
    folder = project(temp / "many", 10_000, 20, werf)
    repo = f"{registry.address}/many"
    first = ours.build(folder, repo)
    before = registry.requests()
    ours.build(folder, repo)
    asked = registry.requests() - before
    [mine] = best(rounds, lambda: ours.build(folder, repo))
    head("registry", "first build", "idle build", "requests", "at most")
    row(f"{images} images", ms(first), ms(mine), asked, images + 2)
    print()
    return asked <= images + 2


def bench_edit(temp, ours, registry, files, megabytes, rounds):
    werf = "project: bench\nconfigVersion: 1\n---\nimage: app\nfrom: scratch\ngit:\n- add: /app\n  to: /srv\n"
    folder = project(temp / "stapel", files, megabytes, werf, [("Dockerfile", DOCKERFILE)])
    docker = Docker(temp / "docker-push")
    try:
        repo, tag = f"{registry.address}/stapel", f"{registry.address}/docker:1"

        def pushed():
            return docker.docker("build", "-q", "-t", tag, str(folder)) + docker.docker("push", "-q", tag)

        numbers = iter(range(1_000_000))

        def gained(build):
            edit(folder, next(numbers))
            before = registry.bytes()
            spent = build()
            sizes.append(registry.bytes() - before)
            return spent

        ours.build(folder, repo)
        pushed()
        found, sent = [], []
        for build in [lambda: ours.build(folder, repo), pushed]:
            sizes = []
            found += best(rounds, lambda build=build: gained(build))
            sent.append(min(sizes))
        head("one line", "ours", "`docker build`, `docker push`", "ratio", "our bytes", "theirs")
        row(f"{files:,} files, {megabytes} MB", ms(found[0]), ms(found[1]), f"{found[1] / found[0]:.1f}",
            f"{sent[0] / 1e3:,.0f} kB", f"{sent[1] / 1e3:,.0f} kB")
        print()
    finally:
        docker.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "target" / "release" / "stagewright"))
    parser.add_argument("--only", choices=["copy", "context", "layer", "registry", "edit"], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a tenth of the files: to see whether it runs")
    arguments = parser.parse_args()
    less = 10 if arguments.small else 1
    wanted = arguments.only or ["copy", "context", "layer", "registry", "edit"]
    rounds = arguments.rounds
    bad = []
    with tempfile.TemporaryDirectory(prefix="bench-builds-") as name:
        temp = Path(name)
        ours = Ours(arguments.program, temp / "home")
        if "copy" in wanted:
            bench_copy(temp, ours, [(1_000 // less, 10 // less), (20_000 // less, 200 // less)], rounds)
        if "context" in wanted:
            bench_context(temp, ours, 100_000 // less, rounds)
        if "layer" in wanted:
            bench_layer(temp, ours, 20_000 // less, 200 // less, rounds)
        if "registry" in wanted or "edit" in wanted:
            registry = Registry(temp / "registry")
            try:
                if "registry" in wanted and not bench_registry(temp, ours, registry, 100, rounds):
                    bad.append("an idle build asks the registry more often than once an image")
                if "edit" in wanted:
                    bench_edit(temp, ours, registry, 5_000 // less, 50 // less, rounds)
            finally:
                registry.stop()
    for words in bad:
        print(words)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
