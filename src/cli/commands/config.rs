//! `config render`, `config list`, `config graph`, `config explain`: what werf.yaml says, and where.

use serde_json::{Value, json};

use super::super::args::{
    ConfigArgs, ConfigCommand, ConfigExplainArgs, ConfigFormat, ConfigGraphArgs, ConfigListArgs, GlobalArgs,
    ProjectArgs, command,
};
use super::super::environment::in_force;
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use super::graph::drawn;
use crate::config::{Config, DeployNames, Explicit, Image, deploy_names, effective};
use crate::diag::Diagnostics;
use crate::pipeline::{ProjectInputs, config_graph, load_config};
use crate::report::{place_text, pretty_json};
use crate::source::Sources;

pub fn run(global: &GlobalArgs, command: &ConfigCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let sources = Sources::new();
    let text = match command {
        ConfigCommand::List(ConfigListArgs { output, project }) => {
            list(&of_project(global, project, &sources, invocation)?, *output, &sources)
        }
        ConfigCommand::Explain(args) => explain(global, args, &sources, invocation)?,
        ConfigCommand::Graph(ConfigGraphArgs { output, project }) => {
            drawn(&config_graph(&of_project(global, project, &sources, invocation)?), *output)
        }
        ConfigCommand::Render(ConfigArgs { project }) => {
            let config = of_project(global, project, &sources, invocation)?;
            sources.get(config.rendered).text().to_string()
        }
    };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

fn of_project(
    global: &GlobalArgs,
    project: &ProjectArgs,
    sources: &Sources,
    invocation: &Invocation,
) -> Result<Config, CliError> {
    let found = find(global, Options { project: Some(project), ..Options::default() }, invocation)?;
    let mut diagnostics = Diagnostics::new();
    let config = loaded(&mut diagnostics, &found.inputs, sources);
    invocation.streams.tell_diagnostics(diagnostics, sources);
    config
}

fn loaded(diagnostics: &mut Diagnostics, inputs: &ProjectInputs, sources: &Sources) -> Result<Config, CliError> {
    load_config(diagnostics, sources, inputs).map(|(config, _)| config).ok_or(CliError::Config)
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

/// A line of `config explain`.
struct Line {
    section: String,
    key: String,
    value: String,
    from: String,
}

fn explain(
    global: &GlobalArgs,
    args: &ConfigExplainArgs,
    sources: &Sources,
    invocation: &Invocation,
) -> Result<String, CliError> {
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let found = find(global, options, invocation)?;
    let mut diagnostics = Diagnostics::new();
    let config = loaded(&mut diagnostics, &found.inputs, sources);
    let names = config.as_ref().ok().and_then(|config| {
        let inputs = &found.inputs;
        let explicit = Explicit { release: inputs.release.as_deref(), namespace: inputs.namespace.as_deref() };
        deploy_names(&mut diagnostics, sources, config, inputs.env.as_deref().unwrap_or(""), explicit)
    });
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, sources);
    let config = config?;
    let names = names.filter(|_| !failed).ok_or(CliError::Config)?;
    let lines = lines(&config, &names, sources, invocation);
    Ok(match args.output {
        ConfigFormat::Text => text(&lines),
        ConfigFormat::Json => pretty_json(&lines.iter().map(as_json).collect::<Vec<_>>()),
    })
}

fn lines(config: &Config, names: &DeployNames, sources: &Sources, invocation: &Invocation) -> Vec<Line> {
    let mut lines = Vec::new();
    for setting in effective(config) {
        let section =
            if setting.document == "meta" { config.path.clone() } else { format!("image {}", setting.document) };
        let from = setting.span.map_or_else(|| "default".to_owned(), |span| place_text(&sources.place(span)));
        lines.push(Line { section, key: setting.key, value: setting.value, from });
    }
    for (key, value, option) in [("name", &names.release, "--release"), ("namespace", &names.namespace, "--namespace")]
    {
        let source = if key == "name" { &config.meta.deploy.release } else { &config.meta.deploy.namespace };
        let written = source.as_ref().map(|text| place_text(&sources.place(text.span)));
        let settings = in_force(command(), &invocation.args, &invocation.env);
        let given = settings.iter().any(|s| s.option == option).then(|| option.to_owned());
        let from = given.or(written).unwrap_or_else(|| "default".to_owned());
        lines.push(Line { section: "release".to_owned(), key: key.to_owned(), value: value.clone(), from });
    }
    for setting in in_force(command(), &invocation.args, &invocation.env) {
        let from = setting.variable.unwrap_or_else(|| "typed".to_owned());
        let value = if setting.value.is_empty() { "true".to_owned() } else { setting.value };
        lines.push(Line { section: "options".to_owned(), key: setting.option, value, from });
    }
    lines
}

/// The widest that a column of values becomes; a longer value pushes its place aside.
const WIDEST: usize = 40;

/// Sections with three columns.
fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    let keys = lines.iter().map(|l| l.key.len()).max().unwrap_or(0);
    let values = lines.iter().map(|l| l.value.chars().count()).filter(|w| *w <= WIDEST).max().unwrap_or(0);
    let mut section = "";
    for (index, line) in lines.iter().enumerate() {
        if section != line.section {
            section = &line.section;
            text += &format!("{}{section}\n", if index == 0 { "" } else { "\n" });
        }
        text += &format!("  {:<keys$}  {:<values$}  {}\n", line.key, line.value, line.from);
    }
    text
}

fn as_json(line: &Line) -> Value {
    json!({ "section": line.section, "key": line.key, "value": line.value, "from": line.from })
}
