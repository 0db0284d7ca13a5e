//! Goldens of this room: our own snapshots, written by `BLESS=1 cargo test`, reviewed as text.
#![expect(clippy::disallowed_methods, reason = "tests read and write their goldens")]

use std::path::Path;

/// Compares with `testdata/report/NAME`, or writes it when `BLESS=1`.
pub fn check(name: &str, actual: &str) {
    check_at(&format!("testdata/report/{name}"), actual);
}

/// Compares with a file of the repository, or writes it when `BLESS=1`.
pub fn check_at(path: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == actual, "{path} is stale; run with BLESS=1 and review.\n{}", difference(&expected, actual));
}

fn difference(expected: &str, actual: &str) -> String {
    similar::TextDiff::from_lines(expected, actual).unified_diff().context_radius(2).to_string()
}
