//! The order of a deploy, by the requests that a server gets.

use super::loopback::Loopback;
use super::releases::take_back;
use super::{Deploy, Ground, everywhere};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n  annotations: {ANNOTATIONS}\n";
const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: NAME\n  annotations: {ANNOTATIONS}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: example/web:1\n";

fn deploy(namespace: &str, templates: &[(&str, &str, &str)]) -> Deploy {
    let deploy = Deploy::new(namespace, Ground::Loopback(Loopback::start()));
    for old in ["a", "b", "secret"] {
        deploy.sandbox.write(&format!(".helm/templates/{old}.yaml"), "");
    }
    write(&deploy, templates);
    deploy
}

fn write(deploy: &Deploy, templates: &[(&str, &str, &str)]) {
    for (text, name, annotations) in templates {
        let text = text.replace("NAME", name).replace("ANNOTATIONS", annotations);
        deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), &text);
    }
    deploy.sandbox.commit("templates");
}

/// What was written in the order it was: verb and the end of its address; records and the lock are left out.
fn written(deploy: &Deploy) -> Vec<String> {
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    let all = server.requests();
    let new = all[deploy.seen.replace(all.len()).min(all.len())..].to_vec();
    let writes =
        new.iter().filter(|(verb, address)| matches!(verb.as_str(), "PATCH" | "DELETE") && !address.contains("dryRun"));
    let writes = writes.filter(|(_, address)| !address.contains("/leases/"));
    let short = |address: &str| address.split('?').next().unwrap().rsplit('/').take(2).collect::<Vec<_>>().join(" ");
    writes.map(|(verb, address)| format!("{} {}", verb.to_lowercase(), short(address))).collect()
}

#[test]
fn hooks_run_around_the_release_and_belong_to_no_record() {
    let deploy = deploy(
        "hooks",
        &[
            (JOB, "migrate", "helm.sh/hook: 'pre-install,pre-upgrade'"),
            (
                MAP,
                "settings",
                "helm.sh/hook: pre-install, helm.sh/hook-weight: '-1', helm.sh/hook-delete-policy: hook-succeeded",
            ),
            (JOB, "tell", "helm.sh/hook: post-install"),
            (MAP, "own", ""),
        ],
    );
    let plan = deploy.plan(2);
    let hooks: Vec<String> = plan["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| format!("{} {}", h["event"].as_str().unwrap(), h["name"].as_str().unwrap()))
        .collect();
    assert_eq!(hooks, ["pre-install settings", "pre-install migrate", "post-install tell"]);
    let text = deploy.run(0, &["plan"]).out;
    assert!(text.contains("Hooks") && text.contains("run hooks/ConfigMap/settings  pre-install, weight -1"), "{text}");
    deploy.apply();
    assert_eq!(
        written(&deploy),
        [
            "patch hooks namespaces",
            "patch settings configmaps",
            "patch migrate jobs",
            "delete settings configmaps",
            "patch own configmaps",
            "patch web deployments",
            "patch tell jobs",
        ]
    );
    deploy.assert_no_changes();
    // An upgrade makes the hook anew, and does not run the others.
    write(&deploy, &[(MAP, "own", "changed: 'yes'")]);
    deploy.apply();
    assert_eq!(written(&deploy), ["delete migrate jobs", "patch migrate jobs", "patch own configmaps"]);
    // A hook that changed is a change of the release.
    write(&deploy, &[(JOB, "migrate", "helm.sh/hook: 'pre-install,pre-upgrade', changed: 'yes'")]);
    deploy.plan(2);
    deploy.apply();
    deploy.assert_no_changes();
}

#[test]
fn a_hook_that_fails_ends_the_release_and_goes_where_it_says_so() {
    let deploy = deploy(
        "broken",
        &[(JOB, "broken", "helm.sh/hook: pre-install, helm.sh/hook-delete-policy: 'before-hook-creation,hook-failed'")],
    );
    let ran = deploy.run(1, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("failed to run broken/Job/broken: TheEnd"), "{}", ran.err);
    assert!(ran.err.contains("skipped broken/Deployment/web"), "{}", ran.err);
    assert_eq!(written(&deploy), ["patch broken namespaces", "patch broken jobs", "delete broken jobs"]);
    assert_eq!(deploy.records(), ["failed"]);
}

#[test]
fn weights_and_dependencies_order_what_is_written() {
    let deploy = deploy(
        "weights",
        &[
            (MAP, "late", "werf.io/weight: '10'"),
            (JOB, "early", "werf.io/weight: '-10'"),
            (MAP, "after", "werf.io/deploy-dependency-x: 'state=ready,kind=Deployment,name=web'"),
        ],
    );
    deploy.apply();
    let writes = written(&deploy);
    let at = |what: &str| writes.iter().position(|w| w == what).unwrap_or_else(|| panic!("{what} in {writes:?}"));
    let (early, web) = (at("patch early jobs"), at("patch web deployments"));
    assert!(early < web && web < at("patch late configmaps") && web < at("patch after configmaps"), "{writes:?}");
    deploy.assert_no_changes();
}

#[test]
fn a_value_that_means_nothing_stops_the_plan_at_its_line() {
    let deploy = deploy("faults", &[(MAP, "own", "werf.io/weight: heavy")]);
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains("error[deploy-annotation]") && ran.err.contains("own.yaml:5"), "{}", ran.err);
    write(&deploy, &[(MAP, "own", "werf.io/deploy-dependency-x: 'state=ready,kind=Job,name=none'")]);
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains("`werf.io/deploy-dependency-x` names nothing of the release"), "{}", ran.err);
}

#[test]
fn hooks_do_not_run_where_they_are_not_wanted_and_the_plan_names_them() {
    everywhere("nohooks", |deploy| {
        let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {helm.sh/hook: 'pre-install,post-upgrade,pre-rollback'}}\n";
        deploy.sandbox.write(".helm/templates/h.yaml", hook).commit("a hook");
        let plan = deploy.run(0, &["plan", "--no-hooks"]).out;
        assert!(plan.contains("nohooks/ConfigMap/h\n") && !plan.contains("run nohooks"), "{plan}");
        assert!(plan.contains("the hook does not run at pre-install (--no-hooks)"), "{plan}");
        let has_run = || deploy.object("configmaps", "h").is_some();
        deploy.run(0, &["apply", "--auto-approve", "--no-hooks"]);
        assert!(!has_run());
        let get = ["release", "get", "shop", "hooks", "-n", "nohooks", "--kubeconfig", &deploy.kubeconfig];
        let recorded = deploy.sandbox.run(&get).out;
        assert!(recorded.contains("name: h"), "as with Helm, they are recorded: {recorded}");
        deploy.assert_no_changes();

        deploy.edit(".helm/values.yaml", "hello", "goodbye");
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        let late = deploy.run(64, &["apply", "shop.plan", "--no-hooks"]);
        assert!(late.err.contains("--no-hooks says what a plan does"), "{}", late.err);
        deploy.run(0, &["plan", "--no-hooks", "--out", "shop.plan"]);
        deploy.run(0, &["apply", "shop.plan"]);
        assert!(!has_run());

        let back =
            |more: &[&str]| take_back(deploy, 0, &[&["release", "rollback", "1", "--auto-approve"], more].concat());
        let told = back(&["--no-hooks"]).out;
        assert!(told.contains("the hook does not run at pre-rollback") && !has_run(), "{told}");
        back(&[]);
        assert!(has_run());
    });
}

#[test]
fn what_became_a_hook_that_does_not_run_leaves_the_release() {
    everywhere("nohook", |deploy| {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h}\n";
        deploy.sandbox.write(".helm/templates/h.yaml", map).commit("a map");
        deploy.apply();
        let hook = map.replace("name: h", "name: h, annotations: {helm.sh/hook: post-upgrade}");
        deploy.sandbox.write(".helm/templates/h.yaml", &hook).commit("a hook");
        deploy.run(0, &["apply", "--auto-approve", "--no-hooks"]);
        assert!(deploy.object("configmaps", "h").is_none());
    });
}
