{{- define "labels" }}
app: web
version: {{ .Values.port }}
{{- end }}
