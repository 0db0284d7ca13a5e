//! `--explain-values PATH` of `plan`, `render` and `template`: where values come from.

use super::super::args::{GlobalArgs, command};
use super::super::environment::{Setting, in_force};
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use crate::diag::Diagnostics;
use crate::pipeline::{self, ValueAnswer, ValueQuestion, load};
use crate::report::{value_layers_json, value_layers_text};
use crate::source::Sources;

/// How values are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Tells where values of the project come from. Nothing outside of it is asked.
pub fn run(
    global: &GlobalArgs,
    options: Options<'_>,
    (paths, telling): (&[String], Telling),
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let found = find(global, options, invocation)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let project = load(&mut diagnostics, &sources, &found.inputs);
    let settings = settings(invocation);
    let variable = |option: &str, value: &str| variable(&settings, option, value);
    let question = ValueQuestion { paths, variable: &variable };
    let answers = project.and_then(|project| {
        let read = (&project, &found.inputs);
        pipeline::explain_values(&mut diagnostics, &sources, read, &found.host, &question)
    });
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    tell(answers.ok_or(CliError::Config)?, telling, invocation)
}

/// Refuses options beside which nothing would be done: each is named with whether it is given.
pub fn refuse_beside(options: &[(&str, bool)]) -> Result<(), CliError> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(CliError::Usage(format!(
            "--explain-values tells where values come from, and does nothing else: leave {option} away"
        ))),
        None => Ok(()),
    }
}

/// Returns the options that are in force.
pub fn settings(invocation: &Invocation) -> Vec<Setting> {
    in_force(command(), &invocation.args, &invocation.env)
}

/// Names the variable that an option with a value comes from; what was typed too comes from there.
pub fn variable(settings: &[Setting], option: &str, value: &str) -> Option<String> {
    let last = settings.iter().rfind(|setting| setting.option == option && setting.value == value);
    last.and_then(|setting| setting.variable.clone())
}

/// Prints what is known of each path; one that nothing sets is an error.
pub fn tell(answers: Vec<ValueAnswer>, telling: Telling, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(values) => known.push(values),
            Err(not_set) => missing.push(not_set),
        }
    }
    if !known.is_empty() {
        let look = invocation.streams.out_look();
        let text = match telling {
            Telling::Json => value_layers_json(&known.concat()),
            Telling::Text => known.iter().map(|values| value_layers_text(values, look)).collect::<Vec<_>>().join("\n"),
        };
        let text = invocation.streams.mask().hide(&text).into_owned();
        invocation.streams.print(&text)?;
    }
    let messages: Vec<String> = missing.iter().map(|not_set| not_set.message.clone()).collect();
    if messages.is_empty() {
        return Ok(exit_code::DONE);
    }
    let near = missing.iter().find_map(|not_set| not_set.near.as_ref());
    let error = CliError::user(messages.join("; "));
    Err(near.into_iter().fold(error, |error, near| error.hint(format!("did you mean `{near}`?"))))
}
