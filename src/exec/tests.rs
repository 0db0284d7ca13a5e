//! Tests of the run over twins: a store in memory, a fixed clock and a scripted builder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::digest::Sha224Digest;
use crate::plan::{Fidelity, Guard, Inputs, Operation, Plan, Summary, Work};
use crate::ports::{
    BlobDigest, BlobStore, BuildContext, BuildError, BuiltImage, Descriptor, FixedClock, MemoryStore, MemoryTarget,
    StageStore, Target,
};
use crate::source::{MemoryHistory, MemoryObjects};
use crate::stage::{BuildPart, BuildRequest, Platform};

/// Builds nothing; fails where the script says so.
#[derive(Default)]
struct ScriptedBuilder {
    fails: BTreeSet<String>,
    panics: BTreeSet<String>,
    at_once: usize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Builder for ScriptedBuilder {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn concurrency(&self) -> usize {
        self.at_once.max(1)
    }

    fn build(&self, request: &BuildRequest, _: &BuildContext<'_>) -> Result<BuiltImage, BuildError> {
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let name = request.parts[0].name.clone();
        self.running.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.panics.contains(&name), "scripted panic");
        if self.fails.contains(&name) {
            return Err(BuildError::Step { step: format!("RUN {name}"), why: "exit code 1".into() });
        }
        let digest = BlobDigest::of(name.as_bytes());
        let config = Descriptor { media_type: "application/json".into(), digest, size: name.len() as u64 };
        Ok(BuiltImage { config, layers: Vec::new() })
    }
}

struct Twins {
    objects: Arc<dyn Objects>,
    store: MemoryStore,
    final_store: MemoryStore,
    builder: ScriptedBuilder,
    target: MemoryTarget,
    history: MemoryHistory,
    clock: FixedClock,
}

impl Twins {
    fn new(builder: ScriptedBuilder) -> Self {
        Self {
            objects: Arc::new(MemoryObjects::new()),
            store: MemoryStore::default(),
            final_store: MemoryStore::default(),
            builder,
            target: MemoryTarget::default(),
            history: MemoryHistory::default(),
            clock: FixedClock::at(1_000),
        }
    }

    fn ports(&self) -> Ports<'_> {
        Ports {
            objects: &self.objects,
            store: &self.store,
            final_store: Some(&self.final_store),
            builder: &self.builder,
            target: Some(&self.target),
            history: &self.history,
            clock: &self.clock,
        }
    }

    fn run(&self, plan: &Plan, parallel: usize, on_failure: OnFailure) -> (Outcome, Vec<Event>) {
        let cancelled = AtomicBool::new(false);
        let events = Mutex::new(Vec::new());
        let forecast = Forecast::new(&plan.operations, &Durations::new());
        let options = Options { parallel, on_failure, ..Options::new(&forecast, &cancelled) };
        let outcome = run(plan, &self.ports(), &options, &|e| events.lock().unwrap().push(e)).unwrap();
        (outcome, events.into_inner().unwrap())
    }
}

fn digest(name: &str) -> String {
    Sha224Digest::of_bytes(name.as_bytes()).to_string()
}

fn plan(operations: Vec<Operation>) -> Plan {
    Plan {
        format_version: crate::plan::FORMAT_VERSION.into(),
        project: "shop".into(),
        commit: String::new(),
        fidelity: Fidelity::Store,
        inputs: Inputs::default(),
        summary: Summary::default(),
        risks: Vec::new(),
        stages: Vec::new(),
        images: Vec::new(),
        resources: Vec::new(),
        cleanup: Vec::new(),
        hooks: Vec::new(),
        operations,
        record_reasons: Vec::new(),
        hidden: crate::plan::Sensitive::default(),
    }
}

fn operation(id: &str, needs: &[&str], guards: Vec<Guard>, work: Work) -> Operation {
    Operation { id: id.into(), needs: needs.iter().map(|n| (*n).to_owned()).collect(), guards, work }
}

fn build(name: &str, needs: &[&str]) -> Operation {
    let (base, arguments) = (crate::stage::Base::Scratch, BTreeMap::new());
    let part = BuildPart { name: name.into(), base, arguments, steps: Vec::new() };
    let work = Work::BuildStage {
        platform: None,
        image: name.into(),
        stage: "dockerfile".into(),
        digest: digest(name),
        request: BuildRequest::new(Platform::linux_amd64(), vec![part]),
        annotations: BTreeMap::from([("org.opencontainers.image.title".into(), name.into())]),
        binding: None,
    };
    operation(name, needs, vec![Guard::StageAbsent { digest: digest(name) }], work)
}

fn write(name: &str, needs: &[&str], before: Option<&str>) -> Operation {
    let digest = before.map(|text| Sha224Digest::of_bytes(text.as_bytes()).to_string());
    let work = Work::WriteResource {
        address: format!("shop/ConfigMap/{name}"),
        path: format!("{name}.yaml"),
        manifest: Some(format!("new {name}")),
        sealed: crate::plan::Sensitive::default(),
        replace: false,
        adopt: false,
        leaves_replicas: false,
    };
    operation(name, needs, vec![Guard::ResourceContent { path: format!("{name}.yaml"), digest }], work)
}

fn record(needs: &[&str], revision: u64) -> Operation {
    let guards =
        vec![Guard::ReleaseRevision { release: "shop".into(), revision: revision.checked_sub(1).filter(|r| *r > 0) }];
    let work = Work::RecordRelease { release: "shop".into(), revision, record: serde_json::Value::Null };
    operation("record", needs, guards, work)
}

#[test]
fn a_stage_is_built_published_and_tagged() {
    let twins = Twins::new(ScriptedBuilder::default());
    let tag = Work::TagImage {
        manifest: None,
        image: "web".into(),
        tag: "t1".into(),
        stage_digest: digest("web"),
        binding: None,
        custom: false,
        platform: None,
    };
    let plan = plan(vec![build("web", &[]), operation("tag", &["web"], Vec::new(), tag)]);
    let (outcome, events) = twins.run(&plan, 4, OnFailure::Continue);
    assert!(outcome.is_success(), "{outcome:?}");
    let stage = twins.store.stages(&Sha224Digest::of_bytes(b"web")).unwrap().remove(0);
    assert_eq!(stage.annotations["org.opencontainers.image.title"], "web");
    let image = twins.store.images(&["t1".into()]).unwrap().remove(0).unwrap();
    assert_eq!(image.manifest, stage.manifest);
    let kinds: Vec<bool> = events.iter().map(|e| matches!(e, Event::Started(_))).collect();
    assert_eq!(kinds, [true, false, false, true, false]);
    assert!(matches!(events[1], Event::Storing { bytes: 3, .. }), "{events:?}");
}

#[test]
fn a_final_image_is_copied_with_its_blobs_and_its_name() {
    let twins = Twins::new(ScriptedBuilder::default());
    let tag = Work::TagImage {
        manifest: None,
        image: "web".into(),
        tag: "t1".into(),
        stage_digest: digest("web"),
        binding: None,
        custom: false,
        platform: None,
    };
    let copy = |tag: &str| {
        let (from, tag, repo) = ("t1".into(), tag.to_owned(), "r.example/final".into());
        Work::CopyImage { image: "web".into(), from, tag, repo }
    };
    let plan = plan(vec![
        build("web", &[]),
        operation("tag", &["web"], Vec::new(), tag),
        operation("copy", &["tag"], Vec::new(), copy("t1")),
        operation("also", &["tag"], Vec::new(), copy("v1")),
    ]);
    // The scripted builder names a configuration that it does not store.
    twins.store.put(&mut |out| out.write_all(b"web")).unwrap();
    let (outcome, _) = twins.run(&plan, 4, OnFailure::Continue);
    assert!(outcome.is_success(), "{outcome:?}");
    let stored = twins.store.images(&["t1".into()]).unwrap().remove(0).unwrap();
    let copies = twins.final_store.images(&["t1".into(), "v1".into()]).unwrap();
    assert!(copies.iter().flatten().all(|copy| copy.manifest == stored.manifest) && copies.len() == 2, "{copies:?}");
    assert_eq!(twins.final_store.newest(&["web".into()]).unwrap().remove(0).unwrap().tag, "t1");
    assert!(
        twins.final_store.stages(&Sha224Digest::of_bytes(b"web")).unwrap().is_empty(),
        "stages stay where they are"
    );
}

#[test]
fn a_stage_that_somebody_stored_meanwhile_is_used() {
    let twins = Twins::new(ScriptedBuilder { fails: ["web".into()].into(), ..ScriptedBuilder::default() });
    let built = ScriptedBuilder::default();
    let context = BuildContext::new(&twins.objects, &twins.store);
    let plan = plan(vec![build("web", &[])]);
    let Work::BuildStage { request, .. } = &plan.operations[0].work else { unreachable!() };
    let image = built.build(request, &context).unwrap();
    twins.store.publish(&Sha224Digest::of_bytes(b"web"), &image, &BTreeMap::new(), 5, &crate::ports::any).unwrap();
    assert_eq!(check_guards(&plan, &twins.ports(), false).unwrap().violations, Vec::new());
    let (outcome, events) = twins.run(&plan, 1, OnFailure::Continue);
    assert!(outcome.is_success());
    assert!(matches!(events.last(), Some(Event::Reused(_))), "{events:?}");
}

#[test]
fn violated_guards_are_all_listed_with_what_was_found() {
    let twins = Twins::new(ScriptedBuilder::default());
    twins.target.tamper("a.yaml", Some("theirs"));
    twins.target.begin().unwrap().commit("shop", 7, &serde_json::Value::Null).unwrap();
    let plan = plan(vec![write("a", &[], Some("ours")), write("b", &[], None), record(&["a", "b"], 5)]);
    let violations = check_guards(&plan, &twins.ports(), false).unwrap().violations;
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("resource a.yaml: it was changed"), "{told:?}");
    assert_eq!(told[1], "release shop: expected revision 4, found revision 7");
    let (outcome, _) = twins.run(&plan, 1, OnFailure::Continue);
    assert_eq!(outcome.failed[0].stale.as_ref(), violations.first());
    assert_eq!(twins.target.content("b.yaml").unwrap(), None, "nothing is visible before the record");
}

#[test]
fn what_a_target_cannot_tell_when_it_writes_is_looked_at_before() {
    let twins = Twins::new(ScriptedBuilder::default());
    let plan = plan(vec![write("a", &[], None), record(&["a"], 1)]);
    let checked = check_guards(&plan, &twins.ports(), false).unwrap();
    assert_eq!(checked.violations, []);
    twins.target.tamper("a.yaml", Some("theirs"));
    let (cancelled, forecast) = (AtomicBool::new(false), Forecast::new(&plan.operations, &Durations::new()));
    let options = Options { checked: Some(&checked), ..Options::new(&forecast, &cancelled) };
    let outcome = run(&plan, &twins.ports(), &options, &|_| {}).unwrap();
    assert!(outcome.failed[0].stale.is_some(), "{outcome:?}");
}

#[test]
fn resources_become_visible_with_the_release() {
    let twins = Twins::new(ScriptedBuilder::default());
    let plan = plan(vec![write("a", &[], None), write("b", &[], None), record(&["a", "b"], 1)]);
    let (outcome, _) = twins.run(&plan, 2, OnFailure::Continue);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(twins.target.content("a.yaml").unwrap().unwrap(), b"new a");
    assert_eq!(twins.target.revision("shop").unwrap(), Some(1));
    assert_eq!(check_guards(&plan, &twins.ports(), false).unwrap().violations.len(), 3);
    assert_eq!(
        check_guards(&plan, &twins.ports(), true).unwrap().violations,
        Vec::new(),
        "what is done is no fault on resume"
    );
}

#[test]
fn a_stopping_run_begins_nothing_after_a_failure_and_a_cancelled_one_nothing_at_all() {
    let fails = ScriptedBuilder { fails: ["a".into()].into(), ..ScriptedBuilder::default() };
    let twins = Twins::new(fails);
    let plan = plan(vec![build("a", &[]), build("b", &["a"]), build("c", &[])]);
    let (outcome, _) = twins.run(&plan, 1, OnFailure::Stop);
    assert_eq!(outcome.done, Vec::<String>::new());
    let skips: Vec<&Skip> = outcome.skipped.iter().map(|s| &s.skip).collect();
    assert_eq!(skips, [&Skip::Needs { operation: "a".into() }, &Skip::Stopped]);
    let cancelled = AtomicBool::new(true);
    let forecast = Forecast::default();
    let options = Options { parallel: 2, ..Options::new(&forecast, &cancelled) };
    let outcome = run(&plan, &twins.ports(), &options, &|_| {}).unwrap();
    assert!(outcome.is_cancelled() && outcome.skipped.len() == 3, "{outcome:?}");
}

#[test]
fn a_failure_tells_the_whole_chain_of_causes() {
    let twins = Twins::new(ScriptedBuilder { fails: ["a".into()].into(), ..ScriptedBuilder::default() });
    let (outcome, _) = twins.run(&plan(vec![build("a", &[])]), 1, OnFailure::Continue);
    assert_eq!(outcome.failed[0].causes, ["RUN a: exit code 1"]);
    assert_eq!(outcome.failed[0].subject.name, "a/dockerfile");
}

#[test]
fn a_panic_in_a_port_ends_the_run_instead_of_hanging_it() {
    let twins = Twins::new(ScriptedBuilder { panics: ["a".into()].into(), ..ScriptedBuilder::default() });
    let plan = plan(vec![build("a", &[]), build("b", &["a"])]);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| twins.run(&plan, 4, OnFailure::Continue)));
    assert!(caught.is_err());
}

#[test]
fn a_plan_with_a_cycle_or_an_unknown_need_ends() {
    let twins = Twins::new(ScriptedBuilder::default());
    let plan = plan(vec![build("a", &["b"]), build("b", &["a"]), build("c", &["nowhere"])]);
    let (outcome, _) = twins.run(&plan, 2, OnFailure::Continue);
    let skips: Vec<&Skip> = outcome.skipped.iter().map(|s| &s.skip).collect();
    assert_eq!(skips, [&Skip::Cycle, &Skip::Cycle, &Skip::Needs { operation: "nowhere".into() }]);
}

#[test]
fn the_builder_says_how_many_builds_it_likes_at_once() {
    let twins = Twins::new(ScriptedBuilder { at_once: 1, ..ScriptedBuilder::default() });
    let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let (outcome, _) = twins.run(&plan(names.iter().map(|n| build(n, &[])).collect()), 8, OnFailure::Continue);
    assert_eq!(outcome.done.len(), 40);
    assert_eq!(twins.builder.most.load(Ordering::SeqCst), 1);
}

#[test]
fn what_most_work_waits_for_begins_first() {
    let twins = Twins::new(ScriptedBuilder::default());
    let plan = plan(vec![build("a", &[]), build("b", &[]), build("c", &["b"]), build("d", &["c"])]);
    let started = |durations: &[(&str, u64)]| {
        let durations = durations.iter().map(|(name, ms)| (format!("{name}/dockerfile"), *ms)).collect();
        let forecast = Forecast::new(&plan.operations, &durations);
        let cancelled = AtomicBool::new(false);
        let events = Mutex::new(String::new());
        let options = Options::new(&forecast, &cancelled);
        let twins = Twins::new(ScriptedBuilder::default());
        run(&plan, &twins.ports(), &options, &|event| {
            if let Event::Started(subject) = event {
                events.lock().unwrap().push_str(&subject.operation);
            }
        })
        .unwrap();
        (events.into_inner().unwrap(), forecast.critical_path(|_| Some(0)))
    };
    assert_eq!(started(&[]), ("bcad".into(), 3), "the number of operations counts");
    assert_eq!(started(&[("a", 100), ("b", 10), ("c", 10)]), ("abcd".into(), 100), "d is taken for the mean, 40");
    assert_eq!(started(&[("a", 5), ("b", 1), ("c", 1), ("d", 1)]).0, "abcd", "the longest chain counts");
    assert!(twins.store.stages(&Sha224Digest::of_bytes(b"a")).unwrap().is_empty());
}

#[test]
fn a_stage_is_stored_while_the_next_one_is_built() {
    let twins = Twins::new(ScriptedBuilder { at_once: 1, ..ScriptedBuilder::default() });
    let plan = plan(vec![build("a", &[]), build("b", &[])]);
    let forecast = Forecast::new(&plan.operations, &Durations::new());
    let cancelled = AtomicBool::new(false);
    let options = Options { parallel: 2, ..Options::new(&forecast, &cancelled) };
    let (second, began) = (Mutex::new(false), std::sync::Condvar::new());
    let outcome = run(&plan, &twins.ports(), &options, &|event| match event {
        Event::Started(subject) if subject.operation == "b" => {
            *second.lock().unwrap() = true;
            began.notify_all();
        }
        // The first is not settled before the second began, and the builder takes one at a time.
        Event::Done { subject, .. } if subject.operation == "a" => {
            let waited = began.wait_timeout_while(second.lock().unwrap(), std::time::Duration::from_secs(20), |b| !*b);
            assert!(*waited.unwrap().0, "the second build waited for the first to be stored");
        }
        Event::Started(_)
        | Event::Storing { .. }
        | Event::Reused(_)
        | Event::Waiting { .. }
        | Event::Ignored { .. }
        | Event::Done { .. }
        | Event::Failed { .. }
        | Event::Output { .. }
        | Event::Skipped { .. } => {}
    });
    let outcome = outcome.unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(twins.builder.most.load(Ordering::SeqCst), 1);
}

/// Numbered operations and what each needs.
type Nodes = Vec<(usize, Vec<usize>)>;

/// Random graphs: the operations, in random order, with edges to earlier numbers, and who fails.
fn graphs() -> impl Strategy<Value = (Nodes, BTreeSet<usize>, usize)> {
    (1usize..24).prop_flat_map(|n| {
        let edges = proptest::collection::vec(proptest::collection::vec(0..n, 0..4), n);
        let order = Just((0..n).collect::<Vec<_>>()).prop_shuffle();
        let fails = proptest::collection::btree_set(0..n, 0..4);
        (edges, order, fails, 1usize..5).prop_map(|(edges, order, fails, parallel)| {
            let needs = |i: usize| edges[i].iter().copied().filter(|e| *e < i).collect::<Vec<_>>();
            (order.into_iter().map(|i| (i, needs(i))).collect(), fails, parallel)
        })
    })
}

fn graph_plan(nodes: &[(usize, Vec<usize>)]) -> Plan {
    let names = |list: &[usize]| list.iter().map(|n| format!("n{n}")).collect::<Vec<_>>();
    let operations = nodes.iter().map(|(i, needs)| {
        let needs = names(needs);
        build(&format!("n{i}"), &needs.iter().map(String::as_str).collect::<Vec<_>>())
    });
    plan(operations.collect())
}

fn scripted(fails: &BTreeSet<usize>) -> Twins {
    let fails = fails.iter().map(|n| format!("n{n}")).collect();
    Twins::new(ScriptedBuilder { fails, at_once: 8, ..ScriptedBuilder::default() })
}

proptest! {
    #[test]
    fn no_operation_begins_before_what_it_needs_and_failures_skip_dependants(
        (nodes, fails, parallel) in graphs(),
    ) {
        let plan = graph_plan(&nodes);
        let (outcome, events) = scripted(&fails).run(&plan, parallel, OnFailure::Continue);
        let mut done = BTreeSet::new();
        for event in &events {
            match event {
                Event::Started(subject) => {
                    let operation = plan.operations.iter().find(|o| o.id == subject.operation).unwrap();
                    prop_assert!(operation.needs.iter().all(|n| done.contains(n)), "{} began too early", operation.id);
                }
                Event::Done { subject, .. } | Event::Reused(subject) => {
                    done.insert(subject.operation.clone());
                }
                Event::Storing { .. }
                | Event::Waiting { .. }
                | Event::Ignored { .. }
                | Event::Failed { .. }
                | Event::Skipped { .. }
                | Event::Output { .. } => {}
            }
        }
        let lost: BTreeSet<String> = outcome.failed.iter().map(|f| f.subject.operation.clone())
            .chain(outcome.skipped.iter().map(|s| s.subject.operation.clone())).collect();
        prop_assert_eq!(lost.len() + outcome.done.len(), plan.operations.len());
        for operation in &plan.operations {
            let fails_itself = fails.iter().any(|n| operation.id == format!("n{n}"));
            let needs_lost = operation.needs.iter().any(|n| lost.contains(n));
            prop_assert_eq!(lost.contains(&operation.id), fails_itself || needs_lost);
        }
    }

    #[test]
    fn equal_twins_give_equal_outcomes((nodes, fails, parallel) in graphs()) {
        let plan = graph_plan(&nodes);
        let first = scripted(&fails).run(&plan, parallel, OnFailure::Continue).0;
        let second = scripted(&fails).run(&plan, 1, OnFailure::Continue).0;
        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_reloaded_plan_runs_to_the_same_events((nodes, fails, _) in graphs()) {
        let plan = graph_plan(&nodes);
        let reloaded: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        prop_assert_eq!(&reloaded, &plan);
        let events = |plan: &Plan| scripted(&fails).run(plan, 1, OnFailure::Continue).1;
        prop_assert_eq!(events(&plan), events(&reloaded));
    }
}

fn job(end: Option<&str>) -> crate::ports::Sight {
    let conditions = end.map(|end| serde_json::json!({"type": end, "status": "True", "reason": "TheEnd"}));
    let object = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "m"},
        "status": {"conditions": conditions.into_iter().collect::<Vec<_>>()}});
    crate::ports::Sight { object: Some(object), ..crate::ports::Sight::default() }
}

fn wait(name: &str, needs: &[&str], tracking: crate::plan::Tracking) -> Operation {
    let work = Work::AwaitResource { address: format!("shop/Job/{name}"), path: name.into(), tracking };
    operation(name, needs, Vec::new(), work)
}

#[test]
fn resources_are_watched_all_at_once_until_they_are_ready() {
    let twins = Twins::new(ScriptedBuilder::default());
    let names: Vec<String> = (0..40).map(|n| format!("j{n}")).collect();
    let mut operations: Vec<Operation> = names.iter().map(|n| wait(n, &[], crate::plan::Tracking::default())).collect();
    // Each is ready when it was looked at twice: one after the other would take long.
    for name in &names {
        twins.target.show(name, [job(None), job(Some("Complete"))]);
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    operations.push(operation("gate", &all, Vec::new(), Work::Gate));
    operations.push(write("a", &["gate"], None));
    let (outcome, events) = twins.run(&plan(operations), 1, OnFailure::Continue);
    assert!(outcome.is_success() && outcome.done.len() == 41, "{outcome:?}");
    let told = events.iter().filter(|e| matches!(e, Event::Waiting { ready: Some(0), want: Some(1), .. })).count();
    assert_eq!(told, 40);
}

#[test]
fn what_may_begin_at_once_does_whatever_was_under_way_before() {
    let names: Vec<String> = (0..8).map(|n| format!("w{n}")).collect();
    let mut operations = vec![write("first", &[], None), wait("job", &["first"], crate::plan::Tracking::default())];
    operations.extend(names.iter().map(|name| write(name, &["job"], None)));
    let plan = plan(operations);
    // Who of the threads is first is chance.
    for _ in 0..50 {
        let twins = Twins::new(ScriptedBuilder::default());
        twins.target.show("job", [job(Some("Complete"))]);
        let (begun, all, alone) = (Mutex::new(0), std::sync::Condvar::new(), AtomicBool::new(false));
        let meet = |event: Event| {
            if matches!(&event, Event::Started(subject) if names.contains(&subject.operation)) {
                let mut begun = begun.lock().unwrap();
                *begun += 1;
                all.notify_all();
                let met = all.wait_timeout_while(begun, Duration::from_secs(10), |begun| *begun < 8).unwrap();
                if met.1.timed_out() {
                    alone.store(true, Ordering::Relaxed);
                }
            }
        };
        let (cancelled, forecast) = (AtomicBool::new(false), Forecast::default());
        let options = Options { parallel: 2, ..Options::new(&forecast, &cancelled) };
        let outcome = run(&plan, &twins.ports(), &options, &meet).unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        assert!(!alone.into_inner(), "one waits for the other");
    }
}

#[test]
fn what_is_skipped_names_what_failed_and_not_the_gate_between() {
    let twins = Twins::new(ScriptedBuilder { fails: ["a".into()].into(), ..ScriptedBuilder::default() });
    let gates =
        [operation("gate", &["a", "b"], Vec::new(), Work::Gate), operation("last", &["gate"], Vec::new(), Work::Gate)];
    let plan = plan([vec![build("a", &[]), build("b", &[])], gates.into(), vec![write("c", &["last"], None)]].concat());
    let (outcome, _) = twins.run(&plan, 1, OnFailure::Continue);
    let skips: Vec<(&str, &Skip)> = outcome.skipped.iter().map(|s| (s.subject.operation.as_str(), &s.skip)).collect();
    assert_eq!(skips, [("c", &Skip::Needs { operation: "a".into() })]);
}

#[test]
fn a_resource_that_fails_ends_the_run_with_all_that_is_watched() {
    let twins = Twins::new(ScriptedBuilder::default());
    twins.target.show("bad", [job(Some("Failed"))]);
    twins.target.show("slow", [job(None)]);
    let tracking = crate::plan::Tracking::default;
    let plan = plan(vec![wait("slow", &[], tracking()), wait("bad", &[], tracking()), write("a", &["bad"], None)]);
    let (outcome, _) = twins.run(&plan, 4, OnFailure::Continue);
    assert_eq!(outcome.failed[0].causes, ["TheEnd"]);
    let skips: Vec<(&str, &Skip)> = outcome.skipped.iter().map(|s| (s.subject.operation.as_str(), &s.skip)).collect();
    assert_eq!(skips, [("slow", &Skip::Stopped), ("a", &Skip::Needs { operation: "bad".into() })]);
}

#[test]
fn a_failure_may_be_ignored_or_outlived() {
    use crate::plan::{FailMode, Tracking};
    let twins = Twins::new(ScriptedBuilder::default());
    let mode = |fail_mode| Tracking { fail_mode, ..Tracking::default() };
    twins.target.show("ignored", [job(Some("Failed"))]);
    twins.target.show("hopeful", [job(Some("Failed")), job(Some("Complete"))]);
    let plan = plan(vec![
        wait("ignored", &[], mode(FailMode::Ignore)),
        wait("hopeful", &["ignored"], mode(FailMode::Hope)),
        wait("other", &[], Tracking::default()),
    ]);
    twins.target.show("other", [job(None), job(None), job(None), job(Some("Complete"))]);
    let (outcome, _) = twins.run(&plan, 4, OnFailure::Continue);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!((outcome.ignored.len(), outcome.done.len()), (1, 3));
    twins.target.show("hopeful", [job(Some("Failed"))]);
    let (outcome, _) = twins.run(&plan, 4, OnFailure::Continue);
    assert_eq!(outcome.failed[0].subject.operation, "hopeful");
}

#[test]
fn the_time_of_a_run_is_kept_and_what_was_late_is_told() {
    let twins = Twins::new(ScriptedBuilder::default());
    twins.target.show("slow", [job(None)]);
    let plan = plan(vec![wait("slow", &[], crate::plan::Tracking::default()), write("a", &["slow"], None)]);
    let forecast = Forecast::default();
    let cancelled = AtomicBool::new(false);
    let options = Options { timeout_ms: Some(200), ..Options::new(&forecast, &cancelled) };
    let outcome = run(&plan, &twins.ports(), &options, &|_| {}).unwrap();
    assert!(outcome.failed[0].causes[0].starts_with("it is not ready after "), "{outcome:?}");
    assert_eq!(outcome.skipped.len(), 1);
}

/// A lock that is held as the script says, look by look; the last again and again.
struct ScriptedLock(Mutex<Vec<crate::ports::Hold>>, bool);

impl crate::ports::LockGuard for ScriptedLock {
    fn hold(&self) -> crate::ports::Hold {
        let mut script = self.0.lock().unwrap();
        if script.len() > 1 { script.remove(0) } else { script[0].clone() }
    }

    fn confirm(&self) -> Result<(), crate::ports::LockError> {
        let held = || crate::ports::LockError::Held { name: "l".into(), holder: "me".into(), since: None };
        if self.1 { Ok(()) } else { Err(held()) }
    }
}

#[test]
fn a_run_begins_nothing_while_its_lock_is_unsure_and_nothing_more_once_it_is_lost() {
    use crate::ports::Hold;
    let twins = Twins::new(ScriptedBuilder::default());
    let forecast = Forecast::default();
    let cancelled = AtomicBool::new(false);
    let with = |lock: &ScriptedLock, plan: &Plan| {
        let options = Options { lock: Some(lock), ..Options::new(&forecast, &cancelled) };
        run(plan, &twins.ports(), &options, &|_| {}).unwrap()
    };
    let two = plan(vec![build("a", &[]), build("b", &["a"])]);
    let unsure = ScriptedLock(Mutex::new(vec![Hold::Unsure, Hold::Unsure, Hold::Unsure, Hold::Sure]), true);
    assert!(with(&unsure, &two).is_success());
    let lost = ScriptedLock(Mutex::new(vec![Hold::Lost("somebody has it".into())]), true);
    let outcome = with(&lost, &two);
    let skips: Vec<&Skip> = outcome.skipped.iter().map(|s| &s.skip).collect();
    assert_eq!((outcome.done.len(), skips), (0, vec![&Skip::Unlocked, &Skip::Unlocked]));
    // What there was no place for is taken before the record is opened.
    let open = Work::OpenRelease {
        release: "shop".into(),
        revision: 1,
        payload: crate::plan::Sensitive::new("{}".to_owned()),
    };
    let held = ScriptedLock(Mutex::new(vec![Hold::Sure]), false);
    let outcome = with(&held, &plan(vec![operation("open", &[], Vec::new(), open)]));
    assert!(outcome.failed[0].causes[0].contains("held by me"), "{outcome:?}");
}

#[test]
fn a_dismissal_that_was_killed_after_the_records_went_is_resumed() {
    let twins = Twins::new(ScriptedBuilder::default());
    twins.target.tamper("namespace.yaml", Some("there"));
    let release = || "shop/shop".to_owned();
    let revision = vec![Guard::ReleaseRevision { release: release(), revision: Some(3) }];
    let payload = crate::plan::Sensitive::new("{}".to_owned());
    let opens = Work::OpenRelease { release: release(), revision: 3, payload };
    let waits = |path: &str, until| {
        let tracking = crate::plan::Tracking { until, ..crate::plan::Tracking::default() };
        Work::AwaitResource { address: path.into(), path: path.into(), tracking }
    };
    let namespace = Work::DeleteResource { address: "-/Namespace/shop".into(), path: "namespace.yaml".into() };
    let plan = plan(vec![
        operation("open", &[], revision, opens),
        write("hook", &["open"], Some("before")),
        operation("await", &["hook"], Vec::new(), waits("hook.yaml", crate::plan::Until::Finished)),
        operation("forget", &["await"], Vec::new(), Work::ForgetRelease { release: release() }),
        operation("delete", &["forget"], Vec::new(), namespace),
    ]);
    assert_eq!(check_guards(&plan, &twins.ports(), false).unwrap().violations.len(), 2);
    assert_eq!(check_guards(&plan, &twins.ports(), true).unwrap().violations, Vec::new());
    let cancelled = AtomicBool::new(false);
    let forecast = Forecast::new(&plan.operations, &Durations::new());
    let options = Options { resume: true, ..Options::new(&forecast, &cancelled) };
    let events = Mutex::new(Vec::new());
    let outcome = run(&plan, &twins.ports(), &options, &|event| events.lock().unwrap().push(event)).unwrap();
    assert!(outcome.is_success() && outcome.done.len() == 5, "{outcome:?}");
    let done = |e: &&Event| matches!(e, Event::Done { .. });
    assert_eq!(events.lock().unwrap().iter().filter(done).count(), 1, "only the namespace is deleted");
}
