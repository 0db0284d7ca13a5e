//! What Helm does with values and files of a chart in silence, and what is said of it here.

use super::hidden::encrypted;
use crate::cli::Sandbox;

/// A project whose chart prints its values into a map and a pod.
fn project(values: &str, config: &str, port: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("werf.yaml", "configVersion: 1\nproject: shop\n").write(".helm/values.yaml", values);
    let pod = format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n  - name: web\n    image: web:1\n    ports:\n    - containerPort: {port}\n"
    );
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web}}\ndata:\n  config: {config}\n{pod}");
    sandbox.write(".helm/templates/all.yaml", &text).commit("a chart");
    sandbox
}

#[test]
fn s8_a_list_of_the_chart_that_an_index_of_set_replaces_is_told() {
    let sandbox = project("servers: [{port: 80}, {port: 81}]\n", "{{ toJson .Values.servers | quote }}", "80");
    let ran = sandbox.run(&["lint", "--set", "servers[1].port=8081"]);
    assert!(ran.out.contains("warning[list-item-lost]: `servers[0]` of the chart is lost"), "{}", ran.out);
    let ran = sandbox.run(&["render", "--set", "servers[1].port=8081"]);
    assert!(ran.out.contains(r#"[null,{\"port\":8081}]"#), "as with Helm: {}", ran.out);
    let ran = sandbox.run(&["lint", "--set", "servers[0].port=8081"]);
    assert!(!ran.out.contains("list-item-lost"), "nothing stood before it: {}", ran.out);
}

#[test]
fn s13_a_pattern_that_takes_back_in_git_and_takes_all_away_in_charts_is_told() {
    let sandbox = project("a: b\n", "{{ .Values.a }}", "80");
    sandbox.write(".helm/.helmignore", "# all\n*.txt\n  !keep.txt\n").commit("patterns");
    let ran = sandbox.run(&["lint"]);
    assert!(ran.out.contains("warning[helmignore-negation]: `!keep.txt` ignores"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(".helm/.helmignore:3:3"), "{}", ran.out);
}

#[test]
fn s15_a_number_that_go_prints_with_an_exponent_is_told_with_its_value() {
    let values = "max: 1000000\nsmall: 10\n";
    let printed = |config: &str| project(values, config, "80").run(&["lint"]).out;
    let told = printed("\"--max={{ .Values.max }}\"");
    assert!(told.contains("warning[scientific-number]: `max` is printed as 1e+06"), "{told}");
    assert!(told.contains(".helm/templates/all.yaml:5"), "{told}");
    for fine in ["\"{{ .Values.max | int }}\"", "{{ toYaml .Values.max | quote }}", "\"{{ .Values.small }}\"", "1e+06"]
    {
        assert!(!printed(fine).contains("scientific-number"), "{fine}");
    }
}

#[test]
fn s21_a_secret_number_is_a_text_and_told_where_a_field_takes_a_number() {
    let sandbox = project("a: b\n", "{{ .Values.a }}", "{{ toYaml .Values.port }}");
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    encrypted(&sandbox, "port: 8080\n", &["--values"], ".helm/secret-values.yaml");
    sandbox.commit("a secret");
    let ran = sandbox.run(&["lint"]);
    assert!(ran.out.contains("[manifest-wrong-type]") && ran.out.contains("containerPort"), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("8080"), "{}", ran.out);
}
