"""Large deterministic charts in the styles that public charts have, for `make bench-templates`.

`write_all(FOLDER)` writes them; each function below is one style and fills one chart: a mapping of paths to texts.
"""
import json
from pathlib import Path

HELPERS = """\
{{- define "lib.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "lib.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- define "lib.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "lib.selector" -}}
app.kubernetes.io/name: {{ include "lib.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "lib.labels" -}}
helm.sh/chart: {{ include "lib.chart" . }}
{{ include "lib.selector" . }}
{{- if .Chart.AppVersion }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "lib.image" -}}
{{- $registry := default .image.registry ((.root.Values.global).imageRegistry) -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion | toString -}}
{{- if $registry -}}{{ printf "%s/%s:%s" $registry .image.repository $tag }}{{- else -}}
{{ printf "%s:%s" .image.repository $tag }}{{- end -}}
{{- end -}}
"""


def meta(name, dependencies=()):
    text = f"apiVersion: v2\nname: {name}\nversion: 1.2.3\nappVersion: 4.5.6\n"
    return text + ("dependencies:\n" + "".join(dependencies) if dependencies else "")


def component(index):
    """The values of one component, as a chart of services has them."""
    return {
        "enabled": True,
        "replicas": index % 5 + 1,
        "image": {"registry": "registry.example.com", "repository": f"team/service-{index}", "tag": f"1.{index}.0"},
        "env": {f"SETTING_{n}": f"value-{index}-{n}" for n in range(12)},
        "ports": [{"name": f"p{n}", "port": 8000 + n, "protocol": "TCP"} for n in range(3)],
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": f"{index}m"}},
        "annotations": {"example.com/owner": f"team-{index % 7}", "example.com/tier": "backend"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": f"v{index}", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
             "labelSelector": {"matchLabels": {"app": f"service-{index}"}}}}]}},
    }


DEPLOYMENT = """\
{{- $c := index .Values.components "NAME" }}
{{- if $c.enabled }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "lib.fullname" . }}-NAME
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "lib.labels" . | nindent 4 }}
    app.kubernetes.io/component: NAME
  {{- with $c.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  replicas: {{ $c.replicas }}
  selector:
    matchLabels:
      {{- include "lib.selector" . | nindent 6 }}
      app.kubernetes.io/component: NAME
  template:
    metadata:
      labels:
        {{- include "lib.labels" . | nindent 8 }}
        app.kubernetes.io/component: NAME
    spec:
      serviceAccountName: {{ include "lib.fullname" . }}
      containers:
        - name: NAME
          image: {{ include "lib.image" (dict "image" $c.image "root" .) | quote }}
          imagePullPolicy: {{ $c.image.pullPolicy | default "IfNotPresent" }}
          env:
            {{- range $key, $value := $c.env }}
            - name: {{ $key | upper | replace "-" "_" }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            {{- range $c.ports }}
            - name: {{ .name }}
              containerPort: {{ .port }}
              protocol: {{ .protocol }}
            {{- end }}
          {{- if and $c.probes (not $c.probes.disabled) }}
          livenessProbe: {{- toYaml $c.probes.liveness | nindent 12 }}
          {{- end }}
          resources:
            {{- toYaml $c.resources | nindent 12 }}
      {{- with $c.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $c.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "lib.fullname" . }}-NAME
  labels:
    {{- include "lib.labels" . | nindent 4 }}
spec:
  type: {{ ($c.service).type | default "ClusterIP" }}
  ports:
    {{- range $index, $port := $c.ports }}
    - { name: {{ $port.name | quote }}, port: {{ add $port.port $index }}, targetPort: {{ $port.name }} }
    {{- end }}
  selector:
    {{- include "lib.selector" . | nindent 4 }}
{{- end }}
"""


def includes():
    """Many workloads, each with a score of includes: the usual chart."""
    names = [f"service-{n}" for n in range(80)]
    files = {"templates/_helpers.tpl": HELPERS}
    files["values.yaml"] = {"components": {name: component(n) for n, name in enumerate(names)}}
    files |= {f"templates/{name}.yaml": DEPLOYMENT.replace("NAME", name) for name in names}
    return files


def tpl():
    """Values that are templates, rendered one by one; half of them are all different."""
    setting = "{{ .Release.Name }}-%d-{{ include \"lib.name\" . }}-{{ .Values.domain | upper }}"
    same = "{{ .Release.Name }}.{{ .Values.domain }}"
    groups = {f"group-{g}": {f"key-{n}": setting % (g * 100 + n) if n % 2 else same for n in range(50)}
              for g in range(40)}
    template = """\
{{- range $name, $group := .Values.groups }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ tpl "{{ include \\"lib.fullname\\" . }}" $ }}-{{ $name }}
data:
  {{- range $key, $value := $group }}
  {{ $key }}: {{ tpl $value $ | quote }}
  {{- end }}
  all: |
    {{- tpl (toYaml $group) $ | nindent 4 }}
{{- end }}
"""
    return {"templates/_helpers.tpl": HELPERS, "templates/maps.yaml": template,
            "values.yaml": {"domain": "example.com", "groups": groups}}


def to_yaml():
    """Whole trees of values printed by toYaml."""
    trees = {f"tree-{n}": {f"c{m}": component(n * 10 + m) for m in range(10)} for n in range(40)}
    template = """\
{{- range $name, $tree := .Values.trees }}
---
apiVersion: example.com/v1
kind: Tree
metadata:
  name: {{ $name }}
  labels: {{- include "lib.labels" $ | nindent 4 }}
spec:
  {{- toYaml $tree | nindent 2 }}
{{- end }}
"""
    return {"templates/_helpers.tpl": HELPERS, "templates/trees.yaml": template, "values.yaml": {"trees": trees}}


def subcharts():
    """An umbrella: subcharts in two levels, globals, conditions and aliases."""
    files = {"values.yaml": {"global": {"imageRegistry": "mirror.example.com"}}}
    dependencies = []
    for n in range(24):
        name = f"sub{n}"
        dependencies.append(f"  - name: {name}\n    version: 1.2.3\n    condition: {name}.enabled\n")
        files["values.yaml"][name] = {"enabled": n % 6 != 5, "components": {"worker": {"replicas": n}}}
        folder = f"charts/{name}/"
        files[folder + "Chart.yaml"] = meta(name, [f"  - name: {name}-db\n    version: 1.2.3\n"])
        files[folder + "values.yaml"] = {"components": {c: component(n) for c in ("web", "worker", "cron")}}
        files[folder + "templates/_helpers.tpl"] = HELPERS.replace("lib.", f"{name}.")
        for c in ("web", "worker", "cron"):
            files[f"{folder}templates/{c}.yaml"] = DEPLOYMENT.replace("lib.", f"{name}.").replace("NAME", c)
        inner = f"{folder}charts/{name}-db/"
        files[inner + "Chart.yaml"] = meta(name + "-db")
        files[inner + "values.yaml"] = {"components": {"db": component(n)}}
        files[inner + "templates/_helpers.tpl"] = HELPERS.replace("lib.", f"{name}db.")
        files[inner + "templates/db.yaml"] = DEPLOYMENT.replace("lib.", f"{name}db.").replace("NAME", "db")
    files["Chart.yaml"] = meta("bench-subcharts", dependencies)
    return files


def ranges():
    """Nested loops with variables, conditions and arithmetic."""
    template = """\
{{- $total := 0 }}
{{- range $i := until 300 }}
{{- $list := list }}
{{- range $j, $name := $.Values.names }}
{{- if and (gt $j 1) (ne (mod $j 3) 0) }}
{{- $list = append $list (printf "%s-%03d-%d" $name $i $j) }}
{{- end }}
{{- end }}
{{- $total = add $total (len $list) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: numbers-{{ $i }}
data:
  total: {{ $total | quote }}
  names: {{ join "," $list | quote }}
  {{- range $n, $item := $list }}
  {{- if lt $n 8 }}
  item-{{ $n }}: {{ $item | trunc 20 | title | quote }}
  {{- end }}
  {{- end }}
{{- end }}
"""
    return {"templates/numbers.yaml": template, "values.yaml": {"names": [f"name{n}" for n in range(30)]}}


def merges():
    """Defaults and overrides merged for each component, and the result shown through helpers."""
    helpers = HELPERS + """\
{{- define "lib.merged" -}}
{{- $base := deepCopy .root.Values.defaults -}}
{{- $group := index .root.Values.groups .component.group -}}
{{- mergeOverwrite $base (deepCopy $group) (deepCopy .component.settings) | toYaml -}}
{{- end -}}
"""
    template = """\
{{- range $name, $component := .Values.components }}
{{- $merged := include "lib.merged" (dict "root" $ "component" $component) | fromYaml }}
{{- $labels := merge (dict "component" $name) $component.labels (dict "release" $.Release.Name) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  labels: {{- toYaml $labels | nindent 4 }}
data:
  config.yaml: |
    {{- toYaml $merged | nindent 4 }}
  keys: {{ keys $merged | sortAlpha | join "," | quote }}
  {{- $_ := set $merged "name" $name }}
  config.json: {{ $merged | toJson | quote }}
{{- end }}
"""
    values = {
        "defaults": component(0),
        "groups": {f"g{n}": {"resources": {"limits": {"cpu": f"{n}"}}, "env": {"GROUP": f"g{n}"}} for n in range(8)},
        "components": {f"component-{n}": {"group": f"g{n % 8}", "labels": {"team": f"t{n}"},
                                          "settings": {"replicas": n, "env": {"NAME": f"c{n}"}}} for n in range(150)},
    }
    return {"templates/_helpers.tpl": helpers, "templates/components.yaml": template, "values.yaml": values}


def crds():
    """Large definitions of custom resources with hardly an action in them."""
    def schema(depth, seed):
        if depth == 0:
            text = f"Field {seed} says how the controller treats the resource; see the documentation: it is optional."
            return {"type": "string", "description": text, "maxLength": seed}
        fields = {f"field{n}": schema(depth - 1, seed * 6 + n) for n in range(6)}
        return {"type": "object", "description": f"Level {depth}, \"{seed}\".", "properties": fields}

    files = {"values.yaml": {"install": True}, "templates/_helpers.tpl": HELPERS}
    for n in range(12):
        head = (
            "{{- if .Values.install }}\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n"
            f"  name: kind{n}s.example.com\n  labels:\n    {{{{- include \"lib.labels\" . | nindent 4 }}}}\nspec:\n"
            f"  group: example.com\n  names: {{kind: Kind{n}, plural: kind{n}s}}\n  scope: Namespaced\n  versions:\n"
            "    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n"
        )
        body = "".join("          " + line + "\n" for line in block(schema(4, n + 1)).splitlines())
        files[f"templates/crd-{n}.yaml"] = head + body + "{{- end }}\n"
    return files


def small_files():
    """Hundreds of small templates and files."""
    files = {"templates/_helpers.tpl": HELPERS, "values.yaml": {"level": "info"}}
    for n in range(400):
        files[f"templates/part{n % 20}/map-{n}.yaml"] = (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"lib.fullname\" . }}-%d\n"
            "  labels: {{- include \"lib.labels\" . | nindent 4 }}\ndata:\n  level: {{ .Values.level }}\n" % n
        )
        files[f"config/file-{n}.conf"] = f"[section-{n}]\nkey = value-{n}\nlevel = debug\n"
    files["templates/all.yaml"] = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: all
data:
  {{- (.Files.Glob "config/*.conf").AsConfig | nindent 2 }}
---
apiVersion: v1
kind: Secret
metadata:
  name: all
data:
  {{- (.Files.Glob "config/*1.conf").AsSecrets | nindent 2 }}
"""
    return files


def big_values():
    """A megabyte of values of which a part is printed."""
    values = {"parts": {f"part-{n}": component(n) for n in range(900)}}
    template = """\
{{- range $name, $part := .Values.parts }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  annotations:
    image: {{ printf "%s/%s:%s" $part.image.registry $part.image.repository $part.image.tag | quote }}
spec:
  ports:
    {{- range $part.ports }}
    - {name: {{ .name }}, port: {{ .port }}}
    {{- end }}
{{- end }}
"""
    return {"templates/services.yaml": template, "values.yaml": values}


def logic():
    """Conditions, defaults, versions and capabilities, as charts that support many clusters have."""
    template = """\
{{- range $i, $rule := .Values.rules }}
{{- $kube := default $.Capabilities.KubeVersion.GitVersion $rule.kubeVersion }}
{{- if and (semverCompare ">=1.14.0-0" $kube) (semverCompare "<9.9.9-9" $kube) $rule.enabled }}
{{- $settings := dict "name" $rule.name "index" $i "labels" (dict "a" "b") "root" $ }}
---
apiVersion: {{ if $.Capabilities.APIVersions.Has "monitoring.coreos.com/v2" }}a/v2{{ else }}a/v1{{ end }}
kind: {{ ternary "Rule" "Alert" (eq (mod $i 2) 0) }}
metadata:
  name: {{ printf "%s-%s" $.Release.Name (lower $rule.name) | trunc 63 | trimSuffix "-" }}
  {{- if or $rule.labels (gt $i 10) (and (hasKey $rule "extra") (not (empty $rule.extra))) }}
  labels:
    {{- range $k, $v := mustMerge (dict) (default dict $rule.labels) $settings.labels }}
    {{ $k }}: {{ $v | quote }}
    {{- end }}
  {{- end }}
spec:
  severity: {{ coalesce $rule.severity $.Values.severity "none" }}
  {{- if kindIs "map" $rule.extra }}
  extra: {{ toJson $rule.extra }}
  {{- else if kindIs "slice" $rule.extra }}
  extra: [{{ join ", " $rule.extra }}]
  {{- else }}
  extra: {{ $rule.extra | default "nothing" | quote }}
  {{- end }}
  expr: {{ printf `rate(requests_total{job="%s"}[5m]) > %v` $rule.name $rule.limit | squote }}
  summary: 'Instance {{`{{ $labels.instance }}`}} of {{ $rule.name | replace "-" " " | title }}'
{{- end }}
{{- end }}
"""
    extras = [{"a": 1, "b": [1, 2]}, ["x", "y"], "text", None]
    rules = [{"name": f"Rule-{n}", "enabled": n % 9 != 0, "limit": n, "extra": extras[n % 4],
              "labels": {f"l{m}": f"v{m}" for m in range(n % 4)}} for n in range(600)]
    return {"templates/rules.yaml": template, "values.yaml": {"severity": "warning", "rules": rules}}


def library():
    """A library chart whose helpers render values of any kind, as large collections of charts share one."""
    helpers = HELPERS + """\
{{- define "lib.render" -}}
{{- $value := typeIs "string" .value | ternary .value (.value | toYaml) -}}
{{- if contains "{{" (toJson .value) -}}
{{- tpl $value .context -}}
{{- else -}}
{{- $value -}}
{{- end -}}
{{- end -}}
{{- define "lib.standard" -}}
{{- if and (hasKey . "extra") (hasKey . "context") -}}
{{- $default := dict "app" (include "lib.name" .context) "release" .context.Release.Name -}}
{{- with .context.Chart.AppVersion -}}{{- $_ := set $default "version" . -}}{{- end -}}
{{ template "lib.render" (dict "value" (merge (include "lib.render" (dict "value" .extra "context" .context) | fromYaml) $default) "context" .context) }}
{{- end -}}
{{- end -}}
"""
    template = """\
{{- range $name, $c := .Values.components }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "lib.fullname" $ }}-{{ $name }}
  labels: {{- include "lib.standard" (dict "extra" $c.labels "context" $) | nindent 4 }}
  annotations: {{- include "lib.render" (dict "value" $c.annotations "context" $) | nindent 4 }}
spec:
  template:
    metadata:
      labels: {{- include "lib.standard" (dict "extra" $c.labels "context" $) | nindent 8 }}
      annotations:
        checksum/config: {{ include "lib.render" (dict "value" $c.config "context" $) | sha256sum }}
    spec:
      affinity: {{- include "lib.render" (dict "value" $c.affinity "context" $) | nindent 8 }}
      containers:
        - name: main
          image: {{ include "lib.image" (dict "image" $c.image "root" $) }}
          args: {{- include "lib.render" (dict "value" $c.args "context" $) | nindent 12 }}
          env: {{- include "lib.render" (dict "value" $c.list "context" $) | nindent 12 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "lib.fullname" $ }}-{{ $name }}
data:
  config.yaml: |
    {{- include "lib.render" (dict "value" $c.config "context" $) | nindent 4 }}
{{- end }}
"""
    components = {}
    for n in range(90):
        components[f"part-{n}"] = component(n) | {
            "labels": {"team": f"team-{n}", "part": "{{ .Release.Name }}-part"},
            "args": ["--listen=0.0.0.0", "--name={{ include \"lib.fullname\" . }}", f"--shard={n}"],
            "list": [{"name": f"E{m}", "value": f"v-{n}-{m}"} for m in range(10)],
            "config": "server:\n  name: {{ .Release.Name }}\n  shard: %d\n  peers:\n%s" % (
                n, "".join(f"    - peer-{m}.example.com\n" for m in range(20))),
        }
    return {"Chart.yaml": meta("bench-library", ["  - name: lib\n    version: 1.2.3\n"]),
            "charts/lib/Chart.yaml": meta("lib") + "type: library\n",
            "charts/lib/templates/_lib.tpl": helpers, "templates/parts.yaml": template,
            "values.yaml": {"components": components}}


def dashboards():
    """Large JSON files shown as text and as parsed data."""
    files = {"values.yaml": {"parsed": 6}}
    for n in range(24):
        panels = [{"id": p, "title": f"Panel {p} of {n}", "type": "timeseries", "gridPos": {"h": 8, "w": 12, "x": 0},
                   "targets": [{"expr": f"sum(rate(metric_{p}{{job=\"$job\"}}[5m])) by (pod)", "refId": "A"}]}
                  for p in range(60)]
        files[f"dashboards/board-{n}.json"] = json.dumps({"title": f"Board {n}", "panels": panels}, indent=2)
    files["templates/boards.yaml"] = """\
{{- range $path, $_ := .Files.Glob "dashboards/*.json" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ base $path | trimSuffix ".json" }}
  annotations:
    checksum: {{ $.Files.Get $path | sha256sum }}
data:
  {{ base $path }}: |
    {{- $.Files.Get $path | nindent 4 }}
{{- end }}
{{- range $n := until (int .Values.parsed) }}
{{- $board := $.Files.Get (printf "dashboards/board-%d.json" $n) | fromJson }}
---
apiVersion: example.com/v1
kind: Dashboard
metadata:
  name: parsed-{{ $n }}
spec:
  title: {{ $board.title | quote }}
  titles: {{ range $board.panels }}{{ .title | replace " " "_" | lower }} {{ end }}
  json: {{ $board | toPrettyJson | quote }}
{{- end }}
"""
    return files


def texts():
    """Text functions: regular expressions, hashes, encodings, splits."""
    template = """\
{{- range $n, $line := .Values.lines }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ regexReplaceAll "[^a-z0-9-]+" (lower $line) "-" | trunc 40 | trimAll "-" }}-{{ $n }}
  annotations:
    sum: {{ sha256sum $line }}
    short: {{ adler32sum $line | quote }}
stringData:
  words: {{ splitList " " $line | sortAlpha | uniq | join "," | quote }}
  camel: {{ $line | camelcase | quote }}
  found: {{ regexFindAll "[a-z]+[0-9]+" $line -1 | join "+" | quote }}
  {{- if regexMatch "^[A-Z]" $line }}
  wrapped: |
    {{- wrap 30 $line | nindent 4 }}
  {{- end }}
data:
  text: {{ $line | b64enc }}
{{- end }}
"""
    words = ["Alpha", "beta12", "Gamma", "delta7", "eps ilon", "zeta99", "eta/theta", "iota_kappa", "lambda"]
    lines = [" ".join(words[(n * 7 + m * 5) % len(words)] for m in range(14)) + f" {n}" for n in range(500)]
    return {"templates/secrets.yaml": template, "values.yaml": {"lines": lines}}


STYLES = [includes, tpl, to_yaml, subcharts, ranges, merges, crds, small_files, big_values, logic, library, dashboards,
          texts]


def block(value, indent=0):
    """Returns a value in block style; scalars as JSON has them."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        def entry(key, item):
            nested = isinstance(item, (dict, list)) and item
            return f"{pad}{key}:" + ("\n" + block(item, indent + 1) if nested else f" {json.dumps(item)}\n")
        return "".join(entry(key, item) for key, item in value.items())
    if isinstance(value, list) and value:
        def item_text(item):
            nested = isinstance(item, (dict, list)) and item
            return f"{pad}- {block(item, indent + 1).lstrip()}" if nested else f"{pad}- {json.dumps(item)}\n"
        return "".join(item_text(item) for item in value)
    return f"{pad}{json.dumps(value)}\n"


def write_all(folder):
    """Writes every chart below a folder; returns their paths."""
    charts = []
    for style in STYLES:
        name = style.__name__.replace("_", "-")
        chart = Path(folder) / name
        files = {"Chart.yaml": meta(f"bench-{name}"), **style()}
        for path, text in files.items():
            place = chart / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text if isinstance(text, str) else block(text), encoding="utf-8")
        charts.append(chart)
    return charts
