//! Reading werf.yaml is total: whatever becomes of a valid configuration, it is read, or a finding says where it is wrong.
//!
//! A seed gives every case, so a failure is run again by its number: `MUTATION=123 cargo test --test suite mutations`.
//! A few thousand cases run by default; `MUTATIONS=100000` runs more, `MUTATIONS_FROM` others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use stagewright::config::{Commit, Inputs, load};
use stagewright::diag::{Diagnostics, Severity};
use stagewright::source::{MemoryObjects, Sources};

/// Cases that run by default.
const FEW: u64 = 3_000;

/// A case that takes longer hangs: the slowest take a second or two without optimization.
const PATIENCE: Duration = Duration::from_mins(2);

/// Texts with every directive of the language.
const SEEDS: &[&str] = &[META, DOCKERFILE, STAPEL, TEMPLATE, OLD];

const META: &str = r#"configVersion: 1
project: shop
build:
  cacheVersion: v1
  platform: [linux/amd64, linux/arm64]
  staged: no
  imageSpec: {author: me, clearHistory: true, config: {labels: {a: b}, removeLabels: [x, /y.*/], keepEssentialWerfLabels: yes}}
deploy:
  helmChartDir: .helm
  helmChartConfig: {appVersion: "1.0"}
  helmRelease: "[[ project ]]-[[ env ]]"
  helmReleaseSlug: false
  namespace: "[[ project ]]"
  namespaceSlug: true
cleanup:
  disable: false
  keepImagesBuiltWithinLastNHours: 2
  keepPolicies:
  - references: {branch: /.*/, limit: {last: 10, in: 168h, operator: And}}
    imagesPerReference: {last: 2, in: 1h30m, operator: Or}
  - references:
      tag: v1.0
gitWorktree:
  forceShallowClone: false
  allowUnshallow: true
---
image: a
from: scratch
"#;

const DOCKERFILE: &str = r#"configVersion: 1
project: shop
---
image: [web, "web/worker"]
dockerfile: Dockerfile
context: ./app
contextAddFiles:
- a/b
target: run
args: {A: 1, B: 1.50, C: yes, D: ~, E: "x"}
addHost: [a:1, b:2]
network: host
ssh: default
staged: true
cacheVersion: 2020-01-01
secrets:
- env: TOKEN
- {id: f, src: ~/.file}
- {id: v, value: text}
dependencies:
- image: base
  imports:
  - {type: ImageName, targetBuildArg: BASE}
  - {type: ImageDigest, targetBuildArg: DIGEST}
imageSpec:
  author: me
  config:
    env: {PATH: "/bin:${PATH}"}
    expose: [80]
    cmd: [a, "b c"]
    healthcheck: {test: [CMD, x], interval: 30, startperiod: 3, retries: 2}
    user: "1000:1000"
    clearEntrypoint: true
---
image: base
final: false
from: alpine:3.20
"#;

const STAPEL: &str = r#"configVersion: 1
project: shop
---
image: app
from: &base ubuntu:24.04
fromCacheVersion: 1.10
platform: [linux/amd64]
git:
- add: /src
  to: /app
  owner: app
  group: "1000"
  includePaths: ["**/*.go", go.mod]
  excludePaths: vendor
  stageDependencies:
    install: go.mod
    beforeSetup: ["*.go"]
    setup:
    - cmd/**
- url: https://git.example.org/group/project.git
  tag: v1.0
  add: /
  to: /lib
  basicAuth: {username: u, password: {env: PASSWORD}}
shell:
  beforeInstall: apt-get update
  install:
  - |
    go build \
      ./...
  - echo done
  setupCacheVersion: "2"
docker:
  ENV: {A: b}
  EXPOSE: ['80', "443"]
  ENTRYPOINT: [/app]
  WORKDIR: /app
import:
- from: tool
  add: /usr/bin/tool
  to: /usr/local/bin/tool
  after: install
- from: docker.io/library/nginx:1.27
  add: /etc/nginx
  before: setup
  includePaths: [conf.d]
mount:
- {from: tmp_dir, to: /tmp}
dependencies:
- image: tool
  before: install
  imports: [{type: ImageTag, targetEnv: TOOL_TAG}]
---
image: tool
final: false
from: *base
"#;

const TEMPLATE: &str = r#"{{- $_ := set . "Project" "shop" }}
configVersion: 1
project: {{ .Project | quote }}
{{- range $i, $name := list "one" "two" "three" }}
---
{{ include "image" (dict "name" $name "index" $i) }}
{{- end }}
{{- define "image" }}
image: {{ .name }}
{{- if eq .index 1 }}
final: false
{{- end }}
from: alpine:{{ add 3 .index }}
shell:
  install: {{ tpl "echo {{ .name | upper }}" . | toJson }}
{{- end }}
{{- range $path, $text := .Files.Glob "conf/*" }}
---
image: {{ base $path | trimSuffix ".yaml" }}
{{ (fromYaml $text) | toYaml }}
{{- end }}
"#;

const OLD: &str = r#"project: shop
configVersion: 1
---
artifact: build
from: golang:1.24
ansible:
  beforeInstall:
  - name: packages
    apt: {name: [git, make]}
  setup:
  - block:
    - shell: make
    rescue:
    - debug: {msg: failed}
git:
- to: /src
---
image: ~
fromArtifact: build
import:
- artifact: build
  add: /out
  to: /app
  after: setup
docker: {CMD: "run it"}
"#;

/// What is put in the place of a value.
const VALUES: &[&str] = &[
    "",
    "~",
    "[]",
    "{}",
    "[~]",
    "{a: [1, {b: 2}]}",
    "5",
    "-1",
    "1e400",
    "0x7fffffffffffffffff",
    "yes",
    "\"true\"",
    "2020-01-01",
    "*unknown",
    "&a [*a]",
    "!!binary x",
    "!local y",
    "|",
    ">-",
    "'",
    "\"",
    "[",
    "}",
    "- x",
    "a: b: c",
    "../..",
    "/",
    "/x/../..",
    "**",
    "[a-",
    "{a,",
    "\\",
    "{{ .x",
    "{{ end }}",
    "{{ env \"X\" }}",
    "{{ .Files.Get \"x\" }}",
    "{{ fail \"no\" }}",
    "{{ required \"m\" .x }}",
    "{{ index (list) 5 }}",
    "{{ include \"image\" . }}",
    "{{ range until 300 }}x{{ end }}",
    "{{ tpl \"{{\" . }}",
    "{{ .Env.x.y }}",
    "{{ printf \"%s\" }}",
    "\u{feff}",
    "\t",
    "\0",
    "\u{2028}",
    "été",
    "日本",
    "é\u{301}",
    "<<: *x",
    "? a",
    "--- x",
    "...",
    "%YAML 1.1",
    "#",
    "#c",
    "a  #",
    "@",
    "`",
    ",",
];

/// Whole lines that are put between others.
const LINES: &[&str] = &[
    "---",
    " ---",
    "--- #c",
    "...",
    "{{ end }}",
    "{{ if .x }}",
    "{{ range list 1 2 }}",
    "{{ define \"image\" }}x",
    "{{- /* open",
    "{{ template \"image\" }}",
    "{{ break }}",
    "from: b",
    "image: a",
    "image: [a, b]",
    "artifact: z",
    "dockerfile: D",
    "configVersion: 1",
    "configVersion: 2",
    "  x: y",
    "- item",
    "\tx: y",
    "x",
    "<<: {a: b}",
    "import: [{}]",
    "fromImage: app",
    "dependencies: [{image: tool}]",
    "git: {add: /, to: /a}",
    "mount: [{}]",
    "final: maybe",
    "platform: linux/amd64",
    "shell: {install: [1]}",
    "secrets: [{id: a}]",
    "unknown: key",
    "{{ $x := 1 }}{{ $x.y }}",
];

/// Numbers that look random and are not.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Changes a text in one way.
fn mutate(text: &mut String, random: &mut Random, number: u64) {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let at = random.below(lines.len());
    match random.below(16) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        3 => lines[at].insert_str(0, random.pick(&["  ", " ", "\t", "- ", "    "])),
        4 => lines[at] = lines[at].trim_start().into(),
        5 | 6 => {
            let head = lines[at].split(':').next().unwrap_or("").to_owned();
            lines[at] = format!("{head}: {}", random.pick(VALUES));
        }
        7 => lines.insert(at, random.pick(LINES).to_owned()),
        8 => {
            let cut = boundary(text, random.below(text.len() + 1));
            text.truncate(cut);
            return;
        }
        9 => {
            let start = boundary(text, random.below(text.len() + 1));
            let end = boundary(text, (start + random.below(40)).min(text.len()));
            text.replace_range(start..end, random.pick(VALUES));
            return;
        }
        10 => {
            let start = boundary(text, random.below(text.len() + 1));
            text.insert(
                start,
                random.pick(&['{', '}', '[', ']', ':', '"', '\'', '#', '&', '*', '!', '|', '-', ',', '\r', '%', '?']),
            );
            return;
        }
        11 => {
            let part = text.split("---\n").nth(random.below(3)).unwrap_or("").to_owned();
            let _ = write!(text, "---\n{part}");
            return;
        }
        12 => {
            let (open, close) = random.pick(&[
                ("[", "]"),
                ("{a: ", "}"),
                ("- ", ""),
                ("(", ")"),
                ("{{ (", ") }}"),
                ("{{ if 1 }}", "{{ end }}"),
            ]);
            let depth = random.pick(&[3, 50, 1_500]);
            lines[at] =
                format!("x: {}1{}", open.repeat(depth), close.repeat(if random.below(3) == 0 { 0 } else { depth }));
        }
        13 => {
            let long = random.pick(&["x", "- a\n", "a: ", "\"", "é", "{{ 1 }}", "#", " ", "\\"]);
            let times = if number.is_multiple_of(50) { 60_000 } else { 300 };
            lines[at] = format!("{}: {}", lines[at].split(':').next().unwrap_or(""), long.repeat(times));
        }
        14 => {
            let words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
            let skip = random.below(words.len());
            lines[at] = words
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != skip)
                .map(|(_, w)| w.as_str())
                .collect::<Vec<_>>()
                .join(" ");
        }
        _ => {
            let end = (at + 1 + random.below(5)).min(lines.len());
            lines.drain(at..end);
        }
    }
    *text = lines.join("\n");
}

/// Returns the text of a case.
fn text_of(number: u64) -> String {
    let mut random = Random(number.wrapping_mul(0x1234_5678_9abc_def1));
    let mut text = random.pick(SEEDS).to_owned();
    for _ in 0..=random.below(3) {
        mutate(&mut text, &mut random, number);
    }
    if number % 25_000 == 12 {
        // A file of ten megabytes.
        let part = text.clone();
        while text.len() < 10_000_000 {
            text.push_str("\n---\n");
            text.push_str(&part);
        }
    }
    text
}

/// Reads a case; returns what is wrong with the answer.
fn fault_of(text: &str) -> Option<String> {
    let rules = "giterminismConfigVersion: 1\nconfig:\n  dockerfile: {allowContextAddFiles: [\"**\"]}\n  \
        secrets: {allowEnvVariables: [TOKEN], allowFiles: [~/.file], allowValueIds: [v]}\n";
    let conf = "from: alpine:3\nshell: {install: [a, b]}\n";
    let files =
        MemoryObjects::files([("werf.yaml", text), ("werf-giterminism.yaml", rules), ("conf/extra.yaml", conf)]);
    let commit = Commit { hash: "c".repeat(40), ..Commit::default() };
    let environment = BTreeMap::new();
    let (sources, mut d) = (Sources::new(), Diagnostics::new());
    let config = load(&mut d, &sources, &Inputs::new(files, &commit, &environment));
    for finding in d.as_slice() {
        let Some(label) = &finding.primary else {
            if finding.path.is_none() {
                return Some(format!("no place: {finding:?}"));
            }
            continue;
        };
        for label in [label].into_iter().chain(&finding.secondary) {
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            if sources.get(label.span.file).text().get(start..end).is_none() {
                return Some(format!("a place outside of its text: {finding:?}"));
            }
        }
    }
    let errors = d.as_slice().iter().any(|f| f.severity == Severity::Error);
    (config.is_some() == errors).then(|| format!("read: {}, errors: {errors}", config.is_some()))
}

#[test]
fn mutated_configurations_are_read_or_have_findings_with_places() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let first = number("MUTATIONS_FROM").unwrap_or(0);
    let all = first..first + number("MUTATIONS").unwrap_or(FEW);
    let cases = number("MUTATION").map_or(all, |one| one..one + 1);
    let (tell, told) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        stagewright::eval::on_deep_stack(|| {
            for case in cases {
                let _ = tell.send((case, None));
                let answer = std::panic::catch_unwind(|| fault_of(&text_of(case)));
                let fault = answer.unwrap_or_else(|_| Some("it panics".to_owned()));
                let _ = tell.send((case, Some(fault)));
            }
        });
    });
    let (mut current, mut done, mut faults) = (0, 0_u64, Vec::new());
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok((case, None)) => current = case,
            Ok((case, Some(fault))) => {
                done += 1;
                faults.extend(fault.map(|fault| format!("case {case}: {fault}")));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("case {current} hangs"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().expect("the worker ends after its last case");
    assert!(
        faults.is_empty(),
        "{} of {done} cases\n{}",
        faults.len(),
        faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
}
