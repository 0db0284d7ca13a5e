//! Where values come from: every layer that sets one, as text and as JSON.

use console::{Style, measure_text_width, truncate_str};
use serde::Serialize;
use serde_json::Value;

use super::terminal::printable;
use super::{Look, pretty_json};
use crate::source::Place;

/// The widest value that is drawn whole. Unit: columns.
const WIDEST: usize = 60;

/// A value, and every layer that sets it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueLayers {
    /// Its path.
    pub path: String,
    /// What templates see; absent where null takes the value away. What is secret has a name in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The layers, the highest first.
    pub layers: Vec<ValueLayer>,
}

/// A layer that sets a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueLayer {
    /// `service`, `secret`, an option of the `--set` family, `values` or `chart`.
    pub layer: &'static str,
    /// Where it is written, if in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The argument of the option.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// The variable of the environment that the option comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Its value there.
    pub value: Value,
    /// Whether it is the one that templates see.
    pub wins: bool,
    /// The path that has this value, where the layer replaces the table around what is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub around: Option<String>,
}

impl ValueLayer {
    fn origin(&self) -> String {
        let place = self.place.as_ref().map(ToString::to_string);
        let origin = self.argument.clone().or(place).unwrap_or_else(|| "set by the project".to_owned());
        let variable = self.variable.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        printable(&format!("{origin}{variable}"))
    }
}

/// Draws values for programs.
pub fn value_layers_json(values: &[ValueLayers]) -> String {
    pretty_json(&serde_json::json!({ "format_version": "1.0", "values": values }))
}

/// Draws what was asked of one path: all layers of a value, of a table the winner of each.
pub fn value_layers_text(values: &[ValueLayers], look: Look) -> String {
    match values {
        [one] => layers_text(one, look),
        several => winners_text(several, look),
    }
}

fn layers_text(value: &ValueLayers, look: Look) -> String {
    let is_null = value.layers.first().is_some_and(|layer| layer.value.is_null() && layer.around.is_none());
    let why = if is_null { "nothing, null takes it away" } else { "nothing, for a layer replaces the table around it" };
    let seen = value.value.as_ref().map_or_else(|| why.to_owned(), short);
    let mut text = format!("{}: {seen}\n", printable(&value.path));
    let width = |of: &dyn Fn(&ValueLayer) -> usize| value.layers.iter().map(of).max().unwrap_or(0);
    let layers = width(&|layer| layer.layer.len());
    let origins = width(&|layer| measure_text_width(&layer.origin()));
    for layer in &value.layers {
        let origin = layer.origin();
        let gap = " ".repeat(origins.saturating_sub(measure_text_width(&origin)));
        let mark = if layer.wins { "*" } else { " " };
        let around = layer.around.as_ref().map(|path| format!(" for `{}`", printable(path))).unwrap_or_default();
        let line = format!("{mark} {:<layers$}  {origin}{gap}  {}{around}", layer.layer, short(&layer.value));
        let style = if layer.wins { Style::new().green() } else { Style::new() };
        text += &format!("  {}\n", style.force_styling(look.color).apply_to(line));
    }
    text
}

fn winners_text(values: &[ValueLayers], look: Look) -> String {
    let rows: Vec<(String, String, String)> = values.iter().map(winner).collect();
    let width = |of: &dyn Fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| measure_text_width(of(row))).max().unwrap_or(0)
    };
    let (paths, seen) = (width(&|row| &row.0), width(&|row| &row.1));
    let mut text = String::new();
    for (path, value, origin) in &rows {
        let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(measure_text_width(text)));
        let origin = Style::new().dim().force_styling(look.color).apply_to(origin);
        text += &format!("{path}{}  {value}{}  {origin}\n", pad(path, paths), pad(value, seen));
    }
    text
}

fn winner(value: &ValueLayers) -> (String, String, String) {
    let seen = value.value.as_ref().map_or_else(|| "nothing".to_owned(), short);
    let origin = value.layers.iter().find(|layer| layer.wins);
    let origin = origin.map_or_else(|| "no layer".to_owned(), |layer| format!("{} {}", layer.layer, layer.origin()));
    (printable(&value.path), seen, origin)
}

fn short(value: &Value) -> String {
    let text = match value {
        // What stands for a secret is no text of it.
        Value::String(text) if text.starts_with("(secret") => text.clone(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    truncate_str(&printable(&text), WIDEST, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layer(layer: &'static str, place: Option<(&str, u32)>, value: Value) -> ValueLayer {
        let place = place.map(|(file, line)| Place { line: Some(line), ..Place::file(file) });
        ValueLayer { layer, place, argument: None, variable: None, value, wins: false, around: None }
    }

    fn port() -> ValueLayers {
        let set = ValueLayer {
            argument: Some("web.port=8080".into()),
            variable: Some("WERF_SET_1".into()),
            wins: true,
            ..layer("--set", None, json!(8080))
        };
        let default = layer("chart", Some((".helm/values.yaml", 3)), json!(80));
        ValueLayers { path: "web.port".into(), value: Some(json!(8080)), layers: vec![set, default] }
    }

    #[test]
    fn a_value_is_drawn_with_its_layers_and_a_table_with_its_winners() {
        let expected =
            "web.port: 8080\n  * --set  web.port=8080 (WERF_SET_1)  8080\n    chart  .helm/values.yaml:3         80\n";
        assert_eq!(value_layers_text(&[port()], Look::plain()), expected);
        let secret = ValueLayer { wins: true, ..layer("secret", Some(("s.yaml", 1)), json!("(secret 0a)")) };
        let token = ValueLayers { path: "t".into(), value: Some(json!("(secret 0a)")), layers: vec![secret] };
        let gone = ValueLayers { path: "gone".into(), value: None, layers: Vec::new() };
        let text = value_layers_text(&[port(), token, gone], Look::plain());
        let expected = "web.port  8080         --set web.port=8080 (WERF_SET_1)\nt         (secret 0a)  secret s.yaml:1\n\
             gone      nothing      no layer\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_get_every_layer() {
        let json: Value = serde_json::from_str(&value_layers_json(&[port()])).unwrap();
        let value = &json["values"][0];
        assert_eq!((&json["format_version"], &value["value"]), (&json!("1.0"), &json!(8080)));
        assert_eq!(value["layers"][0]["argument"], "web.port=8080");
        assert_eq!(value["layers"][1]["place"], json!({"file": ".helm/values.yaml", "line": 3}));
    }

    #[test]
    fn long_values_are_cut_and_control_characters_are_seen() {
        assert_eq!(measure_text_width(&short(&json!("x".repeat(200)))), WIDEST);
        assert_eq!(short(&json!("a\u{1b}[2Jb\n")), "\"a\\u001b[2Jb\\n\"");
    }
}
