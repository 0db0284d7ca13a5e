//! Help, usage errors, completion, rules.

use std::io::Read as _;
use std::process::Stdio;

use super::Sandbox;

#[test]
fn help_and_version_are_data() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("plan") && help.out.contains("apply"), "{}", help.out);
    let version = sandbox.run(&["--version"]);
    assert_eq!(version.out, format!("stagewright {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_64_and_talk() {
    let sandbox = Sandbox::new();
    for args in [&["plan", "--no-such-option"][..], &["paln"], &[], &["plan", "-o", "pdf"], &["show"]] {
        let ran = sandbox.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args:?}: {ran:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
    assert!(sandbox.run(&["paln"]).err.contains("plan"), "the near word is proposed");
}

#[test]
fn every_shell_gets_a_completion() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = sandbox.run(&["completion", shell]);
        assert!(ran.code == 0 && ran.out.contains("stagewright") && ran.err.is_empty(), "{shell}");
    }
}

#[test]
fn a_rule_is_explained_and_a_misspelt_one_proposed() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["explain", "file-not-found"]);
    assert!(ran.code == 0 && ran.out.starts_with("# file-not-found\n\nError: "), "{ran:?}");
    let ran = sandbox.run(&["explain", "file-not-fund"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(ran.err, "error: there is no rule `file-not-fund`\n  hint: did you mean `file-not-found`?\n");
    assert!(sandbox.run(&["explain"]).out.lines().count() > 5);
}

#[test]
fn colours_are_asked_for() {
    let sandbox = Sandbox::new();
    let escape = |ran: super::Ran| ran.err.contains('\u{1b}');
    assert!(!escape(sandbox.run(&["explain", "x"])));
    assert!(escape(sandbox.run(&["explain", "x", "--color", "always"])));
    assert!(escape(sandbox.run_with(&["explain", "x"], &[("CLICOLOR_FORCE", "1")])));
    assert!(escape(sandbox.run_with(&["explain", "x"], &[("WERF_LOG_COLOR_MODE", "on")])));
    assert!(!escape(sandbox.run_with(&["explain", "x"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])));
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.command(&["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}
