//! `secret`: keys, values and files.

use std::os::unix::fs::PermissionsExt as _;

use super::{Ran, Sandbox};

fn ok(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran.out
}

fn text(sandbox: &Sandbox, path: &str) -> String {
    std::fs::read_to_string(sandbox.project().join(path)).unwrap()
}

#[test]
fn values_come_back_and_a_missing_key_says_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.write("secret-values.yaml", "# ours\ndb: {password: hunter2, port: 5432}\n");
    let refused = sandbox.run(&["secret", "encrypt", "secret-values.yaml"]);
    assert!(refused.code == 1 && refused.err.contains("`secret generate-key` makes one"), "{}", refused.err);
    let key = ok(sandbox.run(&["secret", "generate-key"]));
    assert_eq!(key.trim().len(), 32);
    sandbox.write(".werf_secret_key", &key);
    let encrypted = ok(sandbox.run(&["secret", "encrypt", "secret-values.yaml"]));
    assert!(encrypted.starts_with("# ours\ndb: {password: 1000") && !encrypted.contains("hunter2"), "{encrypted}");
    sandbox.write("out.secret-values.yaml", &encrypted);
    let back = ok(sandbox.run(&["secret", "decrypt", "out.secret-values.yaml"]));
    assert_eq!(back, "# ours\ndb: {password: hunter2, port: \"5432\"}\n");
    // The key of the environment comes first.
    let other = [("WERF_SECRET_KEY", "00112233445566778899aabbccddeeff")];
    let wrong = sandbox.run_with(&["secret", "decrypt", "out.secret-values.yaml"], &other);
    assert!(wrong.code == 1 && wrong.err.contains("line 2, `db.password`: the key does not fit"), "{}", wrong.err);
    let short = sandbox.run_with(&["secret", "decrypt", "out.secret-values.yaml"], &[("STAGEWRIGHT_SECRET_KEY", "ab")]);
    assert!(short.err.contains("STAGEWRIGHT_SECRET_KEY: a secret key has 32"), "{}", short.err);
}

#[test]
fn an_editor_sees_the_text_and_only_what_changed_is_encrypted_anew() {
    let sandbox = Sandbox::new();
    let key = ok(sandbox.run(&["secret", "generate-key"]));
    sandbox.write(".werf_secret_key", &key);
    let edit = |editor: &str| {
        let env = [("EDITOR", editor), ("PATH", "/usr/bin:/bin"), ("TMPDIR", sandbox.dir.path().to_str().unwrap())];
        sandbox.run_with(&["secret", "edit", ".helm/secret-values.yaml"], &env)
    };
    sandbox.write(".helm/Chart.yaml", "name: x\n");
    ok(edit("printf 'a: one\\nb: two\\n' >"));
    let first = text(&sandbox, ".helm/secret-values.yaml");
    assert!(!first.contains("one"), "{first}");
    let mode = std::fs::metadata(sandbox.project().join(".helm/secret-values.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ok(edit("sed -i s/two/three/"));
    let second = text(&sandbox, ".helm/secret-values.yaml");
    assert_eq!(first.lines().next(), second.lines().next(), "the value that stayed has its text");
    assert_ne!(first, second);
    assert!(edit("true").err.contains("Nothing changed"));
    let failed = edit("false");
    assert!(failed.code == 1 && failed.err.contains("nothing is changed"), "{}", failed.err);
    assert_eq!(text(&sandbox, ".helm/secret-values.yaml"), second);
    let left: Vec<_> = std::fs::read_dir(sandbox.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("secret-")), "{left:?}");
}

#[test]
fn a_new_key_reads_all_that_the_old_one_wrote_or_nothing_is_written() {
    let sandbox = Sandbox::new();
    let keys = [0, 1].map(|_| ok(sandbox.run(&["secret", "generate-key"])).trim().to_owned());
    let with = |key: &str, args: &[&str]| sandbox.run_with(args, &[("STAGEWRIGHT_SECRET_KEY", key)]);
    sandbox.write("plain", "certificate\n").write("values.yaml", "a: hunter2\n").write(".helm/secret/tls/key", "");
    ok(with(&keys[0], &["secret", "encrypt", "plain", "-o", ".helm/secret/tls/key"]));
    ok(with(&keys[0], &["secret", "encrypt", "--values", "values.yaml", "-o", ".helm/secret-values.yaml"]));
    let before = (text(&sandbox, ".helm/secret/tls/key"), text(&sandbox, ".helm/secret-values.yaml"));
    let rotate = |old: &str| {
        let env = [("STAGEWRIGHT_SECRET_KEY", keys[1].as_str()), ("STAGEWRIGHT_OLD_SECRET_KEY", old)];
        sandbox.run_with(&["secret", "rotate"], &env)
    };
    assert_eq!(rotate(&keys[1]).code, 1, "that is not the old key");
    assert_eq!(before, (text(&sandbox, ".helm/secret/tls/key"), text(&sandbox, ".helm/secret-values.yaml")));
    let told = rotate(&keys[0]);
    assert!(told.code == 0 && told.err.contains("encrypted .helm/secret/tls/key anew"), "{}", told.err);
    assert_eq!(ok(with(&keys[1], &["secret", "decrypt", ".helm/secret/tls/key"])), "certificate\n");
    assert_eq!(ok(with(&keys[1], &["secret", "decrypt", ".helm/secret-values.yaml"])), "a: hunter2\n");
}
