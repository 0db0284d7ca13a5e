//! `imageSpec`: the last stage of an image, which changes its configuration only.

use std::collections::BTreeMap;

use super::build::{Base, BuildPart, ConfigChange, Healthcheck, Platform, Step, base_env};
use super::image::{ImageInputs, empty_stage};
use super::model::Stage;
use crate::config::{Image, ImageSpec, Text};
use crate::source::{Place, Span};
use crate::syntax::dockerfile::expand;

/// Makes the stage.
pub fn image_spec_stage(inputs: &ImageInputs<'_>, image: &Image, spec: &ImageSpec, platform: &Platform) -> Stage {
    let project = inputs.config.meta.project.value.as_str();
    let template = |text: &str| text.replace("%image%", &image.name.value).replace("%project%", project);
    let mut list = Changes { inputs, steps: Vec::new(), places: vec![Some(inputs.place(spec.span))] };
    if let Some(author) = &spec.author {
        list.text(author, ConfigChange::Author);
    }
    if spec.clear_history.value {
        list.add(ConfigChange::ClearHistory, spec.clear_history.span);
    }
    for pattern in &spec.remove_labels {
        list.text(pattern, ConfigChange::RemoveLabel);
    }
    for (name, value) in &spec.labels {
        list.add(ConfigChange::Label(template(name), template(&value.value)), value.span);
    }
    for pattern in &spec.remove_env {
        list.text(pattern, ConfigChange::RemoveEnv);
    }
    for (name, value) in &spec.env {
        let expanded = expand_env(&value.value);
        list.add(ConfigChange::Env(name.clone(), expanded), value.span);
    }
    for path in &spec.remove_volumes {
        list.text(path, ConfigChange::RemoveVolume);
    }
    for path in &spec.volumes {
        list.text(path, ConfigChange::Volume);
    }
    if let Some(ports) = &spec.expose {
        let list_of = |p: &Text| if p.value.contains('/') { p.value.clone() } else { format!("{}/tcp", p.value) };
        let span = ports.first().map_or(spec.span, |p| p.span);
        list.add(ConfigChange::ReplaceExpose(ports.iter().map(list_of).collect()), span);
    }
    let clears = [
        (&spec.clear_entrypoint, ConfigChange::ClearEntrypoint),
        (&spec.clear_cmd, ConfigChange::ClearCmd),
        (&spec.clear_user, ConfigChange::ClearUser),
        (&spec.clear_working_dir, ConfigChange::ClearWorkdir),
    ];
    for (switch, change) in clears {
        if switch.value {
            list.add(change, switch.span);
        }
    }
    let words = |texts: &[Text]| texts.iter().map(|t| t.value.clone()).collect::<Vec<_>>();
    if let Some(entrypoint) = &spec.entrypoint {
        let span = entrypoint.first().map_or(spec.span, |t| t.span);
        list.add(ConfigChange::Entrypoint(words(entrypoint)), span);
        if spec.cmd.is_none() {
            list.add(ConfigChange::ClearCmd, span);
        }
    }
    if let Some(cmd) = &spec.cmd {
        list.add(ConfigChange::Cmd(words(cmd)), cmd.first().map_or(spec.span, |t| t.span));
    }
    if let Some(user) = &spec.user {
        list.text(user, ConfigChange::User);
    }
    if let Some(dir) = &spec.working_dir {
        list.text(dir, ConfigChange::Workdir);
    }
    if let Some(signal) = &spec.stop_signal {
        list.text(signal, ConfigChange::StopSignal);
    }
    if let Some(check) = &spec.healthcheck {
        let seconds = |n: i64| u64::try_from(n).unwrap_or(0).saturating_mul(1_000_000_000);
        let check_value = Healthcheck {
            test: words(&check.test),
            interval: seconds(check.interval),
            timeout: seconds(check.timeout),
            start_period: seconds(check.start_period),
            start_interval: 0,
            retries: u64::try_from(check.retries).unwrap_or(0),
        };
        list.add(ConfigChange::Healthcheck(Some(check_value)), check.span);
    }
    let mut stage = empty_stage("imageSpec", platform);
    stage.places.push(list.places);
    stage.request.parts.push(BuildPart {
        name: "imageSpec".into(),
        base: Base::Scratch,
        arguments: BTreeMap::new(),
        steps: list.steps,
    });
    stage
}

/// Collects the changes with their places.
struct Changes<'a> {
    inputs: &'a ImageInputs<'a>,
    steps: Vec<Step>,
    places: Vec<Option<Place>>,
}

impl Changes<'_> {
    fn add(&mut self, change: ConfigChange, span: Span) {
        self.steps.push(Step::Config(change));
        self.places.push(Some(self.inputs.place(span)));
    }

    fn text(&mut self, text: &Text, change: impl FnOnce(String) -> ConfigChange) {
        self.add(change(text.value.clone()), text.span);
    }
}

/// Leaves `${NAME}` for the build, which knows the variables of the image.
fn expand_env(text: &str) -> String {
    let lookup = |name: &str| Some(base_env(name));
    expand(text, '\\', &lookup).map_or_else(|_| text.to_owned(), |e| e.text)
}
