//! The report of a deploy: what a pipeline reads after a run, whatever became of it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::loopback::Loopback;
use super::releases::take_back;
use super::{Deploy, Ground, MARK, everywhere};

fn report(deploy: &Deploy, path: &str) -> Value {
    let file = deploy.sandbox.project().join(path);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!text.contains(MARK), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn results(report: &Value) -> Vec<String> {
    let word = |r: &Value, key: &str| r[key].as_str().unwrap_or("-").to_owned();
    let list = report["resources"].as_array().unwrap().iter();
    let mut all: Vec<String> =
        list.map(|r| format!("{} {} {}", word(r, "name"), word(r, "action"), word(r, "result"))).collect();
    all.sort();
    all
}

const DEFAULT: &str = ".werf-deploy-report.json";

#[test]
fn a_deploy_is_reported_with_what_became_of_every_resource() {
    everywhere("report", |deploy| {
        let apply = ["apply", "--auto-approve", "--save-deploy-report"];
        deploy.run(0, &apply);
        let first = report(deploy, DEFAULT);
        assert_eq!(
            (&first["version"], &first["release"], &first["namespace"], &first["revision"], &first["status"]),
            (&json!(3), &json!("shop"), &json!("report"), &json!(1), &json!("deployed"))
        );
        assert_eq!(results(&first)[..2], ["a create done", "b create done"]);
        let operations = first["completedOperations"].as_array().unwrap();
        assert!(operations.contains(&json!("write report/ConfigMap/a")), "{operations:?}");
        assert_eq!(first["outcome"]["failed"], json!([]));

        deploy.run(0, &apply);
        let again = report(deploy, DEFAULT);
        assert_eq!((&again["status"], &again["revision"], results(&again).len()), (&json!("skipped"), &json!(1), 0));

        deploy.edit(".helm/values.yaml", "hello", "goodbye");
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        deploy.run(0, &["apply", "shop.plan", "--deploy-report-path", "out.json"]);
        let second = report(deploy, "out.json");
        assert_eq!(
            (results(&second), &second["revision"]),
            (vec!["a update done".into(), "b update done".into()], &json!(2))
        );

        let back = ["release", "rollback", "1", "--auto-approve", "--save-deploy-report"];
        take_back(deploy, 0, &back);
        let third = report(deploy, DEFAULT);
        assert_eq!((&third["status"], &third["revision"]), (&json!("deployed"), &json!(3)));

        take_back(deploy, 0, &["dismiss", "--auto-approve", "--save-deploy-report"]);
        let gone = report(deploy, DEFAULT);
        assert_eq!((&gone["status"], &gone["release"]), (&json!("uninstalled"), &json!("shop")));
        assert_eq!(results(&gone)[..2], ["a delete done", "b delete done"]);
    });
}

#[test]
fn a_deploy_that_failed_or_could_not_begin_is_reported_too() {
    let deploy = Deploy::new("unreported", Ground::Loopback(Loopback::start()));
    deploy.apply();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    server.break_writes_of(Some(&deploy.address("configmaps", "a")));
    let args = ["--save-deploy-report", "--auto-rollback", "--kube-retry-time", "1"];
    deploy.run(1, &[&["apply", "--auto-approve"][..], &args].concat());
    let failed = report(&deploy, DEFAULT);
    assert_eq!(
        (&failed["status"], &failed["revision"]),
        (&json!("failed"), &json!(2)),
        "it is not that of the rollback"
    );
    assert_eq!(results(&failed)[0], "a update failed");
    let back = &failed["rollback"];
    assert_eq!((&back["to"], &back["revision"], &back["is_done"]), (&json!(1), &json!(3), &json!(true)), "{back:#}");
    assert_eq!(back["message"], "the release shop was rolled back to revision 1");
    assert_eq!(back["outcome"]["failed"], json!([]));
    assert_eq!(failed["failedOperations"], json!(["write unreported/ConfigMap/a"]));
    assert!(failed["outcome"]["failed"][0]["causes"].is_array() && failed["error"].is_null());
    // Nowhere to write it to: the release is rolled back all the same.
    let before = deploy.records().len();
    let nowhere = ["--deploy-report-path", "missing/report.json", "--auto-rollback", "--kube-retry-time", "1"];
    let ran = deploy.run(1, &[&["apply", "--auto-approve"][..], &nowhere].concat());
    assert!(ran.err.contains("save the deploy report to missing/report.json"), "{}", ran.err);
    assert_eq!(deploy.records()[before..], ["failed", "deployed"], "{}", ran.err);
    server.break_writes_of(None);

    deploy.run(4, &["apply", "shop.plan", "--save-deploy-report"]);
    let stale = report(&deploy, DEFAULT);
    assert_eq!((&stale["status"], &stale["completedOperations"]), (&json!("failed"), &json!([])));
    assert!(stale["error"].as_str().unwrap().contains("the plan is stale"), "{stale:#}");
    assert!(results(&stale).iter().all(|result| result.ends_with("skipped")), "{stale:#}");
}
