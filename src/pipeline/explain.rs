//! Where values come from, as it may be shown.
//!
//! The one idea: a value that is secret in one layer, or that fills a Secret, is shown of no layer. Which values fill Secrets
//! is seen by rendering the chart; where that fails, none is shown, only the places.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::chart::{self, Chart, ExplainedValue, LaidValue, Layer, NotSet, Rendered, ValuesInput};
use crate::diag::Diagnostics;
use crate::eval::Host;
use crate::plan::SecretTexts;
use crate::report::{ValueLayer, ValueLayers};
use crate::source::{FileId, Mask, Sources};

use super::load::{Project, ProjectInputs};
use super::render::{RenderChoice, chart_dir, hide, load_chart, render, set_file, values_input};

/// What is shown in the place of a value.
const HIDDEN: &str = "(secret)";

/// What is asked of values.
pub struct ValueQuestion<'a> {
    /// Their paths; `.` is the whole.
    pub paths: &'a [String],
    /// Names the variable of the environment that an option with a value comes from.
    pub variable: &'a dyn Fn(&str, &str) -> Option<String>,
}

/// What is known of the values at a path, those of a table one by one.
pub type ValueAnswer = Result<Vec<ValueLayers>, NotSet>;

/// Tells where values of a project come from: neither the stage store nor a target is asked.
pub fn explain_values(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (project, inputs): (&Project, &ProjectInputs),
    host: &dyn Host,
    question: &ValueQuestion<'_>,
) -> Option<Vec<ValueAnswer>> {
    let plain = load_chart(diagnostics, sources, project, &chart_dir(project))?;
    let mut opened = plain.clone();
    let secrets = chart::open_secrets(diagnostics, sources, &mut opened, &inputs.secrets);
    hide(sources, &inputs.secrets, &secrets.texts);
    if diagnostics.has_errors() {
        return None;
    }
    let read_file = |path: &str| set_file(inputs, path);
    // Whoever looks for a value that the schema refuses wants to know it too.
    let input = ValuesInput { check_schema: false, ..values_input(project, inputs, secrets.values, &read_file) };
    let charts = (&opened, &plain, &secrets.sources);
    explain_with(diagnostics, sources, charts, &input, question, || {
        let choice = RenderChoice::default();
        render(&mut Diagnostics::new(), sources, project, inputs, host, choice).map(|made| made.rendered)
    })
}

/// Tells where values of a chart without a project come from. `render` renders it, where that can be done.
pub fn explain_chart_values(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    chart: &Chart,
    input: &ValuesInput<'_>,
    question: &ValueQuestion<'_>,
    render: impl FnOnce() -> Option<Rendered>,
) -> Option<Vec<ValueAnswer>> {
    explain_with(diagnostics, sources, (chart, chart, &BTreeSet::new()), input, question, render)
}

fn explain_with(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (opened, plain, secret): (&Chart, &Chart, &BTreeSet<FileId>),
    input: &ValuesInput<'_>,
    question: &ValueQuestion<'_>,
    render: impl FnOnce() -> Option<Rendered>,
) -> Option<Vec<ValueAnswer>> {
    let charts = (opened, plain);
    let answers = chart::explain_values(diagnostics, sources, charts, secret, input, question.paths)?;
    let manifests =
        |made: &Rendered| SecretTexts::of(made.manifests.iter().chain(&made.hooks).map(|manifest| &manifest.data));
    let showing = Showing { sources, mask: sources.mask(), secrets: render().as_ref().map(manifests), question };
    let shown = |answer: Result<Vec<ExplainedValue>, NotSet>| {
        answer.map(|values| values.iter().map(|value| showing.value(value)).collect())
    };
    Some(answers.into_iter().map(shown).collect())
}

struct Showing<'a> {
    sources: &'a Sources,
    mask: Mask,
    /// What fills Secrets; `None` where that is not known.
    secrets: Option<SecretTexts>,
    question: &'a ValueQuestion<'a>,
}

impl Showing<'_> {
    fn value(&self, value: &ExplainedValue) -> ValueLayers {
        let is_hidden = value.layers.iter().any(|laid| self.is_hidden(laid));
        let shown = |json: Value| if is_hidden { self.hidden(&json) } else { json };
        ValueLayers {
            path: value.path.clone(),
            value: value.value.as_ref().map(|tree| shown(tree.to_json())),
            layers: value
                .layers
                .iter()
                .map(|laid| self.layer(laid, shown(laid.value.to_json()), laid.around.as_ref().unwrap_or(&value.path)))
                .collect(),
        }
    }

    /// What the project sets is no secret.
    fn is_hidden(&self, laid: &LaidValue) -> bool {
        let fills = || self.secrets.as_ref().is_none_or(|secrets| secrets.meet(&laid.value.to_json()));
        laid.is_secret || (laid.layer != Layer::Service && fills())
    }

    fn hidden(&self, json: &Value) -> Value {
        let text = match json {
            Value::Null => return Value::Null,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => json.to_string(),
        };
        self.mask.name_of(&text).unwrap_or_else(|| HIDDEN.to_owned()).into()
    }

    fn layer(&self, laid: &LaidValue, shown: Value, path: &str) -> ValueLayer {
        let variable = |option: &str, typed: &str| (self.question.variable)(option, typed);
        let place = laid.value.span.map(|span| self.sources.place(span));
        let (layer, place, argument, variable) = match &laid.layer {
            Layer::Chart => ("chart", place, None, None),
            Layer::File(name) => ("values", place, None, variable("--values", name)),
            Layer::Set(kind, typed) => {
                // The argument may assign secrets besides.
                let value = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
                let argument = self.mask.hide(&format!("{path}={value}")).into_owned();
                (kind.flag(), None, Some(argument), variable(kind.flag(), typed))
            }
            Layer::Secret => ("secret", place, None, None),
            Layer::Service => ("service", None, None, None),
        };
        ValueLayer { layer, place, argument, variable, value: shown, wins: laid.wins, around: laid.around.clone() }
    }
}
