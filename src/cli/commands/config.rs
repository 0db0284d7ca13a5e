//! `config render`, `config list`, `config explain`: what werf.yaml says, and where.

use serde_json::json;

use super::super::args::{ConfigArgs, ConfigCommand, ConfigFormat, ConfigListArgs, GlobalArgs, ProjectArgs};
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use crate::config::{Config, Image};
use crate::diag::Diagnostics;
use crate::pipeline::load_config;
use crate::report::{place_text, pretty_json};
use crate::source::Sources;

pub fn run(global: &GlobalArgs, command: &ConfigCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let sources = Sources::new();
    let text = match command {
        ConfigCommand::List(ConfigListArgs { output, project }) => {
            list(&loaded(global, project, &sources, invocation)?, *output, &sources)
        }
        ConfigCommand::Explain(ConfigArgs { project }) => {
            explained(&loaded(global, project, &sources, invocation)?, &sources)
        }
        ConfigCommand::Render(ConfigArgs { project }) => {
            let config = loaded(global, project, &sources, invocation)?;
            sources.get(config.rendered).text().to_string()
        }
    };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

fn loaded(
    global: &GlobalArgs,
    project: &ProjectArgs,
    sources: &Sources,
    invocation: &Invocation,
) -> Result<Config, CliError> {
    let found = find(global, Options { project: Some(project), ..Options::default() }, invocation)?;
    let mut diagnostics = Diagnostics::new();
    let config = load_config(&mut diagnostics, sources, &found.inputs);
    invocation.streams.tell_diagnostics(diagnostics, sources);
    config.map(|(config, _)| config).ok_or(CliError::Config)
}

fn list(config: &Config, format: ConfigFormat, sources: &Sources) -> String {
    match format {
        ConfigFormat::Text => config.images.iter().map(|i| format!("{}\n", shown(i))).collect(),
        ConfigFormat::Json => {
            let entry =
                |i: &Image| json!({ "name": i.name.value, "final": i.is_final, "place": sources.place(i.name.span) });
            pretty_json(&config.images.iter().map(entry).collect::<Vec<_>>())
        }
    }
}

fn shown(image: &Image) -> &str {
    if image.name.value.is_empty() { "~" } else { &image.name.value }
}

fn explained(config: &Config, sources: &Sources) -> String {
    let mut text = format!("{}\n", config.path);
    let at = |span| place_text(&sources.place(span));
    text += &format!("  project {}  {}\n", config.meta.project.value, at(config.meta.project.span));
    for (index, image) in config.iter() {
        let kind = if image.is_final { "image" } else { "image (not final)" };
        text += &format!("  {kind} {}  {}\n", shown(image), at(image.name.span));
        for edge in config.graph.edges_of(index) {
            text += &format!("    uses {}  {}\n", shown(config.image(edge.needed)), at(edge.span));
        }
    }
    text
}
