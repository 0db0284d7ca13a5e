{{- define "shared.name" -}}root-{{ .Chart.Name }}{{- end -}}
