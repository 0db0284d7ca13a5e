//! The table of directives as JSON Schemas and as the reference; both are compared with what the reader accepts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use stagewright::config::directives::{self, Chosen, Key, Kind, Shape};
use stagewright::diag::rules;
use stagewright::source::FileId;
use stagewright::syntax::yaml;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn blessed(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(&file, expected).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == expected, "{path} is stale: run `make bless`");
}

// ---- schemas

/// A name for `$defs`: its first key tells sections of one title apart.
fn name_of(shape: &'static Shape) -> String {
    let words = shape.title.replace(['`', '.'], " ");
    let mut name = String::new();
    for word in words.split([' ', '-']).filter(|w| !["a", "an", "the", "of", "with"].contains(w) && !w.is_empty()) {
        let mut chars = word.chars();
        name.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        name += chars.as_str();
    }
    let global = std::ptr::eq(shape, &raw const directives::GLOBAL_IMAGE_SPEC)
        || std::ptr::eq(shape, &raw const directives::GLOBAL_SPEC_CONFIG);
    if global { format!("Global{name}") } else { name }
}

struct Schemas {
    defs: Map<String, Value>,
    closed: bool,
}

impl Schemas {
    fn reference(&mut self, shape: &'static Shape) -> Value {
        let name = name_of(shape);
        if !self.defs.contains_key(&name) {
            self.defs.insert(name.clone(), Value::Null);
            let schema = self.section(shape);
            self.defs.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/definitions/{name}") })
    }

    fn section(&mut self, shape: &'static Shape) -> Value {
        let properties: Map<String, Value> = shape.keys().map(|k| (k.name.to_owned(), self.key(k))).collect();
        let needed: Vec<&str> = shape.keys().filter(|k| k.needed).map(|k| k.name).collect();
        let mut schema = json!({ "type": "object", "description": shape.doc, "properties": properties });
        if self.closed {
            schema["additionalProperties"] = json!(false);
        }
        if !needed.is_empty() {
            schema["required"] = json!(needed);
        }
        let there = |key: &str| json!({ "required": [key], "properties": { key: { "not": { "type": "null" } } } });
        let rules: Vec<Value> = shape
            .choices
            .iter()
            .map(|chosen| match chosen {
                Chosen::One(keys) => json!({ "oneOf": keys.iter().map(|k| there(k)).collect::<Vec<_>>() }),
                Chosen::Some(keys) => {
                    json!({ "anyOf": keys.iter().map(|k| json!({ "required": [k] })).collect::<Vec<_>>() })
                }
                Chosen::AtMostOne(keys) => {
                    let pair = |(i, a): (usize, &&str)| {
                        let rest = keys.iter().skip(i + 1);

                        rest.map(|b| json!({ "allOf": [there(a), there(b)] })).collect::<Vec<_>>()
                    };
                    json!({ "not": { "anyOf": keys.iter().enumerate().flat_map(pair).collect::<Vec<_>>() } })
                }
            })
            .collect();
        if !rules.is_empty() {
            schema["allOf"] = Value::Array(rules);
        }
        schema
    }

    fn key(&mut self, key: &Key) -> Value {
        let scalar = json!(["string", "number", "boolean"]);
        let mut schema = match key.kind {
            Kind::Text => json!({ "type": ["string", "number", "boolean", "null"] }),
            Kind::Flag => json!({ "type": ["boolean", "null"] }),
            Kind::Integer => json!({ "type": ["integer", "null"] }),
            Kind::Duration | Kind::Seconds => json!({ "type": ["string", "integer", "null"] }),
            Kind::Choice(words) => {
                json!({ "enum": words.iter().map(|w| json!(w)).chain([Value::Null]).collect::<Vec<_>>() })
            }
            Kind::Texts => json!({ "type": ["array", "null"], "items": { "type": scalar } }),
            Kind::Strings => json!({ "type": ["string", "array", "null"], "items": { "type": "string" } }),
            Kind::Names => json!({ "type": ["string", "array", "null"], "items": { "type": "string" }, "minItems": 1 }),
            Kind::Map => json!({ "type": ["object", "null"] }),
            Kind::Section(shape) => json!({ "anyOf": [{ "type": "null" }, self.reference(shape)] }),
            Kind::List(shape) => json!({ "type": ["array", "null"], "items": self.reference(shape) }),
            Kind::Items => json!({ "type": ["array", "null"], "items": { "type": "object" } }),
        };
        if key.needed {
            schema = if let Kind::Section(shape) = key.kind {
                self.reference(shape)
            } else {
                if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
                    types.retain(|t| t != "null");
                }
                schema
            };
        }
        let mut words = key.doc.to_owned();
        if !key.instead.is_empty() {
            words += &format!(" Deprecated: {}.", key.instead);
            schema["deprecated"] = json!(true);
        }
        if !key.default.is_empty() {
            words += &format!(" Default: {}.", key.default);
        }
        schema["description"] = json!(words);
        schema
    }
}

fn document(title: &str, closed: bool, body: impl FnOnce(&mut Schemas) -> Value) -> Value {
    let mut schemas = Schemas { defs: Map::new(), closed };
    let mut schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": title });
    let Value::Object(parts) = body(&mut schemas) else { unreachable!("a schema is an object") };
    schema.as_object_mut().unwrap().extend(parts);
    schema["definitions"] = Value::Object(schemas.defs);
    schema
}

fn werf() -> Value {
    document("werf.yaml: one document of it", true, |schemas| {
        let (meta, dockerfile, stapel) = (
            schemas.reference(&directives::META),
            schemas.reference(&directives::DOCKERFILE_IMAGE),
            schemas.reference(&directives::STAPEL_IMAGE),
        );
        json!({
            "if": { "anyOf": [{ "required": ["configVersion"] }, { "required": ["project"] }] },
            "then": meta,
            "else": { "if": { "required": ["dockerfile"] }, "then": dockerfile, "else": stapel },
        })
    })
}

fn schemas() -> Vec<(&'static str, Value)> {
    let severities = json!({ "enum": ["off", "note", "warning", "error", false] });
    let names: Vec<&str> = rules::ALL.iter().map(|rule| rule.name).collect();
    let properties: Map<String, Value> = rules::ALL
        .iter()
        .map(|r| (r.name.to_owned(), json!({ "description": r.summary, "allOf": [severities.clone()] })))
        .collect();
    let lint = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "stagewright-lint.yaml",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "rules": { "type": "object", "additionalProperties": false, "properties": properties },
            "ignore": { "type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["path"],
                "properties": { "path": { "type": "string" }, "rule": { "enum": names } },
            } },
        },
    });
    vec![
        ("werf", werf()),
        ("werf-giterminism", document("werf-giterminism.yaml", true, |s| s.section(&directives::GITERMINISM))),
        ("werf-includes", document("werf-includes.yaml", true, |s| s.section(&directives::INCLUDES))),
        ("stagewright-lint", lint),
    ]
}

#[test]
fn the_schemas_are_written_from_the_table() {
    for (name, schema) in schemas() {
        blessed(
            &format!("docs/reference/schemas/{name}.schema.json"),
            &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()),
        );
    }
}

/// The documents of a file as JSON.
fn documents(text: &str) -> Vec<Value> {
    let nodes = yaml::decode_all(text, FileId(u32::MAX), 0, yaml::Options::MANIFESTS);
    nodes.map(|list| list.iter().map(yaml::Node::to_plain).filter(|v| !v.is_null()).collect()).unwrap_or_default()
}

struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new(schema: Value) -> Self {
        let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
        compiler.add_resource("s.json", schema).unwrap();
        let index = compiler.compile("s.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn fault(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|e| format!("{e:#}"))
    }
}

#[test]
fn what_the_reader_takes_meets_the_schema_and_what_it_refuses_for_its_shape_does_not() {
    let validator = Validator::new(werf());
    let projects = root().join("testdata/projects");
    let (mut good, mut bad) = (0, 0);
    let shape_faults = ["unknown-key", "wrong-type"];
    for folder in [projects.clone(), projects.join("bad")] {
        let is_bad = folder.ends_with("bad");
        for entry in fs::read_dir(folder).unwrap() {
            let dir = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(dir.join("werf.yaml")) else { continue };
            if text.contains("{{") {
                continue;
            }
            let expected = fs::read_dir(dir.join("expect")).into_iter().flatten();
            let expected: String =
                expected.filter_map(|e| fs::read_to_string(e.unwrap().path()).ok()).collect::<Vec<_>>().join("\n");
            let faults: Vec<String> = documents(&text).iter().filter_map(|d| validator.fault(d)).collect();
            let errors = expected.matches("error[").count();
            let of_shape: usize = shape_faults.iter().map(|r| expected.matches(&format!("error[{r}]")).count()).sum();
            if errors == 0 && !is_bad {
                good += 1;
                assert!(faults.is_empty(), "{}: {}", dir.display(), faults.join("\n"));
            } else if of_shape > 0 && expected.contains("werf.yaml:") {
                bad += 1;
                assert!(!faults.is_empty(), "{}: the schema accepts it", dir.display());
            }
        }
    }
    assert!(good > 20 && bad > 3, "{good} good and {bad} bad projects were compared");
}

#[test]
fn schemas_catch_what_editors_shall_mark() {
    let werf = Validator::new(werf());
    for (text, right) in [
        ("configVersion: 1\nproject: a", true),
        ("configVersion: 1", false),
        ("image: a\nfrom: b", true),
        ("image: ~\nfrom: b", true),
        ("image: [a, b]\ndockerfile: D\ncontextAddFiles: x", true),
        ("image: []\ndockerfile: D", false),
        ("image: a", false),
        ("image: a\nfrom: b\nshell: {install: [x]}\nansible: {install: []}", false),
        ("image: a\nfrom: b\ngit: [{to: /a, branch: b, tag: c}]", false),
        ("image: a\nfrom: b\nimport: [{from: c, add: /a, after: install}]", true),
        ("image: a\nfrom: b\nimport: [{from: c, add: /a, after: install, before: setup}]", false),
        ("image: a\nfrom: b\nimagee: c", false),
        ("image: a\nfrom: b\ndocker: {EXPOSE: 80}", false),
    ] {
        let fault = werf.fault(&documents(text)[0]);
        assert_eq!(fault.is_none(), right, "{text}: {fault:?}");
    }
    let schemas = schemas();
    let of = |name: &str| Validator::new(schemas.iter().find(|(n, _)| *n == name).unwrap().1.clone());
    let giterminism = "giterminismConfigVersion: 1\nconfig: {stapel: {git: {allowBranch: true}}}";
    assert_eq!(of("werf-giterminism").fault(&documents(giterminism)[0]), None);
    assert!(of("werf-giterminism").fault(&json!({ "giterminismConfigVersion": 1, "confg": {} })).is_some());
    let lint = json!({ "rules": { "untagged-base": "off" }, "ignore": [{ "path": "a/**" }] });
    assert_eq!(of("stagewright-lint").fault(&lint), None);
    assert!(of("stagewright-lint").fault(&json!({ "rules": { "untaged-base": "off" } })).is_some());
}

// ---- the reference

fn takes(kind: Kind) -> String {
    let link = |shape: &'static Shape| format!("[{}](#{})", plain(shape.title), anchor(shape));
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Flag => "boolean".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Seconds => "seconds or duration".to_owned(),
        Kind::Choice(words) => words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Strings => "string or list of strings".to_owned(),
        Kind::Names => "name or list of names".to_owned(),
        Kind::Map => "mapping of texts".to_owned(),
        Kind::Section(shape) => link(shape),
        Kind::List(shape) => format!("list of {}", link(shape)),
        Kind::Items => "list of tasks".to_owned(),
    }
}

fn plain(title: &str) -> String {
    title.replace('`', "")
}

fn anchor(shape: &'static Shape) -> String {
    heading(shape).to_lowercase().replace(' ', "-").replace(['`', '.'], "")
}

fn heading(shape: &'static Shape) -> String {
    let global = name_of(shape).starts_with("Global");
    let title = shape.title;
    let title = ["the ", "an ", "a "].iter().find_map(|article| title.strip_prefix(article)).unwrap_or(title);
    let mut chars = title.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}{}", chars.as_str(), if global { " of all images" } else { "" })
}

fn section(out: &mut String, shape: &'static Shape, seen: &mut Vec<String>) {
    if seen.contains(&name_of(shape)) {
        return;
    }
    seen.push(name_of(shape));
    *out +=
        &format!("\n## {}\n\n{}\n\n| key | takes | means | default |\n|---|---|---|---|\n", heading(shape), shape.doc);
    for key in shape.keys() {
        let needed = if key.needed { " (needed)" } else { "" };
        let old = if key.instead.is_empty() { String::new() } else { format!(" Deprecated: {}.", key.instead) };
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        *out += &format!("| `{}`{needed} | {} | {}{old} | {default} |\n", key.name, takes(key.kind), key.doc);
    }
    for chosen in shape.choices {
        let list = |keys: &[&str]| keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
        *out += &match chosen {
            Chosen::One(keys) => format!("\nExactly one of {}.\n", list(keys)),
            Chosen::Some(keys) => format!("\nAt least one of {}.\n", list(keys)),
            Chosen::AtMostOne(keys) => format!("\nAt most one of {}.\n", list(keys)),
        };
    }
    for key in shape.keys() {
        if let Kind::Section(inner) | Kind::List(inner) = key.kind {
            section(out, inner, seen);
        }
    }
}

#[test]
fn the_reference_of_directives_is_written_from_the_table() {
    let pages: [(&str, &str, &[&'static Shape]); 3] = [
        (
            "werf-yaml",
            "# werf.yaml\n\nWritten from the table in `src/config/directives.rs`: `make bless`. \
             The schema for editors is [schemas/werf.schema.json](schemas/werf.schema.json).\n\n\
             The file is a Go template, then YAML of several documents: one [meta document](#meta-document), and one for each \
             image, [with `dockerfile`](#image-with-dockerfile) or [without](#image). A key that is not listed is an error.\n",
            &[&directives::META, &directives::DOCKERFILE_IMAGE, &directives::STAPEL_IMAGE],
        ),
        (
            "werf-giterminism-yaml",
            "# werf-giterminism.yaml\n\nWritten from the table in `src/config/directives.rs`: `make bless`. \
             The schema for editors is [schemas/werf-giterminism.schema.json](schemas/werf-giterminism.schema.json).\n\n\
             A key that is not listed is warned of: werf ignores it, so it would allow nothing.\n",
            &[&directives::GITERMINISM],
        ),
        (
            "werf-includes-yaml",
            "# werf-includes.yaml\n\nWritten from the table in `src/config/directives.rs`: `make bless`. \
             The schema for editors is [schemas/werf-includes.schema.json](schemas/werf-includes.schema.json).\n",
            &[&directives::INCLUDES],
        ),
    ];
    for (name, head, shapes) in pages {
        let (mut out, mut seen) = (head.to_owned(), Vec::new());
        shapes.iter().for_each(|shape| section(&mut out, shape, &mut seen));
        blessed(&format!("docs/reference/{name}.md"), &out);
    }
    assert!(Path::new(&root()).join("docs/reference/README.md").exists());
}
