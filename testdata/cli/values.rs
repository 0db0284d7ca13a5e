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
fn s3_a_profile_of_nulls_is_chosen_and_in_the_plan() {
    let sandbox = project("sub: {image: null}\n", "{{ toJson .Values.sub.image | quote }}", "80");
    let chart = "apiVersion: v2\nname: sub\nversion: 1.0.0\n";
    sandbox.write(".helm/charts/sub/Chart.yaml", chart).write(".helm/charts/sub/values.yaml", "image: {tag: v1}\n");
    sandbox.write(".helm/Chart.yaml", &chart.replace("sub", "shop")).commit("a subchart");
    let lint = sandbox.run(&["lint"]);
    let told = "note[ambiguous-null]: `sub.image` is gone with `helm`, `werf`, `strict`, and there with `helm4`";
    assert!(lint.out.contains(told) && lint.out.contains(".helm/values.yaml:1:14"), "{}", lint.out);
    let by_profile = |args: &[&str], profile: &str| sandbox.run(&[args, &["--values-nulls", profile]].concat()).out;
    for profile in ["helm", "werf", "strict", "helm4"] {
        let expected = if profile == "helm4" { r#"config: "{\"tag\":\"v1\"}""# } else { "config: \"null\"" };
        for args in [&["render"][..], &["template", ".helm"]] {
            let printed = by_profile(args, profile);
            assert!(printed.contains(expected), "{args:?} {profile}: {printed}");
        }
        let plan: serde_json::Value = serde_json::from_str(&by_profile(&["plan", "-o", "json"], profile)).unwrap();
        let named = if profile == "helm" { serde_json::Value::Null } else { profile.into() };
        assert_eq!(plan["inputs"]["values_nulls"], named, "{}", plan["inputs"]);
    }
    assert_eq!(sandbox.run(&["render", "--values-nulls", "helm5"]).code, 64);
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

/// A project with a secret value, a Secret that is filled by `--set`, and a subchart.
fn explained() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: {{ .Values.token | quote }}}\n";
    sandbox
        .write("werf.yaml", "configVersion: 1\nproject: shop\n")
        .write(".helm/values.yaml", "web:\n  port: 80\n  name: shop\ndb: {password: none}\ntoken: none\npin: 1\n")
        .write("prod.yaml", "web:\n  port: 81\n")
        .write(".helm/templates/s.yaml", secret)
        .write(".helm/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n")
        .write(".helm/charts/sub/values.yaml", "tag: own\n");
    encrypted(&sandbox, "db:\n  password: pl4nted\npin: '77'\n", &["--values"], ".helm/secret-values.yaml");
    encrypted(&sandbox, "tag: pl4nted-sub\n", &["--values"], ".helm/charts/sub/secret-values.yaml");
    sandbox.commit("a shop");
    sandbox
}

#[test]
fn s22_a_value_is_told_with_every_layer_and_no_secret_in_clear() {
    let sandbox = explained();
    let asked = |args: &[&str]| {
        let ran = sandbox.run_with(args, &[("WERF_SET_1", "web.port=82")]);
        assert!(!(ran.out.clone() + &ran.err).contains("pl4nted"), "{args:?}: {}{}", ran.out, ran.err);
        assert!(!sandbox.project().join(".stagewright").exists(), "neither store nor target is there");
        ran
    };
    let args = ["plan", "-f", "prod.yaml", "--set", "web.port=83", "--explain-values"];
    let port = asked(&[&args[..], &["web.port"]].concat());
    let expected = "web.port: 83\n  * --set   web.port=83               83\n    --set   web.port=82 (WERF_SET_1)  82\n    \
         values  prod.yaml:2               81\n    chart   .helm/values.yaml:2       80\n";
    assert_eq!((port.code, port.out.as_str()), (0, expected), "{}", port.err);

    let secret = asked(&["plan", "--set", "db.password=pl4nted-typed", "--explain-values", "db.password"]);
    let lines: Vec<&str> = secret.out.lines().collect();
    assert!(lines[1].contains("* secret  .helm/secret-values.yaml:2") && lines[1].contains("(secret "), "{lines:?}");
    assert!(lines[2].contains("--set   db.password=(secret ") && lines[3].contains("chart   .helm/values.yaml:4"));
    assert!(secret.err.contains("warning[secret-overrides-value]"), "{}", secret.err);

    // What an argument assigns besides is nobody's business.
    let besides = asked(&["plan", "--set", "token=pl4nted-token,web.port=84", "--explain-values", "web.port"]).out;
    assert!(besides.contains("* --set  web.port=84 "), "{besides}");

    // Two digits are in no mask, and are secret all the same; so is what fills a Secret.
    let short = asked(&["render", "--explain-values", "pin"]).out;
    assert!(!short.contains("77") && short.contains(".helm/secret-values.yaml:3"), "{short}");
    let filled = asked(&["plan", "--set", "token=pl4nted-token", "--explain-values", "token", "-o", "json"]).out;
    let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
    let layers = &json["values"][0]["layers"];
    assert_eq!(layers[0]["layer"], "--set");
    assert!(layers[0]["argument"].as_str().unwrap().starts_with("token=(secret "), "{layers}");
    assert_eq!((&layers[0]["wins"], &layers[1]["place"]["line"]), (&true.into(), &5.into()));

    let sub = asked(&["plan", "--explain-values", "sub.tag"]).out;
    let places = ["* chart  .helm/charts/sub/secret-values.yaml:1", "  chart  .helm/charts/sub/values.yaml:1"];
    assert!(places.iter().all(|place| sub.contains(place)), "{sub}");
    let service = asked(&["plan", "--env", "dev", "--explain-values", "global.werf.env"]).out;
    assert_eq!(service, "global.werf.env: \"dev\"\n  * service  set by the project  \"dev\"\n");
}

#[test]
fn a_table_is_told_by_the_winners_of_its_values_and_what_nobody_sets_by_what_is_near() {
    let sandbox = explained();
    let table = sandbox.run(&["plan", "-f", "prod.yaml", "--explain-values", "web"]);
    let expected = "web.name  \"shop\"  chart .helm/values.yaml:3\nweb.port  81      values prod.yaml:2\n";
    assert_eq!((table.code, table.out.as_str()), (0, expected), "{}", table.err);
    let all = sandbox.run(&["plan", "--explain-values", "."]).out;
    assert!(all.contains("global.werf.name") && all.contains("sub.tag") && !all.contains("pl4nted"), "{all}");
    let missing = sandbox.run(&["plan", "--explain-values", "web.prot"]);
    assert!(missing.code == 1 && missing.out.is_empty(), "{}", missing.out);
    assert!(missing.err.contains("nothing sets `web.prot`: `web` has name, port"), "{}", missing.err);
    assert!(missing.err.contains("hint: did you mean `web.port`?"), "{}", missing.err);
    assert_eq!(sandbox.run(&["plan", "--explain-values", "web", "-o", "html"]).code, 64);
    assert_eq!(sandbox.run(&["plan", "--explain-values", "web", "--out", "p"]).code, 64);
    let refused = [
        (&["render", "--output", "x.yaml"][..], "leave --output away"),
        (&["render", "--origins"], "leave --origins away"),
        (&["template", ".helm", "--origins"], "leave --origins away"),
        (&["template", ".helm", "--post-renderer", "cat"], "leave --post-renderer away"),
        (&["plan", "web"], "leave the names of images away"),
    ];
    for (args, told) in refused {
        let ran = sandbox.run(&[args, &["--explain-values", "web"]].concat());
        assert_eq!((ran.code, ran.err.contains(told)), (64, true), "{args:?}: {}{}", ran.out, ran.err);
    }
    assert!(!sandbox.project().join("x.yaml").exists());
    // What replaces the table around a value is what wins.
    let around = sandbox.run(&["plan", "--set", "web=off", "--explain-values", "web.port"]).out;
    let expected = "web.port: nothing, for a layer replaces the table around it\n  * --set  web=off              \"off\" for `web`\n    chart  .helm/values.yaml:2  80\n";
    assert_eq!(around, expected);
    // The schema refuses it, and the chart cannot be rendered: where it comes from is told, what it is is not.
    sandbox.write(".helm/values.schema.json", "{\"properties\": {\"token\": {\"type\": \"integer\"}}}");
    sandbox.commit("a schema");
    let refused = sandbox.run(&["plan", "--explain-values", "token"]);
    assert_eq!((refused.code, refused.out.contains("none")), (0, false), "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("* chart  .helm/values.yaml:5"), "{}", refused.out);
    sandbox.write(".helm/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    let helm = sandbox.run(&["template", "x", ".helm", "--set", "web.port=1", "--explain-values", "web.port"]);
    let first = helm.out.lines().nth(1).unwrap_or_default().to_owned();
    assert!(helm.code == 0 && first.contains("* --set  web.port=1"), "{}{}", helm.out, helm.err);
}
