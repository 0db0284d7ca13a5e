//! Laws of signatures and of `why` over hundreds of edits: a tag changes if and only if something that reaches the
//! image changed, and the reason names just what was edited, and who edited it.
//!
//! The one idea: every edit knows which images it reaches and what must be said of it; a project in memory is signed
//! before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use stagewright::config;
use stagewright::diag::Diagnostics;
use stagewright::observed::StoredFact;
use stagewright::pipeline::{ProjectInputs, load};
use stagewright::plan::{
    Cause, CauseContext, Fidelity, ImageAction, ImagePlan, Inputs, Plan, Reason, Summary, differences, image_causes,
};
use stagewright::signature::{ANNOTATION_INGREDIENTS, Record, SignedImage};
use stagewright::source::{
    CommitNote, Files, LastChange, MemoryHistory, MemoryObjects, Mode, ObjectId, Objects, Sources,
};

type Tree = BTreeMap<String, (Mode, String)>;

const WERF: &str = "\
project: edits
configVersion: 1
---
image: web
dockerfile: Dockerfile
context: app
args:
  LEVEL: debug
  OS: '3.1'
---
image: static
from: registry.example/nginx:1.25
git:
- add: /site
  to: /srv
  owner: www
  includePaths: ['**/*.html', css]
  excludePaths: ['**/draft-*']
docker:
  ENV:
    MODE: fast
---
image: tool
from: registry.example/builder:7
shell:
  install:
  - make tools
import:
- image: static
  add: /srv
  to: /www
  after: install
";

const DOCKERFILE: &str = "\
# builds the server
ARG OS=3.0
FROM registry.example/alpine:${OS} AS build
ARG LEVEL=info
ENV LEVEL=$LEVEL
COPY src /src
RUN make LEVEL=$LEVEL

FROM registry.example/alpine:${OS}
COPY --from=build /src/out /bin/server
COPY conf/*.toml /etc/server/
LABEL team=core
CMD [\"server\"]
";

const ALL: &[&str] = &["static", "tool", "web"];

/// The images that a file reaches. Written down a second time, by hand: this is the law.
fn reached_by(path: &str) -> &'static [&'static str] {
    let name = path.rsplit('/').next().unwrap();
    let in_folder = |folder: &str| path.strip_prefix(folder).is_some();
    if in_folder("app/src/") && !name.ends_with(".md") {
        return &["web"];
    }
    if path.strip_prefix("app/conf/").is_some_and(|rest| !rest.contains('/') && rest.ends_with(".toml")) {
        return &["web"];
    }
    let taken = path.strip_prefix("site/").is_some_and(|rest| rest.ends_with(".html") || rest.starts_with("css/"));
    if taken && !name.starts_with("draft-") { &["static", "tool"] } else { &[] }
}

fn project() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: &str, text: &str| {
        tree.insert(path.to_owned(), (Mode::File, text.to_owned()));
    };
    put("werf.yaml", WERF);
    put("app/Dockerfile", DOCKERFILE);
    put("app/.dockerignore", "**/*.md\nDockerfile\n");
    for folder in ["app/src", "app/src/lib/deep", "app/conf", "app/conf/more", "site", "site/css", "site/blog", "docs"]
    {
        for name in ["a.txt", "b.html", "c.toml", "d.md", "draft-e.html"] {
            put(&format!("{folder}/{name}"), &format!("{folder} {name}\none\ntwo\n"));
        }
    }
    tree
}

/// A source of numbers; the same for every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// What was edited, which images it reaches, and the words that each of their reasons holds.
struct Edit {
    told: String,
    reaches: &'static [&'static str],
    /// A file (`path change`), or a key.
    names: String,
}

/// Edits one file of the repository: its text, its mode, or whether it is there.
fn edit_file(tree: &mut Tree, dice: &mut Dice, number: usize) -> Edit {
    let editable = |path: &&String| !matches!(path.as_str(), "werf.yaml" | "app/Dockerfile" | "app/.dockerignore");
    let paths: Vec<String> = tree.keys().filter(editable).cloned().collect();
    let path = paths[dice.roll(paths.len())].clone();
    let (path, change) = match dice.roll(4) {
        0 => {
            tree.get_mut(&path).unwrap().1.push_str(&format!("line {number}\n"));
            (path, "modified")
        }
        1 => {
            let mode = &mut tree.get_mut(&path).unwrap().0;
            *mode = if *mode == Mode::File { Mode::Executable } else { Mode::File };
            (path, "mode")
        }
        2 if path.contains("a.txt") || path.contains("b.html") => {
            tree.remove(&path);
            (path, "removed")
        }
        _ => {
            let (folder, name) = path.rsplit_once('/').unwrap();
            let new = format!("{folder}/n{number}-{name}");
            tree.insert(new.clone(), (Mode::File, "new\n".to_owned()));
            // A name of its own: `draft-` begins no name any more.
            (new, "added")
        }
    };
    Edit { told: format!("{path} {change}"), reaches: reached_by(&path), names: format!("{path} {change}") }
}

/// Edits of the configuration: file, old text, new text (`@` is a number), images, the key that is named.
#[rustfmt::skip]
const SETTINGS: &[(&str, &str, &str, &[&str], &str)] = &[
    ("werf.yaml", "LEVEL: debug", "LEVEL: level@", &["web"], "werf.yaml argument LEVEL"),
    ("werf.yaml", "OS: '3.1'", "OS: '4.@'", &["web"], "werf.yaml argument OS"),
    ("werf.yaml", "to: /srv\n", "to: /srv@\n", &["static", "tool"], "werf.yaml instruction"),
    ("werf.yaml", "owner: www", "owner: user@", &["static", "tool"], "werf.yaml instruction"),
    ("werf.yaml", "nginx:1.25", "nginx:2.@", &["static", "tool"], "werf.yaml base"),
    ("werf.yaml", "builder:7", "builder:8.@", &["tool"], "werf.yaml base"),
    ("werf.yaml", "MODE: fast", "MODE: slow@", &["static", "tool"], "werf.yaml instruction"),
    ("werf.yaml", "make tools", "make tools@", &["tool"], "werf.yaml instruction"),
    ("werf.yaml", "to: /www", "to: /www@", &["tool"], "werf.yaml instruction"),
    ("werf.yaml", "---\nimage: web", "# note @\n---\nimage: web", &[], ""),
    ("app/Dockerfile", "# builds the server", "# builds the server, @", &[], ""),
    ("app/Dockerfile", "ARG LEVEL=info", "ARG LEVEL=other@", &[], ""),
    ("app/Dockerfile", "RUN make LEVEL", "RUN make -j@ LEVEL", &["web"], "app/Dockerfile instruction"),
    ("app/Dockerfile", "COPY src /src", "COPY src /src@", &["web"], "app/Dockerfile instruction"),
    ("app/Dockerfile", "/bin/server", "/bin/server@", &["web"], "app/Dockerfile instruction"),
    ("app/Dockerfile", "team=core", "team=core@", &["web"], "app/Dockerfile instruction"),
    ("app/Dockerfile", "CMD [\"server\"]", "CMD [\"server\", \"@\"]", &["web"], "app/Dockerfile instruction"),
    ("app/Dockerfile", "alpine:${OS}\nCOPY --from", "alpine:${OS}-slim@\nCOPY --from", &["web"], "app/Dockerfile base"),
];

fn edit_setting(tree: &mut Tree, dice: &mut Dice, number: usize) -> Edit {
    let (path, old, new, reaches, names) = SETTINGS[dice.roll(SETTINGS.len())];
    let text = &mut tree.get_mut(path).unwrap().1;
    assert!(text.contains(old), "{path} has no `{old}`");
    let new = new.replace('@', &number.to_string());
    *text = text.replacen(old, &new, 1);
    Edit { told: format!("{path}: {old} -> {new}"), reaches, names: names.to_owned() }
}

fn files(store: &Arc<MemoryObjects>, tree: &Tree) -> Files {
    let changes = tree.iter().map(|(path, (mode, text))| (path.clone(), Some((*mode, text.clone().into_bytes()))));
    let root: ObjectId = store.with_changes(None, &changes.collect()).unwrap();
    Files::new(store.clone(), root)
}

fn signed(files: Files, commit: usize) -> Vec<SignedImage> {
    let (mut d, sources) = (Diagnostics::new(), Sources::new());
    let commit = config::Commit { hash: format!("{commit:040x}"), ..config::Commit::default() };
    let project = load(&mut d, &sources, &ProjectInputs::new(files, commit));
    project.unwrap_or_else(|| panic!("{:#?}", d.as_slice())).images
}

fn tags(images: &[SignedImage]) -> BTreeMap<String, String> {
    images.iter().map(|image| (image.name.clone(), image.signature.to_string())).collect()
}

#[test]
fn a_tag_changes_if_and_only_if_an_edit_reaches_its_image() {
    let store = Arc::new(MemoryObjects::new());
    let mut dice = Dice(1);
    let before = tags(&signed(files(&store, &project()), 0));
    let mut reached = 0;
    for number in 1..=500 {
        let mut tree = project();
        let make = if dice.roll(3) == 0 { edit_setting } else { edit_file };
        let edit = make(&mut tree, &mut dice, number);
        let after = tags(&signed(files(&store, &tree), number));
        let changed: Vec<&str> = ALL.iter().copied().filter(|name| before[*name] != after[*name]).collect();
        assert_eq!(changed, edit.reaches, "edit {number}: {}", edit.told);
        reached += usize::from(!changed.is_empty());
    }
    assert!((150..450).contains(&reached), "{reached} edits of both kinds");
}

#[test]
fn every_order_of_commits_ends_in_the_same_tags() {
    let store = Arc::new(MemoryObjects::new());
    let mut dice = Dice(2);
    let edits: Vec<usize> = (1..=12).collect();
    let ends: BTreeSet<_> = (0..6)
        .map(|_| {
            let mut order = edits.clone();
            (1..order.len()).rev().for_each(|i| order.swap(i, dice.roll(i + 1)));
            let mut tree = project();
            for number in order {
                // Edits of different places: one text, one new file and one setting in turn.
                match number % 3 {
                    0 => tree.insert(format!("site/n{number}.html"), (Mode::File, "x".to_owned())).map_or((), drop),
                    1 => tree.get_mut(dice_path(number)).unwrap().1.insert(0, 'x'),
                    _ => {
                        let (path, old, new, ..) = SETTINGS[number];
                        let text = &mut tree.get_mut(path).unwrap().1;
                        *text = text.replacen(old, new, 1);
                    }
                }
                signed(files(&store, &tree), number);
            }
            tags(&signed(files(&store, &tree), 0))
        })
        .collect();
    assert_eq!(ends.len(), 1, "{ends:#?}");
}

fn dice_path(number: usize) -> &'static str {
    ["app/src/a.txt", "site/b.html", "app/conf/c.toml", "docs/d.md"][number % 4]
}

/// Writes a reason as the law does: `path change` or `file key`; those of used images stand for their own.
fn words(reason: &Value) -> Vec<String> {
    let text = |key: &str| reason[key].as_str().unwrap_or_default().to_owned();
    let file = || reason["place"]["file"].as_str().unwrap_or_default().to_owned();
    match reason["code"].as_str().unwrap() {
        "file" => vec![format!("{} {}", file(), text("change"))],
        "setting" => vec![format!("{} {}", file(), text("key"))],
        "base" => vec![format!("{} base", file())],
        "uses_image" => reason["because"].as_array().unwrap().iter().flat_map(words).collect(),
        other => vec![format!("{other}: {reason}")],
    }
}

/// Commits that lead to a tree: the edit, hidden between others that reach nothing, on a branch of its own at times.
fn told(store: &Arc<MemoryObjects>, edited: &mut Tree, number: usize) -> (MemoryHistory, String) {
    let mut history = MemoryHistory::over(store.clone());
    let base = project();
    let commit = |history: &mut MemoryHistory, tree: &Tree, parents: &[ObjectId], author: &str, at: usize| {
        let hash = format!("{:040x}", (number << 8) + at);
        let note = CommitNote { hash, author: author.to_owned(), ..CommitNote::default() };
        history.commit(files(store, tree).root(), parents, note)
    };
    let note = |tree: &mut Tree, path: &str| tree.get_mut(path).unwrap().1.insert_str(0, "# nothing of weight\n");
    let mut decoy = base.clone();
    note(&mut decoy, "werf.yaml");
    note(&mut decoy, "docs/a.txt");
    note(edited, "werf.yaml");
    note(edited, "docs/a.txt");
    let first = commit(&mut history, &base, &[], "the first", 0);
    let second = if number.is_multiple_of(3) {
        let mut side = edited.clone();
        side.get_mut("docs/a.txt").unwrap().1.drain(..20);
        side.get_mut("werf.yaml").unwrap().1.drain(..20);
        let left = commit(&mut history, &decoy, &[first], "somebody", 1);
        let right = commit(&mut history, &side, &[first], "the editor", 2);
        commit(&mut history, edited, &[left, right], "a merger", 3)
    } else {
        let second = commit(&mut history, &decoy, &[first], "somebody", 1);
        commit(&mut history, edited, &[second], "the editor", 2)
    };
    note(edited, "app/Dockerfile");
    commit(&mut history, edited, &[second], "somebody else", 4);
    (history, first.to_string())
}

/// Gathers the authors behind causes; those without a file name none.
fn authors(causes: &[Cause], found: &mut BTreeSet<String>) {
    for cause in causes {
        match &cause.last_change {
            Some(LastChange::Commit(note)) => found.extend([note.author.clone()]),
            Some(other) => found.extend([format!("{other:?}")]),
            None => {}
        }
        authors(&cause.because, found);
    }
}

fn image_plan(image: &SignedImage, reasons: Vec<Reason>, since: &str) -> ImagePlan {
    ImagePlan {
        name: image.name.clone(),
        action: ImageAction::Build,
        tag: image.signature.to_string(),
        platforms: Vec::new(),
        previous_tag: None,
        previous_commit: Some(since.to_owned()),
        custom_tags: Vec::new(),
        copied_to: None,
        reference: String::new(),
        is_final: image.is_final,
        place: image.place.clone(),
        reasons,
    }
}

fn empty_plan() -> Plan {
    Plan {
        format_version: String::new(),
        project: String::new(),
        commit: String::new(),
        fidelity: Fidelity::Offline,
        inputs: Inputs::default(),
        summary: Summary::default(),
        risks: Vec::new(),
        stages: Vec::new(),
        images: Vec::new(),
        resources: Vec::new(),
        cleanup: Vec::new(),
        hooks: Vec::new(),
        operations: Vec::new(),
        record_reasons: Vec::new(),
        hidden: stagewright::plan::Sensitive::default(),
    }
}

#[test]
fn why_names_what_was_edited_and_nothing_else() {
    let store = Arc::new(MemoryObjects::new());
    let mut dice = Dice(3);
    let old = signed(files(&store, &project()), 0);
    let fact = |image: &SignedImage| {
        let record = Record::new(image.stages.iter().flat_map(|(_, signed)| &signed.ingredients)).to_json();
        let annotations = BTreeMap::from([(ANNOTATION_INGREDIENTS.to_owned(), record)]);
        StoredFact { tag: image.signature.to_string(), manifest: String::new(), annotations }
    };
    let facts: BTreeMap<String, StoredFact> = old.iter().map(|image| (image.name.clone(), fact(image))).collect();
    let mut explained = 0;
    for number in 1.. {
        if explained == 200 {
            break;
        }
        let mut tree = project();
        let make = if dice.roll(2) == 0 { edit_setting } else { edit_file };
        let edit = make(&mut tree, &mut dice, number);
        if edit.reaches.is_empty() {
            continue;
        }
        let objects: Arc<dyn Objects> = store.clone();
        let mut reasons = BTreeMap::new();
        let (history, since) = told(&store, &mut tree, number);
        let read = files(&store, &tree);
        let images = signed(read.clone(), number);
        let mut plan = empty_plan();
        for image in &images {
            let found = differences(&facts[&image.name], image, &reasons, &*objects);
            let told: Vec<Value> = found.iter().map(|reason| serde_json::to_value(reason).unwrap()).collect();
            let told: BTreeSet<String> = told.iter().flat_map(words).collect();
            let wanted = edit.reaches.contains(&image.name.as_str()).then(|| edit.names.clone());
            assert_eq!(told, wanted.into_iter().collect(), "edit {number}: {} in {}", edit.told, image.name);
            plan.images.push(image_plan(image, found.clone(), &since));
            reasons.insert(image.name.clone(), found);
        }
        let context = CauseContext { plan: &plan, images: &images, history: &history, files: &read, project_dir: "" };
        for image in &plan.images {
            let mut found = BTreeSet::new();
            let causes = image_causes(&context, image);
            authors(&causes, &mut found);
            let wanted = edit.reaches.contains(&image.name.as_str()).then(|| "the editor".to_owned());
            assert_eq!(found, wanted.into_iter().collect(), "edit {number}: {} in {}", edit.told, image.name);
            assert!(causes.iter().all(|cause| !cause.stages.is_empty()), "edit {number}: {causes:#?}");
        }
        explained += 1;
    }
}
