{{ define "part" }}part of {{ .Template.Name }}{{ end }}kind: Never
