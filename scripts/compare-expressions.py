#!/usr/bin/env python3
"""Compares random template expressions with Helm.

    scripts/compare-expressions.py [--count N] [--seed N] [--only FUNCTION] [--cases FILE]

Expressions are composed from our own table of functions, by the types of their parameters, now and then with a wrong
one. Both sides render each; text and error must be equal. What differs is printed, and with --cases written to a file
in the format of testdata/templates/cases.jsonl, with Helm's answer. Exit status: 1 if anything differs.
"""
import argparse
import base64
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading

from helm_peer import ROOT, Helm, HelmError

# Random, slow, of the outside world, or in Go's random order of maps.
LEFT_OUT = {"keys", "values", "shuffle", "lookup", "getHostByName", "include", "template", "derivePassword", "env",
            "expandenv", "encryptAES", "buildCustomCert", "ago", "call", "html", "js", "urlquery", "print", "println"}
VALUES = """\
s: hello world
es: ""
num: "42"
i: 5
f: 2.5
neg: -3
big: 12345678
t: true
n: null
l: [c, a, b, a]
ln: [3, 1, 2.5]
el: []
mixed: [1, a, true, null, [x], {k: v}]
m: {b: 1, a: two, c: {d: [1, 2]}}
em: {}
maps: [{name: a, v: 1}, {name: b}, {v: 3}]
text: "line one\\nline two\\n  three\\n"
uni: "h\\u00e9llo w\\u00f6rld \\u65e5\\u672c"
"""
FILES = {"f/a.txt": "one\ntwo\n", "f/b.yaml": "k: [1, 2]\n"}
STRINGS = ["", "a", "A", "abc", "hello world", "Hello World", "foo-bar_baz", "fooBarBaz", "HTTPServer", "  padded  ", "a,b,c",
           "a.b.c", "1", "42", "-7", "3.14", "1e3", "0x1F", "010", "true", "yes", "null", "~", "1.2.3", "v1.2.3-beta.1+x", "^1.2",
           ">=1.0.0", "~1.2.3", "{\"a\": 1}", "[1, 2]", "a: 1", "- x", "a: [1", "k = 1", "aGVsbG8=", "h\u00e9llo", "\u65e5\u672c\u8a9e", "a\nb\nc", "a\tb",
           "2024-02-29", "2006-01-02", "15:04:05", "1h30m", "http://host:8080/p/a?q=1#f", "a/b/../c.tar.gz", "$1-${2}",
           "[a-z]+", "(\\w)(\\d)?", "a|b", "%d", "%s %v", "%05.2f", "%q", "%T", "x y z", "\u00df", "_0", "a", "b", "name", "UTC",
           "Europe/Berlin", "0644", "-", ",", " ", "quote'd \"x\"", "back\\slash", "<a href='x'>&</a>", "\U0001f600"]
INTS = ["0", "1", "2", "3", "5", "7", "10", "63", "-1", "-4", "100"]
FORMATS = ["%d", "%s", "%v", "%q", "%5d|", "%-8s|", "%08.3f", "%x", "%X", "%t", "%T", "%%", "%+d", "%e", "%g", "%c", "%U", "%#v",
           "%6.2f%%", "%s-%s", "%v %d", "%b", "%o", "%#x", "% x", "%+v", "%[2]s %[1]s", "%!", "%", "%*d", "%.3s", "%.2q"]
LAYOUTS = ["2006-01-02", "15:04:05", "Jan _2 2006", "Monday 02 January", "2006-01-02T15:04:05Z07:00", "3:04PM MST", "02/01/06 .000"]
PATTERNS = ["[a-z]+", "(\\w)(\\w*)", "a|b", "^.", "o", "[^a-c]", "\\s+", "(?i)HELLO", "x*", "\\d{2,}", "(", "[", "\\bw", "(?P<n>l+)"]
VERSIONS = ["1.2.3", "v1.2.3-beta.1+x", "1.2", "2", "0.0.1-alpha", "1.35.0", "v1.29.3-gke.100", "x", ""]
RANGES = ["^1.2", ">=1.0.0", "~1.2.3", "1.x", ">=1.0 <2.0 || 3.x", "!=1.2.3", ">=1.2.0-0", "*", "1.2 - 2.3", "=>1", "<", ""]
DOCUMENTS = ["a: 1", "- x\n- y: [1, 2]", "{\"a\": {\"b\": [1, 2.50, null]}}", "[1, \"x\"]", "a: [1", "5", "null", "", "a: yes\nb: 010\nc: 1e3",
             "a: &x {k: v}\nb: *x", "k = 1\n[t]\nx = [1, 2]", "d = 1979-05-27T07:32:00Z", "a: |\n  x\n  y\n", "? a\n: b", "a: 'x\"y'", "\t"]
# What functions give, for those that serve as arguments of others.
GIVES = {
    "string": """upper lower trim title untitle trunc replace repeat nospace snakecase camelcase kebabcase swapcase quote squote
        cat indent nindent trimSuffix trimPrefix trimAll toString join b64enc b64dec sha256sum toYaml toJson toPrettyJson printf
        initials abbrev wrap substr plural default ternary regexReplaceAll regexFind base dir ext clean semver urlJoin
        toRawJson toToml kindOf typeOf first last get coalesce date toYamlPretty adler32sum b32enc""".split(),
    "int": "int len atoi".split(),
    "int64": "int64 add sub mul div mod max min add1 ceil round toDecimal".split(),
    "float64": "float64 floor ceil round addf mulf".split(),
    "bool": "empty has hasKey contains hasPrefix hasSuffix eq ne lt gt and or not any all regexMatch semverCompare".split(),
    "map[string]interface {}": "dict set unset merge pick omit fromYaml fromJson mergeOverwrite deepCopy urlParse fromToml".split(),
    "[]interface {}": "list append prepend concat uniq without compact rest initial reverse slice sortAlpha splitList until "
                      "untilStep chunk pluck regexFindAll fromYamlArray fromJsonArray tuple toStrings".split(),
}
PATHS = {
    "string": ["s", "es", "num", "text", "uni", "nope", "n"], "int": [], "int64": [], "float64": ["i", "f", "neg", "big"],
    "bool": ["t"], "map[string]interface {}": ["m", "em", "m.c", "nope"], "[]interface {}": ["l", "ln", "el", "mixed", "maps", "m.c.d"],
}
TYPES = list(PATHS)


def quoted(text):
    return "`%s`" % text if "\\" in text and "`" not in text and "\n" not in text else json.dumps(text, ensure_ascii=False)


class Composer:
    def __init__(self, table, seed, only):
        self.random = random.Random(seed)
        self.functions = {f["name"]: f for f in table if not f["varies"] and f["name"] not in LEFT_OUT}
        self.names = [only] if only else sorted(self.functions)

    def expression(self):
        pick = self.random.choice
        call = self.call(pick(self.names), 2)
        form = self.random.random()
        if form < 0.12:
            return "{{ %s }}|{{ %s }}" % (call, self.call(pick(self.names), 1))
        if form < 0.2:
            return "{{ $x := %s }}{{ $x }} {{ kindOf $x }} {{ toJson $x }}" % call
        if form < 0.26:
            return "{{ range $k, $v := %s }}{{ $k }}={{ $v }};{{ else }}none{{ end }}" % call
        if form < 0.3:
            return "{{ with %s }}[{{ . }}]{{ else }}none{{ end }}" % call
        if form < 0.34:
            return "{{- if %s }} yes {{- else }} no {{ end -}}" % call
        if form < 0.42:
            return "{{ %s | %s }}" % (call, self.call(pick(sorted(self.functions)), 1, piped=True))
        if form < 0.52:
            return "{{ %s | toYaml }}" % call
        if form < 0.62:
            return "{{ %s | typeOf }} {{ %s | toJson }}" % (call, call)
        return "{{ %s }}" % call

    def call(self, name, depth, piped=False):
        function = self.functions[name]
        kinds = list(function["params"])
        if function["rest"]:
            kinds += [function["rest"]] * self.random.choice([0, 1, 2, 2, 3, 4])
        if self.random.random() < 0.015:
            kinds = kinds[:-1] if self.random.random() < 0.5 else kinds + ["interface {}"]
        if piped and kinds:
            kinds.pop()
        arguments = [self.special(name, i, len(kinds)) or self.argument(kind, depth) for i, kind in enumerate(kinds)]
        if name == "dict":
            arguments = [quoted(self.random.choice(["a", "b", "k", "x-y", "10", "9"])) if i % 2 == 0 else a
                         for i, a in enumerate(arguments)]
        return " ".join([name, *arguments])

    def special(self, name, index, count):
        pick = self.random.choice
        if self.random.random() < 0.15:
            return None
        if name == "printf" and index == 0:
            return quoted(pick(FORMATS))
        if "regex" in name.lower() and index == 0:
            return quoted(pick(PATTERNS))
        if name == "semverCompare":
            return quoted(pick(RANGES if index == 0 else VERSIONS))
        if name == "semver":
            return quoted(pick(VERSIONS))
        if name in ("fromToml", "mustFromToml"):
            # The messages of faults in TOML are our own.
            return quoted(pick(["a = 1", "[t]\nx = [1, 2]\ny = 1.50", "d = 1979-05-27T07:32:00Z", "", "a.b = 'x'\n[[l]]\nk = true"]))
        if name.startswith(("from", "mustFrom")):
            return quoted(pick(DOCUMENTS))
        if name in ("date", "dateInZone", "date_in_zone", "toDate", "mustToDate", "htmlDate", "htmlDateInZone") and index == 0 and count > 1:
            return quoted(pick(LAYOUTS))
        if name in ("date", "dateInZone", "date_in_zone", "htmlDate", "htmlDateInZone", "unixEpoch", "dateModify", "date_modify"):
            if index == (1 if count > 1 else 0):
                return pick(['(toDate "2006-01-02" "2024-02-29")', '(toDate "2006-01-02T15:04:05" "1999-12-31T23:59:58")', "1700000000"])
        if name in ("duration", "durationRound", "dateModify", "mustDateModify") and index == 0:
            return pick(['"90"', '"1h30m"', "3661", '"-2h"', "90061", '"x"', "0", '"2400h10m5s"'])
        if name == "tpl":
            return pick(['"{{ .Values.s }}"', '"{{ $x := 1 }}{{ $x }}"', '"plain"', '"{{ .nope.x }}"', '"{{ fail `f` }}"', '"{{ . }}"']) if index == 0 \
                else pick(["$", ".", ".Values", '(dict "a" 1)'])
        if name in ("get", "hasKey", "unset", "set", "pluck", "dig") and self.functions[name]["params"][index:index + 1] == ["string"]:
            return quoted(pick(["a", "b", "c", "d", "nope"]))
        return None

    def argument(self, kind, depth):
        pick, chance = self.random.choice, self.random.random()
        if kind in ("interface {}", "reflect.Value"):
            kind = pick(TYPES + ["string", "int", "string"])
            if chance < 0.05:
                return pick(["nil", ".Values.n", ".Values.nope", "(first (list))", "(list)", "(dict)", ".Chart.Name", ".Release.Name",
                             "(.Files.Get \"f/a.txt\")", "(.Files.Lines \"f/a.txt\")", "(semver \"1.2.3\")", "(split \"-\" \"a-b\")",
                             "(splitList \",\" \"a,b\")", "(until 3)", "(.Files.GetBytes \"f/a.txt\")", "'a'", "1.5e3", "0x10"])
        elif chance < 0.03:
            kind = pick(TYPES)
        kind = {"[]string": "[]interface {}"}.get(kind, kind)
        chance = self.random.random()
        if kind not in PATHS:
            return "nil"
        if depth > 0 and chance < 0.45:
            names = [n for n in GIVES[kind] if n in self.functions]
            if names:
                return "(%s)" % self.call(pick(names), depth - 1)
        if PATHS[kind] and chance < 0.65:
            return ".Values." + pick(PATHS[kind])
        if kind == "string":
            return quoted(pick(STRINGS))
        if kind == "int":
            return pick(INTS)
        if kind == "int64":
            return "(int64 %s)" % pick(INTS)
        if kind == "float64":
            return pick(["1.5", "-0.25", "3.0", "1e3", "2.5", "0.1"])
        if kind == "bool":
            return pick(["true", "false"])
        if kind == "[]interface {}":
            return "(list %s)" % " ".join(self.argument("interface {}", 0) for _ in range(self.random.randrange(4)))
        keys = [quoted(k) for k in self.random.sample(["a", "b", "c", "d"], self.random.randrange(3))]
        return "(dict %s)" % " ".join("%s %s" % (k, self.argument("interface {}", 0)) for k in keys)


CARRIER = "templates/z/z/z/carrier.yaml"
NAME = "eval/templates/eval.yaml"


class Asker:
    """Renders one template after the other with Helm."""

    def __init__(self):
        self.helm = Helm()
        self.chart = tempfile.mkdtemp(prefix="compare-expressions-")
        carrier = '{{- fail (printf "@@%%s@@" (include %s . | b64enc)) -}}' % json.dumps(NAME)
        base = {"Chart.yaml": "apiVersion: v2\nname: eval\nversion: 0.1.0\n", CARRIER: carrier, "values.yaml": "{}\n",
                "templates/eval.yaml": "", **FILES}
        for path, text in base.items():
            path = os.path.join(self.chart, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        self.values = os.path.join(self.chart, "user.yaml")
        with open(self.values, "w", encoding="utf-8") as f:
            f.write(VALUES)
        os.mkdir(os.path.join(self.chart, "alone"))

    def ask(self, template):
        with open(os.path.join(self.chart, "templates/eval.yaml"), "w", encoding="utf-8", newline="") as f:
            f.write(template)
        try:
            self.helm.render(self.chart, [self.values])
        except HelmError as e:
            error = str(e)
            found = re.search(r"\): @@([A-Za-z0-9+/=]*)@@", error)
            if found:
                text = base64.b64decode(found.group(1)).replace(b"<no value>", b"")
                return {"out": text.decode("utf-8", "replace")}
            inner = re.match(r"template: \S+carrier\.yaml:\d+:\d+: executing \S+ at <.*?>: error calling include: ", error, re.S)
            return {"error": error[inner.end():] if inner else error}
        return {"error": "the carrier did not run"}


# What tells the time of the question where a date is none.
CLOCK = re.compile(r"\b(?:date|date_in_zone|dateInZone|htmlDate|htmlDateInZone|dateModify|date_modify)\b")


def equal(case, theirs, mine):
    """Whether both answers are the same, but for what no two renderings share or what we bound on purpose."""
    helm, ours = comparable(theirs), comparable(mine)
    if helm == ours or "0xc0" in helm:
        return True
    bounded = "too much memory" in ours or "larger than 256 MiB" in ours
    if bounded and (helm == "E the engine died" or len(helm) > 100_000_000):
        return True
    if "Error:toml: " in ours or '"Error":"toml: ' in ours:
        helm, ours = (re.sub(r"toml: line .*", "toml", text, flags=re.S) for text in (helm, ours))
    if "error calling decryptAES: " in ours:
        helm, ours = (re.sub(r"(error calling decryptAES: ).*", r"\1", text) for text in (helm, ours))
    if CLOCK.search(case["t"]):
        helm, ours = (re.sub(r"\d", "0", text) for text in (helm, ours))
    return helm == ours


def comparable(answer):
    """`fail` names the outermost template, which is another one for Helm here."""
    if "error" in answer:
        return "E " + re.sub(r"execution error at \([^)]*\)", "execution error", answer["error"])
    return "T " + answer["out"]


def ours(folder, cases=None):
    """Asks the test that speaks for us; without cases it tells the table of functions."""
    env = dict(os.environ, EXPRESSIONS_TABLE=os.path.join(folder, "table"))
    if cases is not None:
        env.update(EXPRESSIONS_IN=os.path.join(folder, "in"), EXPRESSIONS_OUT=os.path.join(folder, "out"))
        with open(env["EXPRESSIONS_IN"], "w", encoding="utf-8") as f:
            f.writelines(json.dumps(case) + "\n" for case in cases)
    command = ["cargo", "test", "--quiet", "--lib", "--", "--ignored", "expressions_are_answered_for_the_script"]
    subprocess.run(command, check=True, cwd=ROOT, env=env, stdout=sys.stderr)
    with open(env["EXPRESSIONS_OUT"] if cases is not None else env["EXPRESSIONS_TABLE"], encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="a function that every expression calls")
    parser.add_argument("--cases", help="a file for the cases that differ")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", type=int, default=3, help="differences shown of each function")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="compare-expressions-")
    composer = Composer(ours(folder), options.seed, options.only)
    templates = list(dict.fromkeys(composer.expression() for _ in range(options.count)))
    answers = [None] * len(templates)

    def work(first):
        asker = Asker()
        for i in range(first, len(templates), options.jobs):
            answers[i] = asker.ask(templates[i])
        asker.helm.__exit__()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = {path: text for path, text in FILES.items()}
    cases = [{"t": t, "values_yaml": VALUES, "files": files} for t in templates]
    found = ours(folder, cases)
    groups, refused = collections.defaultdict(list), 0
    for case, theirs, mine in zip(cases, answers, found):
        refused += "error" in theirs
        if not equal(case, theirs, mine):
            name = re.match(r"\{\{-? (?:\$x := |if |with |range \$k, \$v := )?(\w+)", case["t"])
            groups[name.group(1) if name else "?"].append((case, theirs, mine))
    for name, list_ in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        print("== %s: %d" % (name, len(list_)))
        for case, theirs, mine in sorted(list_, key=lambda item: len(item[0]["t"]))[:options.show]:
            print("  %s\n    helm %r\n    ours %r" % (case["t"], comparable(theirs), comparable(mine)))
    if options.cases:
        with open(options.cases, "w", encoding="utf-8") as f:
            for list_ in groups.values():
                f.writelines(json.dumps({**case, **theirs}, ensure_ascii=False) + "\n" for case, theirs, _ in list_)
    differing = sum(map(len, groups.values()))
    print("%d expressions (Helm refuses %d), %d differ" % (len(templates), refused, differing))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
