//! The tour of README.md runs: its commands are carried out and their output is compared. `...` stands for any lines.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::quickstart::Shop;

#[test]
fn the_tour_is_what_really_happens() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let shop = Shop::uncommitted();
    let mut ran = 0;
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for step in block.split("$ ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap();
            let actual = run(&shop, command);
            let (expected, lines) = (expected.lines().collect::<Vec<_>>(), actual.lines().collect::<Vec<_>>());
            assert!(matches(&expected, &lines), "README.md: `{command}` prints something else:\n{actual}");
            ran += 1;
        }
    }
    assert!(ran > 8, "the tour is gone");
}

/// Runs a command in the shop; returns what it printed, stdout first.
fn run(shop: &Shop, command: &str) -> String {
    if let Some(args) = command.strip_prefix("stagewright ") {
        let ran = shop.sandbox.run(&args.split_whitespace().collect::<Vec<_>>());
        assert!([0, 1].contains(&ran.code), "{command}: {ran:?}");
        return ran.out + &ran.err;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(shop.sandbox.project()).env("HOME", shop.sandbox.home());
    for role in ["AUTHOR", "COMMITTER"] {
        shell.env(format!("GIT_{role}_NAME"), "Demo").env(format!("GIT_{role}_EMAIL"), "demo@shop.example");
        shell.env(format!("GIT_{role}_DATE"), "2026-01-01T12:00:00Z");
    }
    let output = shell.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Compares line by line; `...` takes any number of lines, an empty line at the end does not count.
fn matches(expected: &[&str], actual: &[&str]) -> bool {
    match expected.split_first() {
        None => actual.iter().all(|line| line.is_empty()),
        Some((&"...", rest)) => (0..=actual.len()).any(|skipped| matches(rest, &actual[skipped..])),
        Some((first, rest)) => actual.first() == Some(first) && matches(rest, &actual[1..]),
    }
}
