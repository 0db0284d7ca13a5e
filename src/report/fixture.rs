//! Plans for the tests of this room, written by hand.

use std::collections::BTreeMap;

use serde_json::json;

use crate::plan::{
    CleanupItem, FORMAT_VERSION, Fidelity, FieldChange, FieldOp, FileChange, Guard, ImageAction, ImagePlan, Inputs,
    Operation, Plan, Reason, ResourceAction, ResourcePlan, Restart, Risk, RiskLevel, Sensitive, StageAction, StagePlan,
    Summary, Work,
};
use crate::source::Place;
use crate::stage::{Base, BuildPart, BuildRequest, Platform};

/// A tag of 56 digits.
pub fn tag(letter: &str) -> String {
    letter.repeat(56)
}

fn at(file: &str, line: u32, end: u32) -> Place {
    Place { file: file.into(), line: Some(line), end_line: (end != line).then_some(end) }
}

fn change(path: &str, before: serde_json::Value, after: serde_json::Value) -> FieldChange {
    let op = if before.is_null() { FieldOp::Add } else { FieldOp::Change };
    FieldChange { path: path.into(), op, before, after, sensitive: false }
}

fn resource(kind: &str, name: &str, action: ResourceAction, reasons: Vec<Reason>) -> ResourcePlan {
    ResourcePlan {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: Some("shop".into()),
        name: name.into(),
        previous_address: None,
        action,
        source: Some(at(&format!(".helm/templates/{name}.yaml"), 1, 30)),
        fields: Vec::new(),
        replace_paths: Vec::new(),
        drift: Vec::new(),
        kept: Vec::new(),
        restart: None,
        reasons,
    }
}

fn image(
    name: &str,
    action: ImageAction,
    tag: String,
    previous_tag: Option<String>,
    reasons: Vec<Reason>,
) -> ImagePlan {
    let reference = format!("registry.example/shop:{tag}");
    let place = at("werf.yaml", 4, 9);
    ImagePlan {
        platforms: Vec::new(),
        name: name.into(),
        action,
        tag,
        previous_tag,
        previous_commit: None,
        custom_tags: Vec::new(),
        copied_to: None,
        reference,
        is_final: true,
        place,
        reasons,
    }
}

fn source_changed() -> Vec<Reason> {
    let version = Reason::Setting {
        key: "argument VERSION".into(),
        place: Some(at("werf.yaml", 8, 8)),
        before: Some("1.0".into()),
        after: Some("1.1".into()),
    };
    vec![Reason::File { place: at("backend/main.go", 12, 14), change: FileChange::Modified }, version]
}

/// A plan with one of everything.
pub fn shop() -> Plan {
    Plan {
        format_version: FORMAT_VERSION.into(),
        project: "shop".into(),
        commit: "1a2b3c4d".repeat(5),
        fidelity: Fidelity::Live,
        inputs: Inputs {
            env: Some("production".into()),
            release: Some("shop".into()),
            namespace: Some("shop".into()),
            revision: Some(41),
            repo: "oci:.stagewright/store".into(),
            final_repo: None,
            secondary_repos: Vec::new(),
            builder: "native".into(),
            target: Some("dir:.stagewright/manifests".into()),
            release_driver: None,
            cluster: None,
            tree: "9f".repeat(20),
            dev: false,
            no_hooks: false,
            no_remove_manual_changes: false,
            values_nulls: None,
            repositories: Vec::new(),
            added: Vec::new(),
            bundle: None,
        },
        summary: Summary {
            images_build: 2,
            images_reuse: 1,
            stages_build: 2,
            create: 1,
            update: 3,
            replace: 1,
            delete: 1,
            noop: 2,
            restarts: 2,
            drift: 1,
        },
        risks: vec![
            Risk {
                code: "exposure".into(),
                level: RiskLevel::Warning,
                address: "shop/Ingress/web".into(),
                path: None,
                message: "a new host is reachable".into(),
            },
            Risk {
                code: "data-loss".into(),
                level: RiskLevel::Danger,
                address: "shop/StatefulSet/db".into(),
                path: Some("spec.volumeClaimTemplates[name=data].spec.storageClassName".into()),
                message: "the volume is made again".into(),
            },
        ],
        stages: vec![StagePlan {
            platform: None,
            image: "backend".into(),
            stage: "dockerfile".into(),
            digest: tag("e"),
            action: StageAction::Build,
            stage_id: None,
            reasons: source_changed(),
            rejected: Vec::new(),
        }],
        images: images(),
        resources: resources(),
        cleanup: vec![CleanupItem { tag: tag("f"), reason: "older than 30 days and not used".into() }],
        hooks: Vec::new(),
        operations: operations(),
        record_reasons: Vec::new(),
        hidden: crate::plan::Sensitive::default(),
    }
}

fn images() -> Vec<ImagePlan> {
    let uses = Reason::UsesImage { image: "backend".into(), because: source_changed() };
    vec![
        image("backend", ImageAction::Build, tag("b"), Some(tag("a")), source_changed()),
        image("worker", ImageAction::Build, tag("d"), None, vec![uses]),
        image("frontend", ImageAction::Reuse, tag("c"), None, vec![Reason::InStore { tag: tag("c") }]),
    ]
}

fn resources() -> Vec<ResourcePlan> {
    vec![deployment(), config_map(), secret(), ingress(), stateful_set(), old_flags(), kept("api"), kept("web")]
}

fn deployment() -> ResourcePlan {
    let path = "spec.template.spec.containers[name=app].image";
    let reason = Reason::ImageTag {
        path: path.into(),
        image: "backend".into(),
        before: Some(tag("a")),
        after: tag("b"),
        because: source_changed(),
    };
    ResourcePlan {
        fields: vec![change(
            path,
            json!(format!("registry.example/shop/with/a/long/path/backend:{}", tag("a"))),
            json!(format!("registry.example/shop/with/a/long/path/backend:{}", tag("b"))),
        )],
        drift: vec![change("spec.replicas", json!(5), json!(3))],
        restart: Some(Restart { pods: Some(3), of: None, strategy: "RollingUpdate".into(), downtime: false }),
        ..resource("Deployment", "backend", ResourceAction::Update, vec![reason])
    }
}

fn config_map() -> ResourcePlan {
    let before = "server {\n  listen 80;\n  gzip off;\n}\n";
    let after = "server {\n  listen 80;\n  gzip on;\n  gzip_types text/css;\n}\n";
    let template = Reason::Template { place: at(".helm/templates/nginx.yaml", 5, 9), paths: vec!["data.conf".into()] };
    ResourcePlan {
        fields: vec![change("data.conf", json!(before), json!(after))],
        ..resource("ConfigMap", "nginx", ResourceAction::Update, vec![template])
    }
}

fn secret() -> ResourcePlan {
    let field = FieldChange { sensitive: true, ..change("data.TOKEN", json!("hunter1"), json!("hunter2")) };
    let field = FieldChange { before: json!(null), after: json!(null), ..field };
    let value = Reason::Template { place: at(".helm/templates/token.yaml", 6, 6), paths: vec!["data.TOKEN".into()] };
    ResourcePlan { fields: vec![field], ..resource("Secret", "token", ResourceAction::Update, vec![value]) }
}

fn ingress() -> ResourcePlan {
    ResourcePlan {
        fields: vec![
            change("spec.rules[0].host", json!(null), json!("shop.example")),
            change("spec.rules[0].http.paths", json!(null), json!([{"path": "/", "pathType": "Prefix"}])),
        ],
        ..resource("Ingress", "web", ResourceAction::Create, vec![Reason::NotInTarget])
    }
}

fn stateful_set() -> ResourcePlan {
    let path = "spec.volumeClaimTemplates[name=data].spec.storageClassName";
    let value = Reason::Value {
        place: Some(at(".helm/values.yaml", 31, 31)),
        key: "db.storageClass".into(),
        before: json!("standard"),
        after: json!("fast"),
    };
    ResourcePlan {
        fields: vec![change(path, json!("standard"), json!("fast"))],
        replace_paths: vec![path.into()],
        restart: Some(Restart { pods: Some(1), of: None, strategy: "OrderedReady".into(), downtime: true }),
        ..resource(
            "StatefulSet",
            "db",
            ResourceAction::Replace,
            vec![value, Reason::ImmutableField { path: path.into() }],
        )
    }
}

fn old_flags() -> ResourcePlan {
    let deleted = resource("ConfigMap", "old-flags", ResourceAction::Delete, vec![Reason::NotDeclared]);
    ResourcePlan { source: None, ..deleted }
}

fn kept(name: &str) -> ResourcePlan {
    resource("Service", name, ResourceAction::Noop, vec![Reason::Unchanged])
}

fn operations() -> Vec<Operation> {
    let part = BuildPart { name: "final".into(), base: Base::Scratch, arguments: BTreeMap::new(), steps: Vec::new() };
    let build = Work::BuildStage {
        platform: None,
        image: "backend".into(),
        stage: "dockerfile".into(),
        digest: tag("e"),
        request: BuildRequest::new(Platform::linux_amd64(), vec![part]),
        annotations: BTreeMap::from([("org.opencontainers.image.title".into(), "backend".into())]),
        binding: None,
    };
    let write = Work::WriteResource {
        address: "shop/Secret/token".into(),
        path: "shop/secret-token.yaml".into(),
        manifest: None,
        sealed: Sensitive::new("data: hunter2".into()),
        replace: false,
        adopt: false,
        leaves_replicas: false,
    };
    let record = Work::RecordRelease { release: "shop".into(), revision: 42, record: json!({"images": {}}) };
    let operation = |id: &str, needs: &[&str], guards: Vec<Guard>, work: Work| Operation {
        id: id.into(),
        needs: needs.iter().map(|n| (*n).to_owned()).collect(),
        guards,
        work,
    };
    vec![
        operation("build:backend/dockerfile", &[], vec![Guard::StageAbsent { digest: tag("e") }], build),
        operation(
            "write:shop/Secret/token",
            &["build:backend/dockerfile"],
            vec![Guard::ResourceContent { path: "shop/secret-token.yaml".into(), digest: Some(tag("7")) }],
            write,
        ),
        operation(
            "record:shop",
            &["write:shop/Secret/token"],
            vec![Guard::ReleaseRevision { release: "shop".into(), revision: Some(41) }],
            record,
        ),
    ]
}

/// A plan that changes nothing.
pub fn unchanged() -> Plan {
    let summary = Summary { images_reuse: 1, noop: 2, ..Summary::default() };
    Plan {
        summary,
        risks: Vec::new(),
        stages: Vec::new(),
        images: images().split_off(2),
        resources: vec![kept("api"), kept("web")],
        cleanup: Vec::new(),
        hooks: Vec::new(),
        operations: Vec::new(),
        ..shop()
    }
}
