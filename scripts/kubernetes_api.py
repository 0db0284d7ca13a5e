#!/usr/bin/env python3
"""Writes grammar/kubernetes/api.txt: the kinds and fields of the Kubernetes API over its releases.

Only names and types are taken, no descriptions. They are read from the Go types that Kubernetes publishes in four
public repositories, at the tags kubernetes-1.N.0. Clone these and name their git directories:

    git clone --bare https://github.com/kubernetes/api api
    git clone --bare https://github.com/kubernetes/apimachinery apimachinery
    git clone --bare https://github.com/kubernetes/apiextensions-apiserver apiextensions-apiserver
    git clone --bare https://github.com/kubernetes/kube-aggregator kube-aggregator
    python3 scripts/kubernetes_api.py api apimachinery apiextensions-apiserver kube-aggregator

For a new release of Kubernetes raise LAST, fetch the tags and run it again. The form of the file is told in its head.
"""

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

FIRST, LAST = 20, 36
OUTPUT = Path(__file__).resolve().parent.parent / "grammar" / "kubernetes" / "api.txt"

HEAD = f"""\
# The Kubernetes API of releases 1.{FIRST} to 1.{LAST}: names and types. Written by scripts/kubernetes_api.py; do not edit.
# k KIND GROUP/VERSION TYPE SCOPE FIRST DEPRECATED REMOVED REPLACEMENT   (minor releases; 0: not known or not planned;
#   SCOPE n: namespaced, c: cluster; REPLACEMENT GROUP/VERSION/KIND or -)
# t TYPE FIELD...   sorted; FIELD is NAME[!]:TYPE[@FIRST][~LAST], `!`: required; FIRST and LAST are minor releases
# e TYPE VALUE...   the values of an enumeration
# Types: s string, i int32, I int64, n number, b boolean, o object, a anything, x integer or string, q quantity, t time,
#   d duration, y bytes in base64, [T list, (T set, {{k,k}}T list with keys, <T map by name, .N type N of the same package
"""

SPECIAL = {
    "meta/v1.Time": "t",
    "meta/v1.MicroTime": "t",
    "meta/v1.Duration": "d",
    "meta/v1.FieldsV1": "o",
    "intstr.IntOrString": "x",
    "resource.Quantity": "q",
    "runtime.RawExtension": "o",
    "runtime.Object": "o",
    "json.RawMessage": "a",
    "apiextensions/v1.JSON": "a",
    "apiextensions/v1beta1.JSON": "a",
}
# enumerations that carry no marker; the API server knows no other values either
UNMARKED = {
    "meta/v1.LabelSelectorOperator", "apiextensions/v1.ResourceScope", "apiextensions/v1.ConversionStrategyType",
    "autoscaling/v2.MetricSourceType", "autoscaling/v2.MetricTargetType", "autoscaling/v2.ScalingPolicySelect",
    "autoscaling/v2.HPAScalingPolicyType",
}
for version in ("v1", "v1beta1"):
    for name in ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"):
        SPECIAL[f"apiextensions/{version}.{name}"] = "a"
BASIC = {
    "string": "s", "bool": "b", "int": "i", "int32": "i", "int64": "I", "uint8": "i", "uint32": "I", "uint64": "I",
    "uint16": "i", "float32": "n", "float64": "n", "[]byte": "y", "types.UID": "s", "interface{}": "a", "any": "a",
    "types.NodeName": "s", "types.NamespacedName": "s", "byte": "i", "rune": "i",
}


def package_of(path):
    """core/v1 for k8s.io/api/core/v1, and so on; the last word for packages that are special."""
    for prefix in ("k8s.io/api/", "k8s.io/apimachinery/pkg/apis/", "k8s.io/apiextensions-apiserver/pkg/apis/",
                   "k8s.io/kube-aggregator/pkg/apis/"):
        if path.startswith(prefix):
            return path[len(prefix):]
    return path.rsplit("/", 1)[-1]


def read_files(git_dir, tag, wanted, root):
    """Yields (package, text) of the Go files that match `wanted`."""
    made = subprocess.run(["git", f"--git-dir={git_dir}", "archive", tag], stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        for member in archive:
            if re.fullmatch(wanted, member.name):
                package = package_of(root + member.name.rsplit("/", 1)[0])
                yield package, archive.extractfile(member).read().decode()


class Release:
    """The types of one release."""

    def __init__(self, minor, repositories):
        api, machinery, extensions, aggregator = repositories
        self.structs, self.aliases, self.enums, self.groups, self.life, self.cluster = {}, {}, {}, {}, {}, set()
        self.minor = minor
        tag = f"kubernetes-1.{minor}.0"
        go = r"v[0-9a-z]+/[a-z_.\-]+\.go"
        sources = [
            (api, r"[a-z]+/" + go, "k8s.io/api/"),
            (machinery, r"pkg/apis/meta/v1/[a-z_.]+\.go", "k8s.io/apimachinery/"),
            (extensions, r"pkg/apis/apiextensions/" + go, "k8s.io/apiextensions-apiserver/"),
            (aggregator, r"pkg/apis/apiregistration/" + go, "k8s.io/kube-aggregator/"),
        ]
        for git_dir, wanted, root in sources:
            for package, text in read_files(git_dir, tag, wanted, root):
                self.read(package, text)

    def read(self, package, text):
        group = re.search(r'GroupName\s*=\s*"([^"]*)"', text)
        if group:
            self.groups[package] = group.group(1)
        for kind, what, body in re.findall(
                r"func \(in \*(\w+)\) APILifecycle(\w+)\(\).*?\{\n(.*?)\n\}", text, re.S):
            self.life.setdefault((package, kind), {})[what] = body
        imports = {}
        for alias, path in re.findall(r'^\s*(?:import )?(\w+)?\s*"([^"]+)"$', text, re.M):
            name = package_of(path)
            imports[alias or path.rsplit("/", 1)[-1]] = name
        comments, lines = [], iter(text.split("\n"))
        for line in lines:
            if line.startswith("//"):
                comments.append(line[2:].strip())
                continue
            struct = re.match(r"type (\w+) struct \{$", line)
            alias = re.match(r"type (\w+) (=\s*)?([\w.\[\]*]+)", line)
            if struct:
                name = f"{package}.{struct.group(1)}"
                self.structs[name] = self.fields(lines, package, imports)
                if any(c.startswith("+genclient:nonNamespaced") for c in comments):
                    self.cluster.add(name)
            elif alias and alias.group(3) not in ("struct", "interface", "func"):
                name = f"{package}.{alias.group(1)}"
                self.aliases[name] = self.go_type(alias.group(3), package, imports)
                if "+enum" in comments or name in UNMARKED:
                    self.enums.setdefault(name, [])
            if line.strip():
                comments = comments if line.startswith("//") else []
            elif not line.startswith("//"):
                # a blank line may stand between a marker and its type
                comments = [c for c in comments if c.startswith("+")]
        for name, kind, value in re.findall(r'^\s+(\w+)\s+(\w+)\s*=\s*"([^"]*)"', text, re.M):
            self.enums.setdefault(f"{package}.{kind}?", []).append(value)
        for name, kind, value in re.findall(r'^(?:const)?\s+(\w+)\s*=\s*(\w+)\("([^"]*)"\)', text, re.M):
            self.enums.setdefault(f"{package}.{kind}?", []).append(value)
        for kind in re.findall(r'^\s+\w+\s*=\s*(\w+)\([a-z]', text, re.M):
            # a value that is not told here: the list would not be whole
            self.enums.setdefault(f"{package}.{kind}?", []).append("not told")
        for name, kind, value in re.findall(r'^const (\w+)\s+(\w+)\s*=\s*"([^"]*)"', text, re.M):
            self.enums.setdefault(f"{package}.{kind}?", []).append(value)

    def fields(self, lines, package, imports):
        found, comments = [], []
        for line in lines:
            text = line.strip()
            if line == "}":
                return found
            if text.startswith("//"):
                comments.append(text[2:].strip())
                continue
            field = re.match(r'(?:(\w+)\s+)?([\w.\[\]*{}]+)\s+`(.*)`', text)
            if field:
                json = re.search(r'json:"([^"]*)"', field.group(3))
                name, *options = (json.group(1) if json else "").split(",")
                kind = self.go_type(field.group(2), package, imports)
                if "inline" in options or (not field.group(1) and not name):
                    found.append(("", kind, False))
                elif name and name != "-":
                    optional = "omitempty" in options or "omitzero" in options or "+optional" in comments
                    keys = [c.split("=", 1)[1] for c in comments if c.startswith("+listMapKey=")]
                    if kind.startswith("[") and keys:
                        kind = "{" + ",".join(keys) + "}" + kind[1:]
                    elif kind.startswith("[") and "+listType=set" in comments:
                        kind = "(" + kind[1:]
                    found.append((name, kind, not optional))
            comments = []
        return found

    def go_type(self, text, package, imports):
        text = text.lstrip("*")
        if text in BASIC:
            return BASIC[text]
        if text.startswith("[]"):
            return "[" + self.go_type(text[2:], package, imports)
        if text.startswith("map["):
            return "<" + self.go_type(text[text.index("]") + 1:], package, imports)
        if "." in text:
            alias, name = text.split(".", 1)
            name = f"{imports.get(alias, alias)}.{name}"
        else:
            name = f"{package}.{text}"
        return SPECIAL.get(name, "@" + name)

    def resolve(self, kind):
        """Follows named types that are no structs."""
        prefix = ""
        while True:
            lead = re.match(r"(\[|\(|<|\{[^}]*\})+", kind)
            if lead:
                prefix, kind = prefix + lead.group(0), kind[lead.end():]
            if not kind.startswith("@"):
                return prefix + kind
            name = kind[1:]
            if name in SPECIAL:
                return prefix + SPECIAL[name]
            if name in self.enums and self.aliases.get(name) == "s":
                return prefix + kind
            if name not in self.aliases:
                return prefix + (kind if name in self.structs else "a")
            kind = self.aliases[name]

    def flat(self, name):
        """The fields of a struct, those of embedded ones included."""
        for field, kind, required in self.structs.get(name, []):
            if field:
                yield field, self.resolve(kind), required
            else:
                yield from self.flat(kind[1:])


def minor(body):
    found = re.search(r"return 1, (\d+)", body or "")
    return int(found.group(1)) if found else 0


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    kinds, types, enums, life = {}, {}, {}, {}
    for number in range(FIRST, LAST + 1):
        release = Release(number, sys.argv[1:])
        life.update(release.life)
        wanted = []
        for name in release.structs:
            package, kind = name.split(".")
            fields = {f: k for f, k, _ in release.flat(name)}
            own = {"kind", "apiVersion"} <= set(fields) and fields.get("metadata") == "@meta/v1.ObjectMeta"
            if not own or package not in release.groups or package.startswith(("meta/", "admission/", "imagepolicy/")):
                continue
            entry = kinds.setdefault((package, kind), {"first": number})
            entry.update(last=number, cluster=name in release.cluster, group=release.groups[package])
            wanted.append(name)
        seen = set()
        while wanted:
            name = wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in release.enums:
                values = enums.setdefault(name, {})
                for value in release.enums.get(name + "?", []):
                    values[value] = number
                continue
            fields = types.setdefault(name, {})
            package, kind = name.split(".")
            for field, made, required in release.flat(name):
                if field == "status" and (package, kind) in kinds:
                    made, required = "o", False
                entry = fields.setdefault(field, {"first": number})
                entry.update(last=number, kind=made, required=required)
                reference = made.rsplit("@", 1)
                if len(reference) == 2:
                    wanted.append(reference[1])
    write(kinds, types, enums, life)


def write(kinds, types, enums, life):
    out = [HEAD]
    for (package, kind), entry in sorted(kinds.items(), key=lambda k: (k[0][1], k[0][0])):
        known = life.get((package, kind), {})
        first = minor(known.get("Introduced")) or (entry["first"] if entry["first"] > FIRST else 0)
        removed = minor(known.get("Removed")) or (entry["last"] + 1 if entry["last"] < LAST else 0)
        replaced = re.search(r'Group: "(.*?)", Version: "(.*?)", Kind: "(.*?)"', known.get("Replacement", ""))
        group = "" if entry["group"] == "" else entry["group"] + "/"
        scope = "c" if entry["cluster"] else "n"
        version = package.split("/")[1]
        target = "/".join(g for g in replaced.groups() if g) if replaced else "-"
        out.append(f"k {kind} {group}{version} {package}.{kind} {scope} {first} {minor(known.get('Deprecated'))} {removed} "
                   f"{target}\n")
    for name in sorted(set(types) | set(enums)):
        if name in enums:
            values = [v for v in enums[name] if v]
            values = [] if any(" " in v for v in values) else values
            out.append(f"e {name} {' '.join(sorted(values))}\n" if values else f"e {name}\n")
            continue
        package, words = name.split(".")[0], []
        for field, entry in types[name].items():
            made = entry["kind"].replace(f"@{package}.", ".").replace("@", "")
            since = f"@{entry['first']}" if entry["first"] > FIRST else ""
            until = f"~{entry['last']}" if entry["last"] < LAST else ""
            words.append((field, f"{field}{'!' if entry['required'] else ''}:{made}{since}{until}"))
        first = min((e["first"] for e in types[name].values()), default=FIRST)
        last = max((e["last"] for e in types[name].values()), default=LAST)
        # what holds for the whole type is said where the type is named
        words = [w.replace(f"@{first}", "") if first > FIRST else w for _, w in sorted(words)]
        words = [w.removesuffix(f"~{last}") if last < LAST else w for w in words]
        out.append(f"t {name} {' '.join(words)}\n")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("".join(out))


main()
