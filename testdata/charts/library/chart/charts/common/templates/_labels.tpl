{{- define "common.labels" -}}
app: {{ .Chart.Name }}
level: {{ .Values.level | default "root" }}
{{- end -}}
{{- define "common.merge" -}}
{{- $top := first . -}}{{- $over := fromYaml (include (index . 1) $top) -}}{{- $base := fromYaml (include (index . 2) $top) -}}
{{- toYaml (merge $over $base) -}}
{{- end -}}
