#!/usr/bin/env python3
"""Compares `stagewright template` with Helm, byte for byte, over folders of charts.

    scripts/compare-charts.py [--helm 3|4] [--only TEXT] [--most N] [--jobs N] [--program PATH] [--keep FOLDER] FOLDER...

Every chart under a FOLDER is rendered with its defaults, and with each ci/*-values.yaml and values-*.yaml of it.
Dependencies that are not in charts/ are taken from the other charts under the FOLDERs, by name; what is not there
either becomes an empty chart of that name. Both sides get the same files.

What is random is found by asking Helm again, and is left out of the comparison. Where Helm refuses, we must refuse
too; whether the words agree is told in the table. Exit status: 1 if anything differs.
"""
import argparse
import collections
import difflib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import helm_texts
from helm_peer import KUBE_VERSION, ROOT, Helm, HelmError

WORD = re.compile(r"[A-Za-z0-9+/=_.:-]+")
RANGE = '">=0.0.0-0"'
LOCK = threading.Lock()


def charts_under(folders):
    """Folders of charts that are not in the charts/ folder of another, in order."""
    found = []
    for root in folders:
        for folder, below, names in os.walk(root):
            below.sort()
            if "Chart.yaml" in names:
                found.append(folder)
                below[:] = [b for b in below if b not in ("charts", "templates", "crds", "ci")]
            below[:] = [b for b in below if b != ".git"]
    return found


def parse_chart(folder):
    with open(os.path.join(folder, "Chart.yaml"), encoding="utf-8", errors="replace") as f:
        chart = helm_texts.metadata(f.read())
    dependencies = [d for d in chart.get("dependencies") or [] if isinstance(d, dict)]
    requirements = os.path.join(folder, "requirements.yaml")
    if os.path.exists(requirements):
        with open(requirements, encoding="utf-8") as f:
            dependencies += helm_texts.metadata(f.read()).get("dependencies") or []
    return chart, dependencies


def prepare(source, target, library, depth=0):
    """Copies a chart, and fills its charts/ folder. Version ranges are opened: any version fits."""
    shutil.copytree(source, target, symlinks=False, ignore_dangling_symlinks=True)
    chart, dependencies = parse_chart(target)
    there = set()
    charts = os.path.join(target, "charts")
    for entry in sorted(os.listdir(charts)) if os.path.isdir(charts) else []:
        path = os.path.join(charts, entry)
        if os.path.isfile(os.path.join(path, "Chart.yaml")):
            there.add(parse_chart(path)[0].get("name"))
        elif entry.endswith(".tgz"):
            there.add(re.sub(r"-v?\d+\..*$", "", entry))
    missing = dict.fromkeys(d.get("name") for d in dependencies if d.get("name") and d.get("name") not in there)
    by_name = {d.get("name"): d for d in dependencies}
    for name in missing:
        place, repository = os.path.join(charts, name), by_name[name].get("repository") or ""
        local = os.path.normpath(os.path.join(source, repository[len("file://"):]))
        if repository.startswith("file://") and os.path.exists(os.path.join(local, "Chart.yaml")):
            found = local
        else:
            found = choose(library.get(name, []), source, by_name[name].get("version") or "")
        if found and depth < 6 and os.path.realpath(found) != os.path.realpath(source):
            os.makedirs(charts, exist_ok=True)
            prepare(found, place, library, depth + 1)
        else:
            os.makedirs(place)
            with open(os.path.join(place, "Chart.yaml"), "w", encoding="utf-8") as f:
                f.write("apiVersion: v2\nname: %s\nversion: 1.0.0\n" % name)
    for file in ("Chart.yaml", "requirements.yaml") if missing else ():
        path = os.path.join(target, file)
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as f:
                text = f.read()
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as f:
                f.write(open_ranges(text))


def choose(candidates, source, wanted):
    """The chart of a name that fits best: of the wanted major version, then from the same repository."""
    major = re.search(r"\d+", wanted)

    def fitness(candidate):
        folder, version = candidate
        fits = major is not None and re.match(r"v?" + major.group(0) + r"\b", version) is not None
        near = len(os.path.commonprefix([folder, source]))
        return fits, near
    return max(candidates, key=fitness)[0] if candidates else None


def open_ranges(text):
    """Any version of a dependency will do."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        if re.match(r"\w", line):
            inside = line.startswith("dependencies:")
        if inside:
            line = re.sub(r"^(\s*(?:-\s+)?version:\s*)[^#\r\n]*?(\s*(?:#.*)?[\r\n]*)$", r"\g<1>" + RANGE + r"\2", line)
        lines.append(line)
    return "".join(lines)


def values_files(chart):
    """Sets of values files to render with: none, and each that the chart brings."""
    found = [None]
    for folder, pattern in (("ci", r".*values\.ya?ml"), ("", r"values-.*\.ya?ml|.*-values\.ya?ml")):
        place = os.path.join(chart, folder)
        names = sorted(os.listdir(place)) if os.path.isdir(place) else []
        found += [os.path.join(folder, n) for n in names if re.fullmatch(pattern, n)]
    return found


def same(ours, helms):
    """Whether a text equals all renderings of Helm, but for the words in which these differ from each other."""
    if ours in helms:
        return True
    lines = [text.split("\n") for text in helms]
    mine = ours.split("\n")
    if len({len(l) for l in lines} | {len(mine)}) > 1:
        return same_blocks(mine, lines)
    for own, *others in zip(mine, *lines):
        if own in others:
            continue
        if len(set(others)) == 1:
            return False
        if not same_words(own, others):
            return False
    return True


def same_words(own, others):
    words = [WORD.findall(line) for line in [own, *others]]
    rests = [WORD.sub("\0", line) for line in [own, *others]]
    if len(set(rests)) > 1:
        # Random text with all kinds of characters: what stands before it must be equal.
        common = os.path.commonprefix(others)
        head = re.match(r"\s*(- )?[^\s:]+: ?|\s*", common).group(0)
        return own.startswith(head)
    return all(word in rest or len(set(rest)) > 1 for word, *rest in zip(*words))


def same_blocks(mine, lines):
    """Texts of unequal length: random blocks (certificates) must be all that differs."""
    stable = [line for line in lines[0] if all(line in set(other) for other in lines[1:])]
    if len({len(l) for l in lines}) == 1:
        return False
    return [line for line in mine if line in set(stable)] == stable


def cause(error):
    """The last words of an error of Helm, and its innermost place."""
    error = error.strip()
    words = error
    if re.search(r"\n    \S", error):
        # Helm 4 tells the calls a line each.
        words = error = re.sub(r"^error calling \w+:\s*", "", error.rsplit("\n    ", 1)[-1])
    if "values don't meet the specifications" in error:
        if "failing loading" in error:
            return "the schema cannot be used"
        return error.rsplit("\n- ", 1)[-1]
    if "SimpleHead" in error and "cannot unmarshal" in error:
        return "a manifest must be a mapping"
    if "executing " in error or "error calling" in error:
        words = re.split(r">: (?:error calling \w+: )?", error)[-1]
    words = re.sub(r"^.*?execution error at \([^)]*\): ", "", words, flags=re.S)
    words = re.sub(r"^.*?error (?:converting YAML to JSON|unmarshaling JSON): ", "", words, flags=re.S)
    words = re.sub(r"^(?:yaml: )?(?:line \d+: )?", "", words)
    words = re.sub(r"^(?:parse error at \([^)]*\)|template: [^ ]+): ", "", words)
    words = re.sub(r"^error calling \w+: ", "", words)
    return words


def squeeze(text):
    return re.sub(r"[\s|^]+", " ", text)


def full_version(text):
    """The engine names its version more shortly than the command line does."""
    patch = {"3.20": ".0", "4.1": ".1"}
    return re.sub(r"\bv(3\.20|4\.1)(?!\.?\d)", lambda m: "v" + m[1] + patch[m[1]], text)


class Checker:
    def __init__(self, options):
        self.options = options
        self.helm = Helm("v" + options.helm)
        self.folder = tempfile.mkdtemp(prefix="compare-charts-")

    def ours(self, chart, values):
        command = [self.options.program, "template", "release-name", chart, "--kube-version", KUBE_VERSION,
                   "--color", "never"]
        if self.options.helm != "3":
            command += ["--helm-version", self.options.helm]
        for file in values:
            command += ["--values", file]
        try:
            done = subprocess.run(command, capture_output=True, timeout=300, check=False, cwd=self.folder)
        except subprocess.TimeoutExpired:
            return None, "no answer within five minutes"
        if done.returncode != 0:
            return None, done.stderr.decode("utf-8", "replace") or "exit status %d" % done.returncode
        return done.stdout.decode("utf-8", "replace"), ""

    def ask_helm(self, chart, values, by_texts=False):
        """Helm's answer: a text, or None and the reason."""
        if parse_chart(chart)[0].get("type") == "library":
            return None, "library charts are not installable"
        try:
            text = (helm_texts.template_by_texts if by_texts else helm_texts.template)(self.helm, chart, values)
            return full_version(text), ""
        except HelmError as e:
            return None, full_version(str(e))

    def equal(self, ours, helm, chart, files, by_texts):
        """Whether ours is Helm's text, and whether only by leaving out what is random."""
        helms = [helm]
        for attempt in range(7):
            if same(ours, helms):
                return True, attempt > 0
            again, _ = self.ask_helm(chart, files, by_texts)
            if again is None:
                break
            helms.append(again)
            if attempt == 1 and len(set(helms)) == 1:
                break
        return False, False

    def case(self, chart, values):
        """(verdict, detail)"""
        files = [os.path.join(chart, values)] if values else []
        helm, reason = self.ask_helm(chart, files)
        ours, complaint = self.ours(chart, files)
        if helm is None and ours is None:
            essence = squeeze(cause(reason))
            known = essence.strip() and essence.strip()[:200] in squeeze(complaint)
            return ("both refuse" if known else "both refuse, other words"), "HELM: %s\nOURS: %s" % (reason, complaint)
        if helm is None and re.search(r"failing loading \"https?://", reason):
            # A part of a schema that Helm fetches and we never do.
            return "Helm needs the network", reason
        if helm is None:
            return "only Helm refuses", reason
        if ours is None:
            return "only we refuse", complaint
        equal, chance = self.equal(ours, helm, chart, files, False)
        if not equal:
            texts, _ = self.ask_helm(chart, files, True)
            if texts is not None:
                equal, chance = self.equal(ours, texts, chart, files, True)
        if equal:
            return ("equal but for chance" if chance else "equal"), ""
        lines = difflib.unified_diff(helm.splitlines(), ours.splitlines(), "helm", "ours", n=3, lineterm="")
        return "differs", "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--helm", choices=["3", "4"], default="3")
    parser.add_argument("--only", default="", help="charts whose path holds this text")
    parser.add_argument("--most", type=int, default=1000, help="values files a chart, besides its defaults")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--program", default=os.path.join(ROOT, "target", "debug", "stagewright"))
    parser.add_argument("--keep", help="a folder for the differences, a file each")
    parser.add_argument("--quiet", action="store_true", help="the table has only what is not equal")
    options = parser.parse_args()
    options.program = os.path.realpath(options.program)
    charts = charts_under(options.folders)
    library = {}
    for chart in charts:
        metadata = parse_chart(chart)[0]
        library.setdefault(metadata.get("name"), []).append((chart, str(metadata.get("version"))))
    todo, totals, counted = queue.Queue(), collections.Counter(), collections.Counter()
    for chart in charts:
        if options.only in chart:
            todo.put(chart)
    if options.keep:
        os.makedirs(options.keep, exist_ok=True)

    def tell(chart, values, verdict, detail):
        with LOCK:
            totals[verdict] += 1
            counted[chart] += 1
            if not options.quiet or verdict not in ("equal", "both refuse", "equal but for chance"):
                print("%-26s %s %s" % (verdict, chart, values or "defaults"), flush=True)
            if options.keep and detail:
                name = re.sub(r"[^\w.+-]+", "_", "%s %s %s" % (verdict, chart, values or ""))[-200:]
                with open(os.path.join(options.keep, name), "w", encoding="utf-8") as f:
                    f.write(detail + "\n")

    def work():
        checker = Checker(options)
        while True:
            try:
                chart = todo.get_nowait()
            except queue.Empty:
                break
            copy = os.path.join(checker.folder, "chart")
            try:
                prepare(chart, copy, library)
                for values in values_files(copy)[:options.most + 1]:
                    tell(chart, values, *checker.case(copy, values))
            except (OSError, ValueError, RecursionError) as e:
                tell(chart, None, "not compared", repr(e))
            shutil.rmtree(copy, ignore_errors=True)
        checker.helm.__exit__()
        shutil.rmtree(checker.folder, ignore_errors=True)

    threads = [threading.Thread(target=work) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n%d charts, %d renderings" % (len(counted), sum(counted.values())))
    for verdict, count in sorted(totals.items(), key=lambda pair: -pair[1]):
        print("%6d  %s" % (count, verdict))
    bad = {"differs", "only Helm refuses", "only we refuse", "not compared"}
    return 1 if bad & set(totals) or not counted else 0


if __name__ == "__main__":
    sys.exit(main())
