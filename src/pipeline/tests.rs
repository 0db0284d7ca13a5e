//! The main job over twins: plan, apply, empty plan, an edit and its reasons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::config;
use crate::diag::Diagnostics;
use crate::eval::NoHost;
use crate::exec::{self, OnFailure};
use crate::plan::{ImageAction, Plan, Reason, ResourceAction, StageSelection};
use crate::ports::{
    BuildContext, BuildError, Builder, BuiltImage, Descriptor, FixedClock, MemoryStore, MemoryTarget, StageStore,
    Target,
};
use crate::source::{Files, MemoryHistory, MemoryObjects, Mode, Sources};
use crate::stage::BuildRequest;

const SHOP: &[(&str, &str)] = &[
    (
        "werf.yaml",
        "project: shop\nconfigVersion: 1\n---\nimage: backend\ndockerfile: Dockerfile\ncontext: backend\n---\n\
         image: assets\nfrom: scratch\nfinal: false\ngit:\n- add: /assets\n  to: /srv\n---\n\
         image: frontend\nfrom: scratch\nimport:\n- image: assets\n  add: /srv\n  to: /www\n  after: install\n\
         docker:\n  EXPOSE: \"80\"\n",
    ),
    ("backend/Dockerfile", "FROM scratch\nARG VERSION=1\nENV APP=$VERSION\nCOPY app.txt /app/\n"),
    ("backend/app.txt", "one\ntwo\n"),
    ("assets/index.html", "<html>\n"),
    ("README.md", "read me\n"),
    (
        ".helm/templates/web.yaml",
        "{{- range $name, $image := .Values.werf.image }}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  \
         name: {{ $name }}\nspec:\n  replicas: {{ $.Values.replicas }}\n  selector:\n    matchLabels: {app: {{ $name }}}\n  \
         template:\n    metadata:\n      labels: {app: {{ $name }}}\n    spec:\n      containers:\n      \
         - name: app\n        image: {{ $image }}\n{{- end }}\n",
    ),
    (".helm/values.yaml", "# how many\nreplicas: 2\n"),
];

/// Stores an image of no layers whose configuration is the request.
struct NotingBuilder;

impl Builder for NotingBuilder {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn concurrency(&self) -> usize {
        2
    }

    fn build(&self, request: &BuildRequest, context: &BuildContext<'_>) -> Result<BuiltImage, BuildError> {
        let bytes = serde_json::to_vec(request).unwrap();
        let (digest, size) = context.store.put(&mut |out| out.write_all(&bytes))?;
        let media_type = "application/vnd.oci.image.config.v1+json".to_owned();
        Ok(BuiltImage { config: Descriptor { media_type, digest, size }, layers: Vec::new() })
    }
}

struct World {
    files: Files,
    store: MemoryStore,
    target: MemoryTarget,
}

impl World {
    fn new(texts: &[(&'static str, &'static str)]) -> Self {
        let files = MemoryObjects::files(texts.iter().copied());
        Self { files, store: MemoryStore::default(), target: MemoryTarget::default() }
    }

    fn edit(&mut self, path: &str, text: &str) {
        let over = MemoryObjects::over(self.files.objects().clone());
        let changes = BTreeMap::from([(path.to_owned(), Some((Mode::File, text.as_bytes().to_vec())))]);
        let root = over.with_changes(Some(self.files.root()), &changes).unwrap();
        self.files = Files::new(Arc::new(over), root);
    }

    fn inputs(&self) -> ProjectInputs {
        ProjectInputs::new(self.files.clone(), config::Commit { hash: "c".repeat(40), ..config::Commit::default() })
    }

    fn plan(&self) -> (Result<Plan, PlanError>, Vec<String>) {
        self.plan_from(None)
    }

    /// Plans against the store and the target, or against an older state of the files.
    fn plan_from(&self, old: Option<&ProjectInputs>) -> (Result<Plan, PlanError>, Vec<String>) {
        let sources = Sources::new();
        let mut d = Diagnostics::new();
        let inputs = self.inputs();
        let project = load(&mut d, &sources, &inputs);
        let plan = project.map_or(Err(PlanError::Diagnostics), |project| {
            let store: &dyn StageStore = &self.store;
            let target: &dyn Target = &self.target;
            let request = PlanRequest {
                force_adoption: false,
                force_conflicts: false,
                yield_conflicts: false,
                no_remove_manual_changes: false,
                no_hooks: false,
                project: &project,
                inputs: &inputs,
                images: &[],
                deploy: true,
                store: (store, "memory"),
                target: Some((target, "memory")),
                builder: "noting",
                selection: StageSelection::Either,
                final_store: None,
                secondary_repos: &[],
                custom_tags: &std::collections::BTreeMap::new(),
                runs_commands: false,
                cannot_run: &|_| None,
                host: &NoHost,
            };
            match old {
                Some(old) => plan_since(&mut d, &sources, &request, old),
                None => plan(&mut d, &sources, &request),
            }
        });
        let words = d.into_sorted(&sources).into_iter().map(|d| format!("{}: {}", d.rule.name, d.message));
        (plan, words.collect())
    }

    fn plan_ok(&self) -> Plan {
        let (plan, diagnostics) = self.plan();
        plan.unwrap_or_else(|e| panic!("{e}: {diagnostics:#?}"))
    }

    fn apply(&self, plan: &Plan) {
        let objects = self.files.objects().clone();
        let clock = FixedClock::at(1_700_000_000_000);
        let ports = exec::Ports {
            final_store: None,
            objects: &objects,
            store: &self.store,
            builder: &NotingBuilder,
            target: Some(&self.target),
            history: &MemoryHistory::default(),
            clock: &clock,
        };
        let cancelled = AtomicBool::new(false);
        let forecast = exec::Forecast::default();
        let on_failure = OnFailure::Stop;
        let options = exec::Options { parallel: 2, on_failure, ..exec::Options::new(&forecast, &cancelled) };
        assert_eq!(exec::check_guards(plan, &ports, false).unwrap().violations, []);
        let outcome = exec::run(plan, &ports, &options, &|_| {}).unwrap();
        assert!(outcome.is_success(), "{outcome:#?}");
    }
}

fn images(plan: &Plan, action: ImageAction) -> Vec<&str> {
    plan.images.iter().filter(|i| i.action == action).map(|i| i.name.as_str()).collect()
}

fn changed(plan: &Plan) -> Vec<&str> {
    plan.resources.iter().filter(|r| r.action != ResourceAction::Noop).map(|r| r.name.as_str()).collect()
}

fn files(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().flat_map(Reason::places).map(ToString::to_string).collect()
}

#[test]
fn the_first_plan_builds_and_creates_everything_and_the_next_is_empty() {
    let world = World::new(SHOP);
    let plan = world.plan_ok();
    assert_eq!(images(&plan, ImageAction::Build), ["backend", "assets", "frontend"]);
    assert_eq!(changed(&plan), ["backend", "frontend"]);
    assert_eq!(serde_json::to_string(&plan).unwrap(), serde_json::to_string(&world.plan_ok()).unwrap());
    world.apply(&plan);
    let next = world.plan_ok();
    assert!(!next.has_changes() && next.operations.is_empty(), "{next:#?}");
}

#[test]
fn an_edit_of_a_file_names_it_in_every_reason() {
    let mut world = World::new(SHOP);
    world.apply(&world.plan_ok());
    world.edit("assets/index.html", "<html>new\n");
    let plan = world.plan_ok();
    assert_eq!(images(&plan, ImageAction::Build), ["assets", "frontend"]);
    assert_eq!(changed(&plan), ["frontend"]);
    for image in plan.images.iter().filter(|i| i.action == ImageAction::Build) {
        assert_eq!(files(&image.reasons), ["assets/index.html:1"], "{image:#?}");
    }
    let frontend = plan.resources.iter().find(|r| r.name == "frontend").unwrap();
    assert_eq!(files(&frontend.reasons), ["assets/index.html:1"]);
    assert!(frontend.restart.is_some());
}

#[test]
fn a_file_that_reaches_no_image_changes_nothing() {
    let mut world = World::new(SHOP);
    world.apply(&world.plan_ok());
    world.edit("README.md", "new\n");
    assert!(world.plan_ok().operations.is_empty());
}

#[test]
fn a_changed_value_is_named_with_its_line() {
    let mut world = World::new(SHOP);
    world.apply(&world.plan_ok());
    world.edit(".helm/values.yaml", "# how many\nreplicas: 3\n");
    let plan = world.plan_ok();
    assert_eq!(images(&plan, ImageAction::Build), Vec::<&str>::new());
    let backend = plan.resources.iter().find(|r| r.name == "backend").unwrap();
    assert_eq!(backend.fields.len(), 1);
    assert_eq!(backend.fields[0].path, "spec.replicas");
    assert!(files(&backend.reasons).contains(&".helm/values.yaml:2".to_owned()), "{:#?}", backend.reasons);
}

#[test]
fn a_changed_argument_and_instruction_are_named_with_their_lines() {
    let mut world = World::new(SHOP);
    world.apply(&world.plan_ok());
    world.edit("backend/Dockerfile", "FROM scratch\nARG VERSION=2\nENV APP=$VERSION\nCOPY app.txt /app/\nLABEL a=b\n");
    let plan = world.plan_ok();
    assert_eq!(images(&plan, ImageAction::Build), ["backend"]);
    let named = files(&plan.images[0].reasons);
    assert_eq!(named, ["backend/Dockerfile:2", "backend/Dockerfile:5"], "{:#?}", plan.images[0]);
}

#[test]
fn a_changed_target_is_drift_and_a_removed_template_a_deletion() {
    let mut world = World::new(SHOP);
    world.apply(&world.plan_ok());
    let path = "shop/deployment-backend.yaml";
    let text = String::from_utf8(world.target.content(path).unwrap().unwrap()).unwrap();
    world.target.tamper(path, Some(&text.replace("replicas: 2", "replicas: 5")));
    let plan = world.plan_ok();
    let backend = plan.resources.iter().find(|r| r.name == "backend").unwrap();
    assert_eq!(backend.drift.len(), 1, "{backend:#?}");
    world.apply(&plan);
    world.edit(".helm/templates/web.yaml", "");
    let plan = world.plan_ok();
    assert_eq!(plan.summary.delete, 2, "{:#?}", plan.summary);
    world.apply(&plan);
    assert!(world.plan_ok().operations.is_empty());
}

#[test]
fn a_plan_since_an_older_commit_needs_no_store_and_no_target() {
    let mut world = World::new(SHOP);
    let old = world.inputs();
    assert!(world.plan_from(Some(&old)).0.unwrap().operations.is_empty());
    world.edit("backend/app.txt", "one\n2\n");
    let plan = world.plan_from(Some(&old)).0.unwrap();
    assert_eq!(images(&plan, ImageAction::Build), ["backend"]);
    assert_eq!(files(&plan.images[0].reasons), ["backend/app.txt:2"]);
    assert_eq!(changed(&plan), ["backend"]);
}

#[test]
fn a_command_is_planned_with_a_warning() {
    let mut world = World::new(SHOP);
    world.edit("backend/Dockerfile", "FROM scratch\nCOPY app.txt /\nRUN make\n");
    let (plan, diagnostics) = world.plan();
    assert!(plan.unwrap().has_changes());
    assert!(
        diagnostics.iter().any(|d| d == "needs-commands: image `backend` needs a builder that runs commands"),
        "{diagnostics:?}"
    );
}

#[test]
fn neither_a_secret_nor_its_digest_is_in_a_plan() {
    let mut world = World::new(SHOP);
    let manifest =
        |p: &str| format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\nstringData:\n  password: {p}\n");
    for password in ["hunter2", "hunter3"] {
        world.edit(".helm/templates/secret.yaml", &manifest(password));
        let plan = world.plan_ok();
        let json = serde_json::to_string(&plan).unwrap();
        assert!(changed(&plan).contains(&"login"));
        assert!(!json.contains("hunter"), "{json}");
        let digest = crate::digest::Sha224Digest::of_bytes(manifest(password).as_bytes());
        assert!(!json.contains(&digest.to_string()), "{json}");
        world.apply(&plan);
        assert!(world.plan_ok().operations.is_empty());
    }
}
