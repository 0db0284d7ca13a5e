//! Lines of containers: whose are read, how far they were read, and which of them are shown.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::ready::{number, text};
use crate::plan::LogRules;
use crate::ports::{Lines, LogSource, Sight};

/// For so long a container is not asked that did not answer in time: others wait meanwhile. Unit: milliseconds.
const SLOW_MS: u64 = 10_000;

/// The lines of one resource.
pub struct Logs {
    rules: LogRules,
    only: Option<Pattern>,
    hide: Option<Pattern>,
    only_of: BTreeMap<String, Pattern>,
    hide_of: BTreeMap<String, Pattern>,
    marks: BTreeMap<LogSource, Mark>,
    /// The pods whose lines are shown: others that come later do not take their place.
    chosen: Vec<String>,
}

/// How far the lines of a container were read.
#[derive(Default)]
struct Mark {
    at: Option<String>,
    /// The run of it of which all was read: how often it was restarted before.
    ended: Option<u64>,
    /// It did not answer, and is not asked before. Unit: milliseconds since 1970.
    rests_until: u64,
}

/// A container whose lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub source: LogSource,
    /// Where its lines go on.
    pub mark: Option<String>,
    /// Its run, where that has ended.
    ended: Option<u64>,
}

/// An expression, compiled once.
struct Pattern(Option<Regex>);

impl Pattern {
    fn new(pattern: &str) -> Self {
        // They were compiled when the plan was made: what cannot be matches nothing.
        Self(Regex::new(pattern).ok())
    }

    fn matches(&self, line: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(line))
    }
}

impl Logs {
    /// Nothing was read yet.
    pub fn new(rules: &LogRules) -> Self {
        let all = |of: &BTreeMap<String, String>| of.iter().map(|(name, p)| (name.clone(), Pattern::new(p))).collect();
        Self {
            only: rules.only.as_deref().map(Pattern::new),
            hide: rules.hide.as_deref().map(Pattern::new),
            only_of: all(&rules.only_of),
            hide_of: all(&rules.hide_of),
            rules: rules.clone(),
            marks: BTreeMap::new(),
            chosen: Vec::new(),
        }
    }

    /// Chooses the pods whose lines are shown, as many as the rules say. What has ended and was read makes room for others.
    fn choose(&mut self, sight: &Sight) {
        let open = sight.pods.iter().filter(|pod| !self.is_read(pod));
        let names: Vec<&str> = open.filter_map(|pod| text(pod, "/metadata/name")).collect();
        self.chosen.retain(|name| names.contains(&name.as_str()));
        let most = usize::try_from(self.rules.replicas).unwrap_or(usize::MAX);
        for name in names {
            if self.chosen.len() < most && !self.chosen.iter().any(|chosen| chosen == name) {
                self.chosen.push(name.to_owned());
            }
        }
    }

    /// Says whether a pod has ended and all its lines that are shown were read.
    fn is_read(&self, pod: &Value) -> bool {
        let has_ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
        has_ended
            && statuses(pod).all(|status| {
                let source = source(pod, status);
                let ended = self.marks.get(&source).and_then(|mark| mark.ended);
                !self.rules.shows_container(&source.container) || ended == Some(number(status, "/restartCount"))
            })
    }

    /// Returns the containers that may have printed something since the last look. At the last look (`is_last`) one that did not
    /// answer before is asked once more.
    pub fn wanted(&mut self, sight: &Sight, now_ms: u64, is_last: bool) -> Vec<Wanted> {
        self.choose(sight);
        let mut wanted = Vec::new();
        let is_chosen = |pod: &&Value| text(pod, "/metadata/name").is_some_and(|n| self.chosen.iter().any(|c| c == n));
        for pod in sight.pods.iter().filter(is_chosen) {
            let has_begun = |s: &&Value| s.pointer("/state/waiting").is_none() && s.pointer("/state").is_some();
            for status in statuses(pod).filter(has_begun) {
                let source = source(pod, status);
                if !self.rules.shows_container(&source.container) {
                    continue;
                }
                let ended = status.pointer("/state/terminated").map(|_| number(status, "/restartCount"));
                let known = self.marks.get(&source);
                let is_read = ended.is_some() && known.is_some_and(|mark| mark.ended == ended);
                if !is_read && known.is_none_or(|mark| is_last || mark.rests_until <= now_ms) {
                    let mark = known.and_then(|mark| mark.at.clone());
                    wanted.push(Wanted { source, mark, ended });
                }
            }
        }
        wanted
    }

    /// Takes over what a container printed, and returns what is shown of it.
    pub fn take(&mut self, wanted: Wanted, found: Option<Lines>, now_ms: u64) -> Vec<String> {
        let Wanted { source, ended, .. } = wanted;
        let name = format!("{}/{}", source.pod, source.container);
        let container = source.container.clone();
        let mark = self.marks.entry(source).or_default();
        let Some(Lines { lines, mark: at }) = found else {
            mark.rests_until = now_ms + SLOW_MS;
            return Vec::new();
        };
        mark.at = at;
        if lines.is_empty() {
            mark.ended = ended;
        }
        lines.iter().filter(|line| self.shows(&container, line)).map(|line| format!("{name} {line}")).collect()
    }

    /// Says whether a line of a container is shown.
    fn shows(&self, container: &str, line: &str) -> bool {
        let only = self.only_of.get(container).or(self.only.as_ref());
        let hide = self.hide_of.get(container).or(self.hide.as_ref());
        only.is_none_or(|only| only.matches(line)) && !hide.is_some_and(|hide| hide.matches(line))
    }
}

/// The containers of a pod, as far as anything is said of them.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten()
}

fn source(pod: &Value, status: &Value) -> LogSource {
    let of = |object: &Value, p: &str| text(object, p).unwrap_or_default().to_owned();
    LogSource {
        namespace: of(pod, "/metadata/namespace"),
        pod: of(pod, "/metadata/name"),
        container: of(status, "/name"),
        previous: false,
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use serde_json::json;

    fn sight(state: Value, restarts: u64) -> Sight {
        let status = json!([{"name": "m", "state": state, "restartCount": restarts}]);
        let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "shop"}, "status": {"containerStatuses": status}});
        Sight { pods: vec![pod("m-1"), pod("m-2")], ..Sight::default() }
    }

    fn lines(lines: &[&str], mark: &str) -> Lines {
        Lines { lines: lines.iter().map(|&l| l.to_owned()).collect(), mark: Some(mark.to_owned()) }
    }

    fn running() -> Value {
        json!({"running": {}})
    }

    #[test]
    fn lines_go_on_where_they_ended_and_are_filtered() {
        let rules = LogRules {
            only: Some("^ERROR".into()),
            hide_of: BTreeMap::from([("m".into(), "again".into())]),
            ..LogRules::default()
        };
        let mut logs = Logs::new(&rules);
        let mut wanted = logs.wanted(&sight(running(), 0), 0, false);
        assert_eq!((wanted.len(), &wanted[0].mark), (1, &None), "of one pod");
        let found = lines(&["INFO 0", "ERROR 0", "ERROR again"], "1");
        assert_eq!(logs.take(wanted.remove(0), Some(found), 0), ["m-1/m ERROR 0"]);
        assert_eq!(logs.wanted(&sight(running(), 0), 0, false)[0].mark.as_deref(), Some("1"));
        assert_eq!(logs.wanted(&sight(json!({"waiting": {}}), 0), 0, false), []);
        logs.rules.skip_containers.insert("m".into());
        assert_eq!(logs.wanted(&sight(running(), 0), 0, false), []);
    }

    #[test]
    fn a_container_that_ended_is_read_to_its_end_and_no_further() {
        let mut logs = Logs::new(&LogRules::default());
        let ended = sight(json!({"terminated": {}}), 0);
        for (printed, left) in [(&["a"][..], 1), (&[][..], 0)] {
            let wanted = logs.wanted(&ended, 0, false).remove(0);
            logs.take(wanted, Some(lines(printed, "1")), 0);
            assert_eq!(logs.wanted(&ended, 0, false).len(), left);
        }
        assert_eq!(logs.wanted(&sight(running(), 1), 0, false).len(), 1, "it was started again");
        assert_eq!(logs.wanted(&sight(json!({"terminated": {}}), 1), 0, false).len(), 1, "and ended again");
    }

    #[test]
    fn a_container_that_does_not_answer_is_left_out_for_a_while() {
        let mut logs = Logs::new(&LogRules::default());
        let wanted = logs.wanted(&sight(running(), 0), 5, false).remove(0);
        assert_eq!(logs.take(wanted, None, 5), Vec::<String>::new());
        assert_eq!(logs.wanted(&sight(running(), 0), SLOW_MS, false), []);
        assert_eq!(logs.wanted(&sight(running(), 0), SLOW_MS + 5, false).len(), 1);
    }

    #[test]
    fn at_the_end_it_is_asked_once_more() {
        let mut logs = Logs::new(&LogRules::default());
        let wanted = logs.wanted(&sight(running(), 0), 5, false).remove(0);
        logs.take(wanted, None, 5);
        assert_eq!(logs.wanted(&sight(json!({"terminated": {}}), 0), 6, true).len(), 1);
    }

    #[test]
    fn pods_that_come_later_do_not_take_the_place_of_those_that_are_shown() {
        let pod = |name: &str| {
            let status = json!([{"name": "m", "state": {"running": {}}}]);
            json!({"metadata": {"name": name, "namespace": "shop"}, "status": {"containerStatuses": status}})
        };
        let mut logs = Logs::new(&LogRules { replicas: 2, ..LogRules::default() });
        let mut shown = |pods: &[&str]| {
            let pods = pods.iter().map(|name| pod(name)).collect();
            let wanted = logs.wanted(&Sight { pods, ..Sight::default() }, 0, false);
            wanted.into_iter().map(|wanted| wanted.source.pod).collect::<Vec<_>>()
        };
        assert_eq!(shown(&["m-5"]), ["m-5"]);
        assert_eq!(shown(&["m-1", "m-3", "m-5"]), ["m-1", "m-5"]);
        assert_eq!(shown(&["m-0", "m-1", "m-3"]), ["m-0", "m-1"], "of which one is gone");
    }

    #[test]
    fn a_pod_that_ended_and_was_read_makes_room_for_the_next_try() {
        let pod = |name: &str, phase: &str, state: Value| {
            json!({"metadata": {"name": name, "namespace": "shop"},
                "status": {"phase": phase, "containerStatuses": [{"name": "m", "state": state, "restartCount": 0}]}})
        };
        let failed = pod("m-1", "Failed", json!({"terminated": {}}));
        let mut sight = Sight { pods: vec![failed], ..Sight::default() };
        let mut logs = Logs::new(&LogRules::default());
        for printed in [&["a"][..], &[]] {
            let wanted = logs.wanted(&sight, 0, false).remove(0);
            logs.take(wanted, Some(lines(printed, "1")), 0);
        }
        sight.pods.push(pod("m-2", "Running", running()));
        let wanted: Vec<String> = logs.wanted(&sight, 0, false).into_iter().map(|w| w.source.pod).collect();
        assert_eq!(wanted, ["m-2"]);
    }

    #[test]
    fn what_is_no_expression_matches_nothing() {
        let shows = |rules: LogRules| Logs::new(&rules).shows("m", "a line");
        assert!(!shows(LogRules { only: Some("(".into()), ..LogRules::default() }));
        assert!(shows(LogRules { hide: Some("(".into()), ..LogRules::default() }));
    }
}
