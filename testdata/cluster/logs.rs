//! Lines of containers: read from the API server while a deploy is waited for, chosen by annotations, and without secrets.
//!
//! The one idea: nodes of tests have no containers, so the proxy before the API server says what they print.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::proxy::{Fate, Proxy};
use super::tracking::{Kubelet, apply, release, waits, workload};
use super::{Deploy, kubeconfig};
use crate::cli::hidden::traces;
use crate::services::Cluster;

/// A question for the lines of a container.
#[derive(Clone, Debug)]
struct Question {
    pod: String,
    container: String,
    previous: bool,
    last: Option<usize>,
}

impl Question {
    fn read(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?')?;
        let pod = path.strip_suffix("/log")?.rsplit('/').next()?.to_owned();
        let of =
            |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
        let previous = of("previous").as_deref() == Some("true");
        Some(Self { pod, container: of("container")?, previous, last: of("tailLines").map(|n| n.parse().unwrap()) })
    }
}

/// The containers that were asked for lines while they ran, and how often.
type Asked = BTreeMap<String, u32>;

/// A release whose containers print what a test says.
struct Printing {
    deploy: Deploy,
    cluster: &'static Cluster,
    proxy: Proxy,
    asked: Arc<Mutex<Asked>>,
}

impl Printing {
    fn new(
        namespace: &str,
        templates: &[(&str, String)],
        prints: impl Fn(&Question, u32) -> Fate + Send + 'static,
    ) -> Option<Self> {
        let (mut deploy, cluster) = release(namespace, templates)?;
        let proxy = Proxy::start(cluster);
        let file = deploy.sandbox.home().join("kubeconfig");
        std::fs::write(&file, kubeconfig(&proxy.address)).unwrap();
        deploy.kubeconfig = file.display().to_string();
        let asked = Arc::<Mutex<Asked>>::default();
        let noted = asked.clone();
        proxy.set(move |asked| match Question::read(&asked.target) {
            Some(question) => {
                let mut noted = noted.lock().unwrap();
                let count = noted.entry(format!("{}/{}", question.pod, question.container)).or_default();
                *count += 1;
                prints(&question, *count)
            }
            None => Fate::Pass,
        });
        Some(Self { deploy, cluster, proxy, asked })
    }

    /// Pods run until `is_enough` of their lines was read; then they are at their end, or ready.
    fn kubelet(&self, is_enough: impl Fn(&str, &Asked) -> bool + Send + Sync + 'static) -> Kubelet {
        let asked = self.asked.clone();
        let fate = move |pod: &str, nth: u32| {
            let is_over = nth > 0 && is_enough(pod, &asked.lock().unwrap());
            Some(match (is_over, pod.starts_with("job-")) {
                (false, _) => status("Running", &running(), false),
                (true, true) => status("Succeeded", &json!({"terminated": {"exitCode": 0}}), false),
                (true, false) => status("Running", &running(), true),
            })
        };
        Kubelet::start(self.cluster, &self.deploy.namespace, Box::new(fate))
    }
}

/// How often a container was asked for lines; pods are named by how their names begin.
fn reads(asked: &Asked, pod: &str, container: &str) -> u32 {
    let is_its = |name: &str| name.split_once('/').is_some_and(|(of, c)| of.starts_with(pod) && c == container);
    asked.iter().filter(|(name, _)| is_its(name)).map(|(_, times)| *times).sum()
}

fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
}

fn status(phase: &str, state: &Value, ready: bool) -> Value {
    let word = if ready { "True" } else { "False" };
    let conditions = ["Ready", "ContainersReady"].map(|name| json!({"type": name, "status": word}));
    let containers = ["main", "side"].map(|name| {
        json!({"name": name, "image": "example/web:1", "imageID": "", "ready": ready, "restartCount": 0, "state": state, "lastState": {}})
    });
    json!({"phase": phase, "conditions": conditions, "containerStatuses": containers})
}

/// A workload of two containers.
fn two(kind: &str, name: &str, annotations: &str) -> String {
    let one = "{name: main, image: example/web:1}";
    workload(kind, name, annotations).replace(one, &format!("{one}, {{name: side, image: example/web:1}}"))
}

/// Lines with their times, as a node tells them.
fn timed<T: AsRef<[u8]>>(lines: &[T]) -> Vec<u8> {
    let lines = lines.iter().enumerate().map(|(n, line)| {
        let time = format!("2026-01-01T00:00:{:02}.{:09}Z ", n / 1000, n % 1000 + 1);
        [time.as_bytes(), line.as_ref(), b"\n"].concat()
    });
    lines.collect::<Vec<_>>().concat()
}

/// The lines of a container that are shown, in order, by the resource, and the containers of each.
fn shown(err: &str, resource: &str) -> Vec<String> {
    let prefix = format!("{resource} │ ");
    err.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// The same without the part of a pod's name that changes.
fn settled(lines: &[String]) -> Vec<String> {
    let settle = |line: &String| {
        let (name, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}", name.split_once('/').unwrap().1)
    };
    let mut all: Vec<String> = lines.iter().map(settle).collect();
    all.sort();
    all
}

#[test]
fn lines_of_containers_are_shown_as_they_come_and_as_annotations_say() {
    let jobs = [
        ("job-all", ""),
        ("job-none", "werf.io/skip-logs: 'true'"),
        ("job-not-side", "werf.io/skip-logs-for-containers: side"),
        ("job-side", "werf.io/show-logs-only-for-containers: 'side,other'"),
        ("job-regex", "werf.io/log-regex: '^ERROR', werf.io/log-regex-for-side: 'second'"),
        ("job-skip", "werf.io/log-regex-skip: second, werf.io/log-regex-skip-for-side: '^ERROR'"),
    ];
    let mut templates: Vec<(&str, String)> = jobs.iter().map(|(name, a)| (*name, two("Job", name, a))).collect();
    let pods =
        |name: &str, annotations: &str| two("Deployment", name, annotations).replace("replicas: 1", "replicas: 2");
    templates.push(("one", pods("one", "")));
    templates.push(("both", pods("both", "werf.io/show-logs-only-for-number-of-replicas: '2'")));
    // More is there each time it is asked; what was there before comes again.
    let prints = |_: &Question, times: u32| {
        let all = ["INFO begins", "ERROR first", "INFO second", "ERROR second"];
        Fate::Bytes(200, timed(&all[..all.len().min(usize::try_from(times).unwrap() * 2)]))
    };
    let Some(printing) = Printing::new("printing", &templates, prints) else { return };
    let _kubelet = printing.kubelet(|pod, asked| {
        let is = |name: &str| pod.starts_with(name);
        let shown: &[&str] = match pod {
            _ if is("job-none") => &[],
            _ if is("job-not-side") => &["main"],
            _ if is("job-side") => &["side"],
            _ => &["main", "side"],
        };
        // Of the pods of `one` it does not matter which is read.
        let whose = if is("one-") { "one-" } else { pod };
        shown.iter().all(|container| reads(asked, whose, container) >= 4)
    });
    let ran = apply(&printing.deploy, 0);
    let of = |name: &str| settled(&shown(&ran.err, &format!("printing/Job/{name}")));
    let all = |container: &str| {
        ["ERROR first", "ERROR second", "INFO begins", "INFO second"].map(|line| format!("{container} {line}")).to_vec()
    };
    assert_eq!(of("job-all"), [all("main"), all("side")].concat(), "{}", ran.err);
    assert_eq!(of("job-none"), [""; 0]);
    assert_eq!(of("job-not-side"), all("main"));
    assert_eq!(of("job-side"), all("side"));
    let wanted = ["main ERROR first", "main ERROR second", "side ERROR second", "side INFO second"];
    assert_eq!(of("job-regex"), wanted);
    assert_eq!(of("job-skip"), ["main ERROR first", "main INFO begins", "side INFO begins", "side INFO second"]);
    let pods = |name: &str| -> BTreeSet<String> {
        let lines = shown(&ran.err, &format!("printing/Deployment/{name}"));
        lines.iter().map(|line| line.split_once('/').unwrap().0.to_owned()).collect()
    };
    assert_eq!((pods("one").len(), pods("both").len()), (1, 2), "{}", ran.err);
    let asked = printing.asked.lock().unwrap();
    assert!(!asked.keys().any(|name| name.starts_with("job-none")), "who is not shown is not asked");
    assert!(!asked.keys().any(|name| name.starts_with("job-not-side") && name.ends_with("/side")));
}

#[test]
fn s64_the_last_lines_of_what_crashes_are_told() {
    let templates = [("web", workload("Deployment", "web", "werf.io/failures-allowed-per-replica: '0'"))];
    let prints = |question: &Question, _: u32| {
        let lines: Vec<String> = (1..=30).map(|n| format!("line {n} of the crash")).collect();
        let lines = lines[lines.len() - question.last.unwrap_or(30)..].join("\n");
        // What ran before is asked for.
        if question.previous {
            Fate::Bytes(200, lines.into_bytes())
        } else {
            Fate::Bytes(200, b"of the next run".to_vec())
        }
    };
    let Some(printing) = Printing::new("crashing", &templates, prints) else { return };
    let crashes = |_: &str, _: u32| Some(waits("CrashLoopBackOff", "back-off", 1));
    let _kubelet = Kubelet::start(printing.cluster, "crashing", Box::new(crashes));
    let ran = apply(&printing.deploy, 1);
    assert!(ran.err.contains("it crashes: exit code 7"), "{}", ran.err);
    let told: Vec<&str> = ran.err.lines().filter_map(|line| line.trim().strip_prefix("│ line ")).collect();
    let wanted: Vec<String> = (11..=30).map(|n| format!("{n} of the crash")).collect();
    assert_eq!(told, wanted, "{}", ran.err);
}

#[test]
fn the_lines_of_a_run_that_is_forgotten_are_those_of_the_next() {
    let templates = [("web", workload("Deployment", "web", "werf.io/failures-allowed-per-replica: '0'"))];
    let gone = r#"{"kind":"Status","status":"Failure","message":"previous terminated container not found","reason":"BadRequest","code":400}"#;
    let prints = move |question: &Question, _: u32| {
        if question.previous {
            Fate::Answer(400, None, gone.into())
        } else {
            Fate::Bytes(200, b"cannot begin".to_vec())
        }
    };
    let Some(printing) = Printing::new("forgotten", &templates, prints) else { return };
    let crashes = |_: &str, _: u32| Some(waits("CrashLoopBackOff", "back-off", 1));
    let _kubelet = Kubelet::start(printing.cluster, "forgotten", Box::new(crashes));
    let ran = apply(&printing.deploy, 1);
    assert!(ran.err.contains("│ cannot begin"), "{}", ran.err);
}

/// Of the file of secret values.
const PASSWORD: &str = "pl4nted \"pass&rd' <1>";
/// Of a Secret of the chart.
const WRITTEN: &str = "pl4nted-written";
/// Given by `--set`, for a Secret.
const SET: &str = "pl4nted-set";

#[test]
fn secrets_that_containers_print_are_not_shown() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {word: pl4nted-written, set: {{ .Values.set }}}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {url: {{ printf \"db://%s@db\" .Values.db.password | quote }}}\n";
    let templates = [
        ("secret", secret.to_owned()),
        ("map", map.to_owned()),
        ("a", two("Job", "job-a", "")),
        ("b", workload("Deployment", "b", "werf.io/weight: '5', werf.io/failures-allowed-per-replica: '0'")),
    ];
    let prints = |question: &Question, _: u32| {
        let lines: Vec<String> = [PASSWORD, WRITTEN, SET]
            .iter()
            .flat_map(|secret| {
                let json = serde_json::to_string(secret).unwrap();
                [
                    format!("logs in with {secret} now"),
                    format!("got {{\"it\":{json}}}"),
                    format!("sends {}", STANDARD.encode(secret)),
                ]
            })
            .collect();
        Fate::Bytes(200, if question.last.is_some() { lines.join("\n").into_bytes() } else { timed(&lines) })
    };
    let Some(printing) = Printing::new("telling", &templates, prints) else { return };
    let sandbox = &printing.deploy.sandbox;
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    sandbox.write("plain", &format!("db: {{password: {}}}\n", serde_json::to_string(PASSWORD).unwrap()));
    sandbox.write(".helm/secret-values.yaml", "");
    let ran = sandbox.run(&["secret", "encrypt", "plain", "--values", "-o", ".helm/secret-values.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    std::fs::remove_file(sandbox.project().join("plain")).unwrap();
    sandbox.commit("a password");
    let asked = printing.asked.clone();
    let fate = move |pod: &str, nth: u32| {
        let read = asked.lock().unwrap().keys().any(|name| name.starts_with("job-a"));
        Some(match (pod.starts_with("job-"), nth > 0 && read) {
            (true, false) => status("Running", &running(), false),
            (true, true) => status("Succeeded", &json!({"terminated": {"exitCode": 0}}), false),
            (false, _) => waits("CrashLoopBackOff", &format!("no {PASSWORD} {WRITTEN} {SET}"), 1),
        })
    };
    let _kubelet = Kubelet::start(printing.cluster, "telling", Box::new(fate));
    let set = format!("set={SET}");
    for format in ["text", "json"] {
        let args = ["apply", "--auto-approve", "--log-debug", "--timeout", "240", "--set", &set, "-o", format];
        let ran = printing.deploy.run(1, &args);
        for text in [&ran.out, &ran.err] {
            assert_eq!(traces(text, &[PASSWORD, WRITTEN, SET]), [""; 0], "{text}");
        }
        let all = ran.out + &ran.err;
        assert!(all.contains("logs in with") && all.contains("its last lines"), "{all}");
        // The next run begins anew.
        printing.cluster.kubectl(&["delete", "job,deployment", "--all", "-n", "telling", "--wait=false"]);
        printing.asked.lock().unwrap().clear();
    }
}

#[test]
fn what_becomes_of_the_lines_does_not_become_of_the_deploy() {
    let names =
        ["job-error", "job-cut", "job-broken", "job-binary", "job-escapes", "job-long", "job-endless", "job-untimed"];
    let templates: Vec<(&str, String)> = names.iter().map(|name| (*name, two("Job", name, ""))).collect();
    let prints = |question: &Question, times: u32| {
        let is = |name: &str| question.pod.starts_with(name);
        if is("job-error") && times % 2 == 1 {
            Fate::Answer(500, None, "{}".into())
        } else if is("job-cut") && times % 2 == 1 {
            Fate::Cut
        } else if is("job-broken") && times == 1 {
            // The second line is broken off, and whole the next time.
            let whole = timed(&["a whole line", "another line"]);
            Fate::Break(whole[..whole.len() - 6].to_vec())
        } else if is("job-binary") {
            Fate::Bytes(200, timed(&[&b"bytes \xff\xfe\x00 here"[..], b"after the bytes"]))
        } else if is("job-escapes") {
            Fate::Bytes(
                200,
                timed(&[
                    "\u{1b}[2J\u{1b}]0;title\u{7}red \u{1b}[31mline\r",
                    "over\rwritten \u{9b}1A",
                    "after the escapes",
                ]),
            )
        } else if is("job-long") {
            // The node tells no more than was asked for.
            let mut text = timed(&["before", &"x".repeat(1 << 20)]);
            text.truncate(256 * 1024);
            Fate::Bytes(200, text)
        } else if is("job-endless") {
            Fate::Endless(timed(&["again and again"]))
        } else if is("job-untimed") {
            Fate::Bytes(200, b"\n\nno time\n2026-13-45T99:99:99Z wrong\n".to_vec())
        } else {
            Fate::Bytes(200, timed(&["a whole line", "another line"]))
        }
    };
    let Some(printing) = Printing::new("unruly", &templates, prints) else { return };
    let _kubelet = printing.kubelet(|pod, asked| {
        // What has no end is waited for each time.
        let times = if pod.starts_with("job-endless") { 1 } else { 4 };
        ["main", "side"].iter().all(|container| reads(asked, pod, container) >= times)
    });
    let ran = apply(&printing.deploy, 0);
    let of = |name: &str| settled(&shown(&ran.err, &format!("unruly/Job/{name}")));
    let both = |lines: &[&str]| {
        let of = |container: &str| lines.iter().map(|line| format!("{container} {line}")).collect::<Vec<_>>();
        [of("main"), of("side")].concat()
    };
    for name in ["job-error", "job-cut", "job-broken"] {
        assert_eq!(of(name), both(&["a whole line", "another line"]), "{name}: {}", ran.err);
    }
    let binary = of("job-binary");
    assert!(binary.len() == 4 && binary.iter().any(|line| line.contains("after the bytes")), "{binary:?}");
    let told: String = ran.err.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    assert_eq!(told, ran.err, "nothing moves the cursor");
    assert!(of("job-escapes").iter().any(|line| line.contains("after the escapes")), "{}", ran.err);
    let long = of("job-long");
    assert!(
        long.contains(&"main before".to_owned()) && long.iter().any(|line| line.contains("xxxx")),
        "{}",
        long.len()
    );
    assert!(of("job-endless").iter().all(|line| line.contains("again and again")));
    assert_eq!(of("job-untimed"), [""; 0]);
    let most = printing.proxy.endless();
    assert!(most < 16 << 20, "{most} bytes were taken of what has no end");
    printing.deploy.assert_no_changes();
}
