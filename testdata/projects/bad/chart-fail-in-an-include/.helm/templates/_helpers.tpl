{{- define "check" -}}
{{- fail "no way" -}}
{{- end -}}
