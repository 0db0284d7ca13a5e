//! Generates a project: images of Dockerfiles and Stapel, each with files of its own, and a chart.

use std::path::Path;
use std::process::Command;

/// Writes and commits a chart of `templates` files, each with three resources, in place of the one file.
pub fn spread(dir: &Path, templates: usize) {
    let folder = dir.join(".helm/templates");
    std::fs::remove_file(folder.join("services.yaml")).unwrap();
    for number in 0..templates {
        let image = format!("{{{{- range $name, $image := pick .Values.werf.image \"s{number}\" }}}}");
        let text = TEMPLATE.replacen("{{- range $name, $image := .Values.werf.image }}", &image, 1);
        std::fs::write(folder.join(format!("t{number}.yaml")), text).unwrap();
    }
    for args in
        [&["add", "-A"][..], &["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "templates"]]
    {
        assert!(Command::new("git").args(args).current_dir(dir).status().unwrap().success());
    }
}

/// Writes and commits a project; returns the number of its resources.
pub fn generate(dir: &Path, images: usize, files: usize) -> usize {
    let mut config = String::from("project: bench\nconfigVersion: 1\n");
    for image in 0..images {
        let folder = dir.join(format!("services/s{image}/src"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..files {
            std::fs::write(folder.join(format!("f{file}.txt")), format!("service {image} file {file}\n")).unwrap();
        }
        if image % 2 == 0 {
            let dockerfile = "FROM scratch\nARG LEVEL=info\nENV LEVEL=$LEVEL\nCOPY src /app\nCMD [\"/app/f0.txt\"]\n";
            std::fs::write(dir.join(format!("services/s{image}/Dockerfile")), dockerfile).unwrap();
            std::fs::write(dir.join(format!("services/s{image}/.dockerignore")), "**/*.log\n.git\n").unwrap();
            config += &format!("---\nimage: s{image}\ndockerfile: Dockerfile\ncontext: services/s{image}\n");
        } else {
            config += &format!(
                "---\nimage: s{image}\nfrom: scratch\ngit:\n- add: /services/s{image}\n  to: /app\n  excludePaths: ['**/*.log']\n"
            );
        }
    }
    std::fs::write(dir.join("werf.yaml"), config).unwrap();
    let templates = dir.join(".helm/templates");
    std::fs::create_dir_all(&templates).unwrap();
    std::fs::write(dir.join(".helm/values.yaml"), "replicas: 2\nport: 8080\n").unwrap();
    std::fs::write(
        templates.join("_helpers.tpl"),
        "{{- define \"labels\" -}}\napp.kubernetes.io/name: {{ .name }}\napp.kubernetes.io/instance: {{ .release }}\n{{- end -}}\n",
    )
    .unwrap();
    std::fs::write(templates.join("services.yaml"), TEMPLATE).unwrap();
    for args in [
        &["init", "-q"][..],
        &["add", "-A"],
        // No second one in the background.
        &["config", "gc.auto", "0"],
        &["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "first"],
        &["gc", "-q"],
    ] {
        assert!(Command::new("git").args(args).current_dir(dir).status().unwrap().success());
    }
    images * 3
}

const TEMPLATE: &str = r#"{{- range $name, $image := .Values.werf.image }}
{{- $labels := include "labels" (dict "name" $name "release" $.Release.Name) }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  replicas: {{ $.Values.replicas }}
  selector:
    matchLabels: {{- $labels | nindent 6 }}
  template:
    metadata:
      labels: {{- $labels | nindent 8 }}
    spec:
      containers:
        - name: app
          image: {{ $image | quote }}
          ports:
            - containerPort: {{ $.Values.port }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  selector: {{- $labels | nindent 4 }}
  ports:
    - port: {{ $.Values.port }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
data:
  name: {{ $name | upper | quote }}
{{- end }}
"#;
