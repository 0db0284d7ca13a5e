{{ define "tpl.inner" }}inner of {{ .Release.Namespace }}{{ end }}
