//! Is every fact about the language shown by a case? The entries and errors are those that werf 2.x is known for; a
//! case of `testdata/projects` names them in `accept` and `errors`, a unit test in a comment `accept: 33, 34`.

use std::collections::BTreeSet;
use std::path::Path;

/// Entries 1 to this: what must be accepted or refused, and how it is read.
const ENTRIES: u32 = 84;

/// Every error of the language.
const ERRORS: &str = "\
    E-GIT-NOTREE E-GIT-DIR-OUTSIDE E-CFG-OUTSIDE E-GTM-SCHEMA E-CFG-NOTFOUND E-TPL-PARSE E-TPL-EXEC \
    E-TPL-REQUIRED E-TPL-ENV-UNSET E-TPL-ENV-ARITY E-GTM-ENV E-GTM-UNTRACKED E-GTM-UNCOMMITTED E-GTM-NOTFOUND-REPO \
    E-GTM-NOTFOUND-DIR E-GTM-LINK E-YAML E-DOC-KIND E-META-DUP E-TYPE E-UNKNOWN-KEY E-META-VERSION \
    E-META-PROJECT-EMPTY E-META-PROJECT E-DEPLOY-EMPTY E-KEEP-REF E-KEEP-ONE E-KEEP-RE E-KEEP-OP E-IMG-NAME E-ST-KIND \
    E-ANS-UNSUPPORTED E-ANS-TWO E-SEC-MULTI E-PLAT E-META-MISSING E-STRLIST E-DF-CONTEXT E-DF-PATH E-DF-ADDFILES \
    E-DF-ADDFILE-BOTH E-DF-ARG-DUP E-GTM-ADDFILE E-GTM-FROMLATEST E-GTM-BRANCH E-GTM-BUILDDIR E-GTM-FROMPATH \
    E-GTM-SECRET E-ST-FROM E-ST-FROM-CONFLICT E-ST-SELF E-ST-BUILDERS E-ST-DOCKER-SPEC E-ART-DOCKER E-ART-FINAL \
    E-ART-AFTERPATCH E-ART-DEPS E-EXP-ADD E-EXP-TO E-EXP-PATHS E-EXP-OVERLAP E-GIT-LOCALREF E-GIT-ONEREF E-GIT-SD \
    E-IMP-NONE E-IMP-BOTH E-IMP-TWO E-IMP-STAGE-NONE E-IMP-STAGE-BOTH E-IMP-STAGE E-IMP-SRCSTAGE E-IMP-ROOT E-DEP-IMAGE \
    E-DEP-STAGE-NONE E-DEP-STAGE-BOTH E-DEP-STAGE E-DEP-DF-STAGE E-DEP-TYPE E-DEP-TARGET E-DEP-DUP E-MNT-TO E-MNT-FROM \
    E-MNT-SRC E-MNT-BOTH E-MNT-DUP E-SEC-NONE E-SEC-ID E-SEC-DUP E-IMG-DUP E-IMG-NAMELESS E-REL-MISSING E-CYCLE \
    E-SEL-PATTERN E-SEL-NOMATCH E-SEL-GLOB E-DEPLOY-RELEASE E-DEPLOY-NAMESPACE E-IMG-NONAME E-DOC-TRAILING E-GLOB \
    E-IMG-NAMESYNTAX E-INC-GIT E-INC-REF E-INC-ADD E-INC-TO E-INC-PATHS E-INC-AUTH E-INC-NOLOCK E-INC-LOCKENTRY \
    E-INC-EMPTY E-GTM-INCLUDES E-GTM-SUBMODULE-ADDED E-GTM-SUBMODULE-DELETED E-GTM-SUBMODULE-UNTRACKED \
    E-GTM-SUBMODULE-UNCOMMITTED E-GTM-SUBMODULE-COMMIT E-GTM-CUSTOMTAG";

/// Adds the entries that comments of a source file name.
fn named_in(path: &Path, found: &mut BTreeSet<u32>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            named_in(&entry.unwrap().path(), found);
        }
        return;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for list in text.lines().filter_map(|line| line.trim().strip_prefix("// accept: ")) {
        found.extend(
            list.split(", ").map(|n| n.parse::<u32>().unwrap_or_else(|_| panic!("{}: {list}", path.display()))),
        );
    }
}

#[test]
fn every_entry_has_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut shown: BTreeSet<u32> = super::projects::all().into_iter().flat_map(|case| case.accept).collect();
    for room in ["config", "source", "stage"] {
        named_in(&root.join(room), &mut shown);
    }
    let missing: Vec<u32> = (1..=ENTRIES).filter(|entry| !shown.contains(entry)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
    assert!(shown.iter().all(|entry| (1..=ENTRIES).contains(entry)), "{shown:?}");
}

#[test]
fn every_error_has_a_case() {
    let shown: BTreeSet<String> = super::projects::all().into_iter().flat_map(|case| case.errors).collect();
    let known: BTreeSet<&str> = ERRORS.split_whitespace().collect();
    let missing: Vec<&str> = ERRORS.split_whitespace().filter(|error| !shown.contains(*error)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
    let unknown: Vec<&String> = shown.iter().filter(|error| !known.contains(error.as_str())).collect();
    assert!(unknown.is_empty(), "no such errors: {unknown:?}");
}
