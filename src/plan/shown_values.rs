//! Which values are not shown: those that Secrets are filled with.
//!
//! What lives here: [`conceal_values`] of a record, and [`SecretTexts`] of a chart. What does not: what of manifests, hooks and notes is not shown (`helm`), and what a
//! plan hides (`conceal`).
//!
//! The one idea: a record does not say which value went where. So a value is hidden when its text is part of what a Secret
//! holds, or holds it; too much is hidden rather than too little.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use super::helm::{documents, is_list, parse_manifest};
use super::secrecy::Secrecy;

/// Shorter texts are parts of others by chance: they are hidden where a Secret holds nothing else. Unit: bytes.
const SHORTEST: usize = 4;
/// Shorter values of Secrets stand in other texts by chance (`admin`). Unit: bytes.
const TELLING: usize = 8;
/// How many forms a text may be written in, one within the other.
const DEPTH: usize = 3;
/// What is shown in the place of a value.
const HIDDEN: &str = "(secret)";

/// What the Secrets among some objects hold, and what their annotations hide.
#[derive(Clone, Debug, Default)]
pub struct SecretTexts(BTreeSet<String>);

impl SecretTexts {
    /// Gathers it.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut texts = BTreeSet::new();
        for object in objects {
            of_object(object, &mut texts);
            let items = object.get("items").and_then(Value::as_array).filter(|_| is_list(object));
            for object in items.into_iter().flatten().chain([object]) {
                let secrecy = Secrecy::of(object);
                if !secrecy.is_empty() {
                    of_hidden_fields(object, "", &secrecy, &mut texts);
                }
            }
        }
        Self(texts)
    }

    /// Says whether a value, or one in it, is part of what they hold, or holds it.
    pub fn meet(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => is_part(&number.to_string(), &self.0),
            Value::String(text) => is_part(text, &self.0),
            Value::Array(items) => items.iter().any(|item| self.meet(item)),
            Value::Object(map) => map.values().any(|item| self.meet(item)),
        }
    }
}

/// Hides the values that fill Secrets of a record, wherever it keeps values, and such texts in its notes.
pub fn conceal_values(shown: &mut Value, release: &Value) {
    let texts = secret_texts(release);
    if texts.is_empty() {
        return;
    }
    for place in ["/config", "/chart/values"] {
        if let Some(values) = shown.pointer_mut(place) {
            conceal(values, &texts);
        }
    }
    if let Some(Value::String(notes)) = shown.pointer_mut("/info/notes") {
        // The longest first: one may be part of another.
        let mut long: Vec<&String> = texts.iter().filter(|text| text.len() >= TELLING).collect();
        long.sort_by_key(|text| std::cmp::Reverse(text.len()));
        for text in long {
            *notes = notes.replace(text.as_str(), HIDDEN);
        }
    }
}

/// Depth is bounded by the readers of records.
fn conceal(value: &mut Value, texts: &BTreeSet<String>) {
    let is_secret = match &*value {
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        Value::Number(number) => is_part(&number.to_string(), texts),
        Value::String(text) => is_part(text, texts),
    };
    if is_secret {
        *value = HIDDEN.into();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| conceal(item, texts)),
        Value::Object(map) => map.values_mut().for_each(|item| conceal(item, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_part(value: &str, texts: &BTreeSet<String>) -> bool {
    let value = value.trim();
    if value.is_empty() {
        return false;
    }
    let meets = |text: &String| {
        text == value
            || value.len() >= SHORTEST && text.contains(value)
            || text.len() >= TELLING && value.contains(text.as_str())
    };
    // A text of several lines is indented in what it is part of.
    texts.iter().any(meets) || value.lines().nth(1).is_some() && value.lines().any(|line| is_part(line, texts))
}

/// Gathers what the Secrets of a record hold, in clear and encoded, as a whole and line by line.
fn secret_texts(release: &Value) -> BTreeSet<String> {
    let manifest = release.get("manifest").and_then(Value::as_str);
    let hooks = release.get("hooks").and_then(Value::as_array).into_iter().flatten();
    let hooks = hooks.filter_map(|hook| hook.get("manifest")?.as_str());
    let mut texts = BTreeSet::new();
    for manifest in manifest.into_iter().chain(hooks) {
        for text in documents(manifest).iter().filter(|text| text.contains("Secret")) {
            let Some(object) = parse_manifest(text) else { continue };
            of_object(&object, &mut texts);
        }
    }
    texts
}

fn of_object(object: &Value, texts: &mut BTreeSet<String>) {
    match object.get("items").and_then(Value::as_array).filter(|_| is_list(object)) {
        Some(items) => items.iter().for_each(|item| of_secret(item, texts)),
        None => of_secret(object, texts),
    }
}

/// Depth is bounded by the reader of manifests.
fn of_hidden_fields(value: &Value, path: &str, secrecy: &Secrecy, texts: &mut BTreeSet<String>) {
    let text = match value {
        Value::Object(map) => {
            for (key, below) in map {
                let dot = if path.is_empty() { "" } else { "." };
                of_hidden_fields(below, &format!("{path}{dot}{key}"), secrecy, texts);
            }
            return;
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                of_hidden_fields(item, &format!("{path}[{at}]"), secrecy, texts);
            }
            return;
        }
        Value::Null | Value::Bool(_) => return,
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
    };
    if !text.is_empty() && secrecy.hides(path) {
        texts.insert(text);
    }
}

fn of_secret(object: &Value, texts: &mut BTreeSet<String>) {
    if object.get("kind").is_none_or(|kind| kind != "Secret") {
        return;
    }
    let of = |key: &str| object.get(key).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in of("stringData").chain(of("data")) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        add(&text, DEPTH, texts);
        let is_encoded = object.pointer("/data").and_then(|data| data.get(key)) == Some(value);
        let decoded = STANDARD.decode(text.trim()).ok().filter(|_| is_encoded);
        if let Some(clear) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            add(&clear, DEPTH, texts);
        }
    }
}

/// Adds a text as a whole and line by line, and what is written within it in another form: texts of JSON, base64, what an
/// address escapes.
fn add(text: &str, depth: usize, texts: &mut BTreeSet<String>) {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    texts.extend(lines.chain(Some(text.trim()).filter(|text| !text.is_empty())).map(str::to_owned));
    let Some(depth) = depth.checked_sub(1) else { return };
    if text.trim_start().starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<Value>(text)
    {
        leaves(&json, &mut |leaf| add(leaf, depth, texts));
    }
    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/-_=".contains(c);
    for word in text.split(|c| !is_code(c)).filter(|word| word.len() >= TELLING) {
        let decoded = STANDARD.decode(word).or_else(|_| URL_SAFE.decode(word));
        if let Some(clear) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            add(&clear, depth, texts);
        }
    }
    if text.contains('%') {
        let pair = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
        let clear: String = url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()).collect();
        if clear != text {
            add(&clear, depth, texts);
        }
    }
}

/// Depth is bounded by the reader of JSON.
fn leaves(json: &Value, found: &mut impl FnMut(&str)) {
    match json {
        Value::String(text) => found(text),
        Value::Number(number) => found(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, found)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(manifest: &str, values: Value) -> Value {
        let release = json!({"manifest": manifest, "config": values, "chart": {"values": {"word": "correct-horse"}},
            "info": {"notes": "Log in with correct-horse."}});
        let mut shown = release.clone();
        conceal_values(&mut shown, &release);
        shown
    }

    const SECRET: &str = "---\n# Source: a\nkind: Secret\nmetadata: {name: s}\ndata: {a: Y29ycmVjdC1ob3JzZQ==}\n\
        stringData: {url: 'db://shop:54321@db', pin: '12', key: \"BEGIN\\nline-one\\nline-two\\nEND\"}\n";

    #[test]
    fn values_are_known_in_what_a_secret_holds_in_another_form() {
        let auth = STANDARD.encode("me:hunter2");
        let json = json!({"auths": {"hub": {"auth": auth, "note": "a\"b\\cdef"}}}).to_string();
        let secret = json!({"kind": "Secret", "data": {"config": STANDARD.encode(json)},
            "stringData": {"dsn": "db://me:p%40ss%2Bw0rd%21@db"}});
        let texts = SecretTexts::of([&secret]);
        for value in ["hunter2", "a\"b\\cdef", "p@ss+w0rd!"] {
            assert!(texts.meet(&value.into()), "{value}");
        }
        assert!(!texts.meet(&"example/web:1".into()));
    }

    #[test]
    fn values_that_fill_secrets_are_hidden_and_others_are_shown() {
        let values = json!({"password": "correct-horse", "encoded": "Y29ycmVjdC1ob3JzZQ==", "url": "x://me:correct-horse@y", "port": 54321,
            "pin": 12, "key": "BEGIN\n  line-one\n  line-two\nEND\n", "list": [{"part": "shop:5432"}],
            "replicas": 2, "on": true, "name": "db", "image": "example/web:1", "other": null, "empty": ""});
        let hidden = shown(SECRET, values)["config"].clone();
        let secret = json!("(secret)");
        for key in ["password", "encoded", "url", "port", "pin", "key"] {
            assert_eq!(hidden[key], secret, "{key}");
        }
        assert_eq!(hidden["list"], json!([{"part": "(secret)"}]));
        let rest =
            json!({"replicas": 2, "on": true, "name": "db", "image": "example/web:1", "other": null, "empty": ""});
        for (key, value) in rest.as_object().unwrap() {
            assert_eq!(&hidden[key], value, "{key}");
        }
    }

    #[test]
    fn values_that_fill_secrets_and_hidden_fields_of_others_are_known() {
        let secret = json!({"kind": "Secret", "stringData": {"url": "db://correct-horse@db"}});
        let hidden = json!({"kind": "ConfigMap", "metadata": {"name": "shop-config", "annotations": {"werf.io/sensitive": "true"}},
            "data": {"token": "battery-staple"}});
        let open = json!({"kind": "ConfigMap", "data": {"greeting": "hello-there"}});
        let texts = SecretTexts::of([&json!({"kind": "List", "items": [secret, hidden]}), &open]);
        for value in [json!("correct-horse"), json!({"a": [1, "battery-staple"]})] {
            assert!(texts.meet(&value), "{value}");
        }
        for value in [json!("hello-there"), json!("shop-config"), json!(null), json!(true)] {
            assert!(!texts.meet(&value), "{value}");
        }
    }

    #[test]
    fn values_of_the_chart_and_notes_hide_what_secrets_of_lists_and_hooks_hold() {
        let list = "kind: List\nitems:\n- {kind: Secret, metadata: {name: s}, stringData: {x: correct-horse}}\n";
        let all = shown(list, json!({}));
        assert_eq!(all["chart"]["values"]["word"], "(secret)");
        assert_eq!(all["info"]["notes"], "Log in with (secret).");
        let release = json!({"hooks": [{"manifest": "kind: Secret\nstringData: {x: correct-horse}\n"}], "config": {"a": "correct-horse"}});
        let mut of_hook = release.clone();
        conceal_values(&mut of_hook, &release);
        assert_eq!(of_hook["config"]["a"], "(secret)");
        let none = shown("kind: ConfigMap\ndata: {x: correct-horse}\n", json!({"a": "correct-horse"}));
        assert_eq!(
            (&none["config"]["a"], &none["info"]["notes"]),
            (&json!("correct-horse"), &json!("Log in with correct-horse."))
        );
    }
}
