//! Test vectors of signatures: a compatibility contract. A changed vector rebuilds every project of every user; it comes
//! with a new `ENCODING_VERSION` and a line in the changelog.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use stagewright::config;
use stagewright::diag::Diagnostics;
use stagewright::pipeline::{ProjectInputs, load};
use stagewright::source::{Files, MemoryObjects, Sources};

const PROJECT: &[(&str, &str)] = &[
    (
        "werf.yaml",
        "project: vectors\nconfigVersion: 1\nbuild:\n  cacheVersion: v1\n---\nimage: docker\ndockerfile: Dockerfile\ncontext: app\n\
         target: final\nargs:\n  LEVEL: debug\n---\nimage: git\nfrom: scratch\nfinal: false\ngit:\n- add: /app\n  to: /srv\n  \
         owner: \"1000\"\n  includePaths: ['**/*.txt']\n  excludePaths: [b.txt]\ndocker:\n  ENV: {B: \"2\", A: \"1\"}\n  \
         EXPOSE: [\"80\"]\n---\nimage: import\nfrom: base.example/os:1\nimport:\n- from: git\n  add: /srv\n  to: /www\n  \
         after: install\nshell:\n  install: [make]\n",
    ),
    (
        "app/Dockerfile",
        "FROM scratch AS files\nCOPY . /all\nFROM base.example/os:1 AS final\nARG LEVEL=info\nENV LEVEL=$LEVEL PATH=/x:$PATH\n\
         COPY --from=files --chown=1:2 /all/a.txt /a\nCOPY --chmod=0600 *.txt /txt/\nCOPY <<note /note\n$LEVEL\nnote\nCMD a b\n",
    ),
    ("app/a.txt", "a\n"),
    ("app/b.txt", "b\n"),
    ("app/.dockerignore", "Dockerfile\n"),
];

fn vectors(files: Files) -> Value {
    let sources = Sources::new();
    let mut d = Diagnostics::new();
    let inputs = ProjectInputs::new(files, config::Commit { hash: "c".repeat(40), ..config::Commit::default() });
    let project = load(&mut d, &sources, &inputs).unwrap_or_else(|| panic!("{:#?}", d.as_slice()));
    let image = |i: &stagewright::signature::SignedImage| {
        let stages: Vec<Value> = i
            .stages
            .iter()
            .map(|(stage, signed)| {
                let list = signed.ingredients.iter();
                let list: Vec<_> = list.map(|i| json!([i.kind.name(), i.key, i.value, i.detail])).collect();
                json!({ "name": stage.name, "digest": signed.digest, "ingredients": list })
            })
            .collect();
        (i.name.clone(), json!({ "signature": i.signature, "stages": stages }))
    };
    Value::Object(project.images.iter().map(image).collect())
}

#[test]
fn signatures_are_those_of_the_committed_vectors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/signature/vectors.json");
    let found = serde_json::to_string_pretty(&vectors(MemoryObjects::files(PROJECT.iter().copied()))).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        found,
        "signatures changed: every user would rebuild everything"
    );
}

#[test]
fn a_signature_changes_with_every_mapped_byte_and_with_no_other() {
    let tags = |edit: Option<(&'static str, &'static str)>| -> Vec<String> {
        let mut texts: BTreeMap<&str, &str> = PROJECT.iter().copied().collect();
        texts.extend(edit);
        let vectors = vectors(MemoryObjects::files(texts));
        ["docker", "git", "import"].map(|n| vectors[n]["signature"].as_str().unwrap().to_owned()).to_vec()
    };
    let before = tags(None);
    let changed = |edit| {
        let after = tags(Some(edit));
        before.iter().zip(&after).map(|(a, b)| a != b).collect::<Vec<bool>>()
    };
    assert_eq!(changed(("app/a.txt", "A\n")), [true, true, true]);
    assert_eq!(changed(("app/b.txt", "B\n")), [true, false, false]);
    assert_eq!(changed(("README.md", "new\n")), [false, false, false]);
    assert_eq!(
        changed(("app/.dockerignore", "Dockerfile\n*.log\n")),
        [true, false, false],
        "it is a file of the context"
    );
    assert_eq!(
        changed(("app/Dockerfile.dockerignore", "Dockerfile\n.dockerignore\nDockerfile.dockerignore\n")),
        [true, false, false]
    );
}
