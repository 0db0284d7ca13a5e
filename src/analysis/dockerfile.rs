//! What Dockerfiles and the images of werf.yaml get wrong without failing: stages that nobody needs, bases that change,
//! secrets that stay in the image.
//!
//! What lives here: one look at each Dockerfile, together with all images that are built from it. What does not: faults
//! that keep it from being built (`syntax`, `stage`).

use std::collections::BTreeSet;

use crate::diag::rules::{
    ADD_INSTEAD_OF_COPY, REMOTE_CONTENT, ROOT_USER, SECRET_IN_IMAGE, UNTAGGED_BASE, UNUSED_STAGE,
};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::syntax::dockerfile::{Base, Build, Copy, Dockerfile, Instruction, Kind, Stage, Word, reachable};

/// Reports what is wrong with a Dockerfile; `builds` is how the images of the project build it.
pub fn check(diagnostics: &mut Diagnostics, dockerfile: &Dockerfile, builds: &[Build]) {
    let mut needed: BTreeSet<usize> = BTreeSet::new();
    let mut bases: BTreeSet<usize> = BTreeSet::new();
    let mut last: BTreeSet<usize> = BTreeSet::new();
    for build in builds {
        // What cannot be resolved was reported when the image was read.
        let Some(found) = reachable(&mut Diagnostics::new(), dockerfile, build) else { return };
        last.insert(found.target);
        for input in &found.stages {
            needed.insert(input.index);
            let (Base::Image(image), Some(stage)) = (&input.base, dockerfile.stages.get(input.index)) else { continue };
            if bases.insert(input.index) {
                check_base(diagnostics, image, &stage.from.base);
            }
        }
    }
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        if !needed.contains(&index) {
            let name = stage.name().map_or_else(|| format!("number {index}"), |name| format!("`{name}`"));
            let message = format!("no image needs the stage {name}");
            let found = Diagnostic::at(&UNUSED_STAGE, stage.from.span, message);
            diagnostics.push(found.hint("take it out, or name it as the `target` of an image"));
            continue;
        }
        stage.instructions.iter().for_each(|instruction| check_instruction(diagnostics, instruction));
    }
    for stage in last.iter().filter_map(|index| dockerfile.stages.get(*index)) {
        check_user(diagnostics, stage);
    }
    dockerfile.globals.iter().for_each(|instruction| check_instruction(diagnostics, instruction));
}

fn check_base(diagnostics: &mut Diagnostics, image: &str, place: &Word) {
    let last = image.rsplit('/').next().unwrap_or(image);
    let found = |message: String| Diagnostic::at(&UNTAGGED_BASE, place.span, message);
    if image.contains('@') || image.contains('$') || image.is_empty() {
        return;
    }
    match last.split_once(':') {
        None => {
            let message = format!("the base image `{image}` has neither tag nor digest");
            let hint = format!("write for example `{image}:1.0`, so that the same base is used tomorrow");
            diagnostics.push(found(message).hint(hint));
        }
        Some((_, "latest")) => {
            let message = format!("the base image `{image}` is another one with each release");
            diagnostics.push(found(message).hint("name a version, or the digest: `IMAGE@sha256:…`"));
        }
        Some(_) => {}
    }
}

fn check_instruction(diagnostics: &mut Diagnostics, instruction: &Instruction) {
    match &instruction.kind {
        Kind::Env(pairs) => {
            for pair in pairs {
                check_secret(diagnostics, "the environment of the image", &pair.key, Some(&pair.value));
            }
        }
        Kind::Arg(arguments) => {
            for argument in arguments {
                check_secret(diagnostics, "the history of the image", &argument.name, argument.default.as_ref());
            }
        }
        Kind::Label(pairs) => {
            for pair in pairs.iter().filter(|pair| looks_secret(&pair.value.text)) {
                check_secret(diagnostics, "the labels of the image", &pair.key, Some(&pair.value));
            }
        }
        Kind::Add(copy) => check_add(diagnostics, instruction, copy),
        Kind::Cmd(_)
        | Kind::Copy(_)
        | Kind::Entrypoint(_)
        | Kind::Expose(_)
        | Kind::Healthcheck(_)
        | Kind::Maintainer(_)
        | Kind::Onbuild(_)
        | Kind::Run(_)
        | Kind::Shell(_)
        | Kind::Stopsignal(_)
        | Kind::User(_)
        | Kind::Volume(_)
        | Kind::Workdir(_)
        | Kind::Unknown => {}
    }
}

fn check_secret(diagnostics: &mut Diagnostics, whereto: &str, name: &Word, value: Option<&Word>) {
    let text = value.map_or("", |value| value.text.as_str());
    let place = value.filter(|_| looks_secret(text)).map_or(name.span, |value| value.span);
    diagnostics.extend(secret(place, &name.text, text, whereto, value.is_none()));
}

/// Reports a secret, by the look of its value or, where there is one, by its name. `unset` says that the value comes
/// from outside.
fn secret(place: Span, name: &str, value: &str, whereto: &str, unset: bool) -> Diagnostics {
    let mut found = Diagnostics::new();
    let is_plain = !value.is_empty() && !value.contains('$');
    let by_name = names_secret(name) && (is_plain || unset);
    if looks_secret(value) || by_name {
        let message = if looks_secret(value) {
            format!("the value of `{name}` looks like a secret, and stays in {whereto}")
        } else {
            format!("`{name}` is named like a secret, and stays in {whereto}")
        };
        let hint = "give it with `secrets` and `RUN --mount=type=secret`, or when the container is started";
        found.push(Diagnostic::at(&SECRET_IN_IMAGE, place, message).hint(hint));
    }
    found
}

/// Reports a secret in a setting of werf.yaml that goes into the image: name, value and place.
pub fn check_setting(diagnostics: &mut Diagnostics, name: &str, value: &str, place: Span) {
    diagnostics.extend(secret(place, name, value, "the image", false));
}

/// Words of names that hold secrets.
const SECRET_WORDS: &[&str] = &["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIALS", "APIKEY"];

/// Pairs of words that do.
const SECRET_PAIRS: &[(&str, &str)] = &[("API", "KEY"), ("ACCESS", "KEY"), ("PRIVATE", "KEY"), ("AUTH", "KEY")];

/// Words that say that a name holds something about a secret.
const HARMLESS_WORDS: &[&str] = &[
    "FILE", "PATH", "DIR", "URL", "URI", "NAME", "ID", "TTL", "PUBLIC", "TYPE", "LENGTH", "EXPIRE", "EXPIRES",
    "ENDPOINT", "ENABLED", "DISABLED", "MIN", "MAX", "TIMEOUT", "HEADER",
];

fn names_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).any(|pair| matches!(pair, [a, b] if SECRET_PAIRS.contains(&(a, b))));
    let has = words.iter().any(|word| SECRET_WORDS.contains(word)) || pairs;
    has && !words.iter().any(|word| HARMLESS_WORDS.contains(word))
}

/// How tokens of well-known services begin, and how many letters and digits follow at least.
const TOKENS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk_live_", 16),
    ("npm_", 30),
    ("AIza", 30),
    ("dckr_pat_", 16),
];

fn looks_secret(value: &str) -> bool {
    let is_token = |(head, length): &(&str, usize)| {
        value.match_indices(head).any(|(at, _)| {
            let before = value.get(..at).and_then(|text| text.chars().next_back());
            let rest = value.get(at + head.len()..).unwrap_or_default();
            let run = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).count();
            run >= *length && !before.is_some_and(|c| c.is_ascii_alphanumeric())
        })
    };
    let is_key = value.contains("-----BEGIN") && value.contains("PRIVATE KEY");
    let login = value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let password = login.and_then(|login| login.rsplit_once('@')).and_then(|(user, _)| user.split_once(':'));
    let is_login = password.is_some_and(|(_, password)| !password.is_empty() && !password.contains(['$', '{', '<']));
    is_key || is_login || TOKENS.iter().any(is_token)
}

/// Endings of files that ADD unpacks.
const ARCHIVES: &[&str] = &[".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".lzma"];

fn check_add(diagnostics: &mut Diagnostics, instruction: &Instruction, copy: &Copy) {
    let is_local = |source: &Word| {
        let text = source.text.to_ascii_lowercase();
        let is_remote = text.contains("://") || text.starts_with("git@");
        let is_open = text.contains(['*', '?', '[', '$']) || text.starts_with("<<");
        !is_remote && !is_open && !ARCHIVES.iter().any(|ending| text.ends_with(ending))
    };
    let is_address = |source: &&Word| source.text.starts_with("http://") || source.text.starts_with("https://");
    for source in copy.sources.iter().filter(is_address).filter(|source| looks_secret(&source.text)) {
        let message = "the address holds a secret, which stays in what is recorded of the image";
        let hint = "fetch it in a RUN, with `RUN --mount=type=secret`";
        diagnostics.push(Diagnostic::at(&SECRET_IN_IMAGE, source.span, message).hint(hint));
    }
    let is_git = |source: &Word| source.text.split(['?', '#']).next().is_some_and(|path| path.ends_with(".git"));
    if let Some(source) = copy.sources.iter().find(is_address).filter(|source| !is_git(source))
        && instruction.flag("checksum").is_none()
    {
        let message = "the content of the address is not known";
        let found = Diagnostic::at(&REMOTE_CONTENT, source.span, message).label("the image keeps what was there first");
        diagnostics.push(found.hint("add `--checksum=sha256:…`"));
    }
    let special = ["checksum", "keep-git-dir", "unpack"].iter().any(|name| instruction.flag(name).is_some());
    if special || copy.sources.is_empty() || !copy.sources.iter().all(is_local) {
        return;
    }
    let message = "`ADD` copies files of the build context, as `COPY` does, and would unpack archives";
    let found = Diagnostic::at(&ADD_INSTEAD_OF_COPY, instruction.keyword, message).hint("write `COPY`");
    diagnostics.push(found.fixed("COPY"));
}

/// Reports that the last word about the user of an image is root.
fn check_user(diagnostics: &mut Diagnostics, stage: &Stage) {
    let mut users = stage.instructions.iter().filter_map(|instruction| {
        let Kind::User(user) = &instruction.kind else { return None };
        Some(user)
    });
    let Some(user) = users.next_back() else { return };
    if matches!(user.text.split(':').next(), Some("root" | "0")) {
        let message = "the image runs as root";
        let hint = "end with a `USER` that has no rights it does not need";
        diagnostics.push(Diagnostic::at(&ROOT_USER, user.span, message).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;
    use crate::syntax::dockerfile::{Target, parse};

    fn found(text: &str, targets: &[&str]) -> Vec<String> {
        let sources = Sources::new();
        let file = sources.add("Dockerfile", text);
        let mut d = Diagnostics::new();
        let dockerfile = parse(&mut d, file, text);
        let build =
            |target: &&str| Build { target: Some(Target { text: (*target).into(), span: None }), ..Build::default() };
        check(&mut d, &dockerfile, &targets.iter().map(build).collect::<Vec<_>>());
        let told = d.into_sorted(&sources).into_iter().map(|d| {
            let at = sources.locate(d.primary.as_ref().unwrap().span).1;
            format!("{} {}:{}", d.rule.name, at.line, at.column)
        });
        told.collect()
    }

    #[test]
    fn stages_that_no_image_needs_are_told() {
        let text = "FROM a:1 AS one\nFROM b:1 AS two\nFROM c:1 AS three\nCOPY --from=one /x /x\n";
        assert_eq!(found(text, &["three"]), ["unused-stage 2:1"]);
        assert_eq!(found(text, &["three", "two"]), Vec::<String>::new());
    }

    #[test]
    fn a_password_in_an_address_is_told() {
        let text = "FROM a:1\nADD --checksum=sha256:0 https://me:pass@example.org/a /a\nADD --checksum=sha256:0 https://example.org/a /a\n";
        assert_eq!(found(text, &[""]), ["secret-in-image 2:25"]);
    }

    #[test]
    fn bases_that_change_are_told() {
        let text =
            "ARG V=latest\nFROM a AS one\nFROM h:5000/b AS two\nFROM c:$V\nCOPY --from=one / /\nCOPY --from=two / /\n";
        assert_eq!(found(text, &[""]), ["untagged-base 2:6", "untagged-base 3:6", "untagged-base 4:6"]);
        assert_eq!(found("FROM a@sha256:0\n", &[""]), Vec::<String>::new());
    }

    #[test]
    fn secrets_are_known_by_name_and_by_look() {
        let text = "FROM a:1\nARG NPM_TOKEN\nENV DB_PASSWORD=x PASSWORD_FILE=/x TOKEN=$T A=https://u:p@h/\n\
                    ENV K=ghp_abcdefghijklmnopqrstuvwxyz0123456789\nENV API_KEY=\nLABEL token=x\n";
        let told = ["secret-in-image 2:5", "secret-in-image 3:5", "secret-in-image 3:47", "secret-in-image 4:7"];
        assert_eq!(found(text, &[""]), told);
        for harmless in ["TOKENIZER", "SECRETARY", "PASSWORD_MIN_LENGTH", "KEY", "ACCESS_TOKEN_URL"] {
            assert!(!names_secret(harmless), "{harmless}");
        }
    }

    #[test]
    fn add_of_plain_files_and_a_last_user_root_are_told() {
        let text = "FROM a:1\nADD x y /z/\nADD x.tar.gz /\nADD https://h/x /\nADD --checksum=sha256:0 x /\nUSER app\nUSER root\n";
        assert_eq!(found(text, &[""]), ["add-instead-of-copy 2:1", "remote-content 4:5", "root-user 7:6"]);
        assert_eq!(found("FROM a:1\nUSER root\nUSER app\n", &[""]), Vec::<String>::new());
    }
}
