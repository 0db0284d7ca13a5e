"""The whole text that `helm template` prints, by way of helm_peer.

The engine prints manifests without hooks, and takes `managedFields:` and the indentation of `---` lines out of them.
So texts come from a second rendering: a further template includes every file of the chart and hands the texts back in
an error; they are split and sorted here.
"""
import base64
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

from helm_peer import VENV, HelmError

try:
    import yaml
except ImportError:
    if not glob.glob(str(VENV / "lib/python3*/site-packages/yaml")):
        subprocess.check_call([str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "pyyaml"])
    sys.path[:0] = glob.glob(str(VENV / "lib/python3*/site-packages"))
    import yaml

MARK = "@@TEXTS@@"
CARRIER = "templates/" + "z/" * 16 + "carrier.yaml"


def texts(helm, chart, values=()):
    """The rendered text of every file: {path: bytes}. The chart is a folder, and gets a file for a while."""
    carrier = os.path.join(chart, CARRIER)
    files = sorted(template_files(chart), key=lambda f: (f[0].count("/"), f[0].encode()), reverse=True)
    try:
        os.makedirs(os.path.dirname(carrier), exist_ok=True)
        while True:
            with open(carrier, "w", encoding="utf-8") as out:
                out.write(carrier_text(files))
            try:
                helm.render(chart, values)
            except HelmError as e:
                found = re.search(MARK + r"(\{.*?\})" + MARK, str(e), re.S)
                if found:
                    pairs = json.loads(found.group(1)).items()
                    return {k: base64.b64decode(v).replace(b"<no value>", b"") for k, v in pairs}
                gone = re.search(r'no template \\?"([^"\\]+)\\?" associated', str(e))
                left = [f for f in files if not gone or f[0] != gone.group(1)]
                if len(left) == len(files):
                    raise
                files = left
                continue
            raise HelmError("the carrier did not run")
    finally:
        shutil.rmtree(os.path.join(chart, "templates/z"), ignore_errors=True)


def template(helm, chart, values=()):
    """What `helm template` prints; raises HelmError."""
    printed = helm.render(chart, values)
    if holds(chart, b"helm.sh/hook"):
        printed += assemble(texts(helm, chart, values), helm.version, hooks_only=True)
    return printed


def template_by_texts(helm, chart, values=()):
    """The same, all of it put together here."""
    return assemble(texts(helm, chart, values), helm.version)


def holds(chart, word):
    """Whether a file of a chart holds a word; archives may."""
    for folder, _, names in os.walk(chart, followlinks=True):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                if name.endswith(".tgz") or word in f.read():
                    return True
    return False


def metadata(text):
    """A Chart.yaml or requirements.yaml; scalars stay texts."""
    try:
        found = yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def read_tree(path):
    """A chart as {path: function that reads it}."""
    if os.path.isfile(path):
        with tarfile.open(path) as tar:
            members = [(m.name.split("/", 1)[-1], tar.extractfile(m).read()) for m in tar.getmembers() if m.isfile()]
        return {name: (lambda data=data: data) for name, data in members}
    tree = {}
    for folder, _, names in os.walk(path, followlinks=True):
        for name in names:
            full = os.path.join(folder, name)
            tree[os.path.relpath(full, path)] = lambda full=full: open(full, "rb").read()
    return tree


def template_files(chart):
    """[(name, base path, names of the subcharts that lead to it)] of a chart folder."""
    found = []

    def walk(tree, name, prefix, chain):
        chart_yaml = metadata(tree["Chart.yaml"]())
        dependencies = list(chart_yaml.get("dependencies") or [])
        if "requirements.yaml" in tree:
            dependencies += metadata(tree["requirements.yaml"]()).get("dependencies") or []
        full = prefix + (name or chart_yaml.get("name", ""))
        subcharts = {}
        for path in tree:
            base = path.rsplit("/", 1)[-1]
            if path.startswith("templates/"):
                if not base.startswith("_") and chart_yaml.get("type") != "library":
                    found.append((full + "/" + path, full + "/templates", chain))
            elif path.startswith("charts/") and path.count("/") == 1:
                if base.endswith((".tgz", ".tar.gz")) and not base.startswith(("_", ".")):
                    with tempfile.NamedTemporaryFile(suffix=".tgz") as file:
                        file.write(tree[path]())
                        file.flush()
                        subcharts[base] = read_tree(file.name)
            elif path.startswith("charts/"):
                folder, rest = path[len("charts/"):].split("/", 1)
                if not folder.startswith(("_", ".")):
                    subcharts.setdefault(folder, {})[rest] = tree[path]
        for subchart in subcharts.values():
            if "Chart.yaml" in subchart:
                own = metadata(subchart["Chart.yaml"]()).get("name")
                names = [d.get("alias") or own for d in dependencies if d.get("name") == own] or [own]
                for instance in dict.fromkeys(names):
                    walk(subchart, instance, full + "/charts/", chain + [instance])

    walk(read_tree(chart), None, "", [])
    return found


def carrier_text(files):
    """The template that renders all files in Helm's order, and fails with their texts."""
    out = ["{{- $texts := dict -}}"]
    for name, base, chain in files:
        out.append("{{- $at := $ -}}{{- $there := true -}}")
        for step in map(json.dumps, chain):
            out.append("{{- if $there -}}{{- if hasKey $at.Subcharts %s -}}{{- $at = index $at.Subcharts %s -}}"
                       "{{- else -}}{{- $there = false -}}{{- end -}}{{- end -}}" % (step, step))
        name, base = json.dumps(name), json.dumps(base)
        out.append('{{- if $there -}}{{- $_ := set $at "Template" (dict "Name" %s "BasePath" %s) -}}'
                   "{{- $_ := set $texts %s (include %s $at | b64enc) -}}{{- end -}}" % (name, base, name, name))
    return "".join(out) + '{{- fail (printf "%s%%s%s" (toJson $texts)) -}}' % (MARK, MARK)


EVENTS = {"pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback",
          "post-rollback", "test", "test-success"}
KINDS = """PriorityClass Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy PodDisruptionBudget
ServiceAccount Secret SecretList ConfigMap StorageClass PersistentVolume PersistentVolumeClaim
CustomResourceDefinition ClusterRole ClusterRoleList ClusterRoleBinding ClusterRoleBindingList Role RoleList
RoleBinding RoleBindingList Service DaemonSet Pod ReplicationController ReplicaSet Deployment
HorizontalPodAutoscaler StatefulSet Job CronJob IngressClass Ingress APIService""".split()
KINDS_4 = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
SEPARATOR = re.compile(r"(?:^|[\t\n\f\r ]*\n)---[\t\n\f\r ]*")


def documents_of(texts):
    """[(kind, hook events or None, path, document)] of the rendered files."""
    found = []
    for path in sorted(texts, key=str.encode):
        if path.endswith("NOTES.txt"):
            continue
        for document in SEPARATOR.split(texts[path].decode("utf-8", "replace").strip()):
            document = document.strip()
            if not document:
                continue
            head = rough_head(document)
            if "helm.sh/hook" in document:
                try:
                    # Go's reader takes tabs and doubled keys; heads of hooks have neither.
                    head = yaml.load(document.replace("\t", "  "), Loader=yaml.CBaseLoader)
                except yaml.YAMLError:
                    pass
            head = head if isinstance(head, dict) else {}
            meta = head.get("metadata")
            annotations = (meta.get("annotations") if isinstance(meta, dict) else None) or {}
            hook = annotations.get("helm.sh/hook") if isinstance(annotations, dict) else None
            events = [event.strip().lower() for event in hook.split(",")] if hook is not None else None
            found.append((head.get("kind") or "", events, path, document))
    return found


def assemble(texts, version, hooks_only=False):
    """What the command line prints of rendered files: manifests, then hooks, each in the order of installing."""
    order = {kind: i for i, kind in enumerate(KINDS + (KINDS_4 if version == "v4" else []))}
    documents = documents_of(texts)
    documents.sort(key=lambda d: (0, order[d[0]], "") if d[0] in order else (1, 0, d[0]))

    def show(chosen):
        return "".join("---\n# Source: %s\n%s\n" % (path, document) for _, _, path, document in chosen)
    manifests = "" if hooks_only else show(d for d in documents if d[1] is None).strip() + "\n"
    return manifests + show(d for d in documents if d[1] is not None and EVENTS.issuperset(d[1]))


def rough_head(document):
    """Kind and hook of a document that the Python reader refuses."""
    kind = re.search(r"^kind:\s*[\"']?(\w+)", document, re.M)
    hook = re.search(r"^\s+[\"']?helm\.sh/hook[\"']?:\s*[\"']?([^\"'\n#]+)", document, re.M)
    annotations = {"helm.sh/hook": hook.group(1).strip()} if hook else {}
    return {"kind": kind.group(1) if kind else "", "metadata": {"annotations": annotations}}
