{{/* Labels of every resource. Call with (list $ "component"). */}}
{{- define "shop.labels" -}}
{{- $root := index . 0 -}}
{{ include "shop.selector" . }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
shop.example/env: {{ include "shop.env" $root }}
{{- end }}

{{/* Labels that select the pods of a component; they never change. */}}
{{- define "shop.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{/* The environment. */}}
{{- define "shop.env" -}}
{{ .Values.werf.env | default "dev" }}
{{- end }}

{{/* A value that differs by environment. Call with (list $ .Values.some.map). */}}
{{- define "shop.byEnv" -}}
{{- $map := index . 1 -}}
{{ pluck (include "shop.env" (index . 0)) $map | first | default $map._default }}
{{- end }}
