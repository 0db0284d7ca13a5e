//! `render`: the manifests of the project.

use super::super::args::{GlobalArgs, OriginsArgs, OriginsFormat, PrintArgs, RenderArgs};
use super::super::error::{CliError, exit_code};
use super::super::plan_file::write_atomically;
use super::super::project::{Found, Options, find};
use super::super::streams::Invocation;
use super::explain_values::{self, Telling, refuse_beside};
use super::template::print_options;
use crate::chart::{PrintOptions, Rendered};
use crate::diag::Diagnostics;
use crate::pipeline::{RenderChoice, load, render};
use crate::report::{OriginCounts, origin_lines, origins_json, origins_text};
use crate::source::Sources;

pub fn run(global: &GlobalArgs, args: &RenderArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    if !args.explain.explain_values.is_empty() {
        refuse_beside(&[("--output", args.output.is_some()), ("--origins", args.origins.origins)])?;
        let asked = (args.explain.explain_values.as_slice(), Telling::Text);
        return explain_values::run(global, options, asked, invocation);
    }
    let found = find(global, options, invocation)?;
    tell_rendered(&found, (&args.print, Some(args.origins), args.output.as_deref()), invocation)
}

/// Renders what was found, and prints it or writes it to a file.
pub(super) fn tell_rendered(
    found: &Found,
    (print, origins, output): (&PrintArgs, Option<OriginsArgs>, Option<&str>),
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let origins = origins.filter(|origins| origins.origins);
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let project = load(&mut diagnostics, &sources, &found.inputs);
    let choice = RenderChoice { is_upgrade: print.is_upgrade, track: origins.is_some(), ..RenderChoice::default() };
    let rendered =
        project.and_then(|project| render(&mut diagnostics, &sources, &project, &found.inputs, &found.host, choice));
    let text = rendered
        .map(|r| printed(&r.rendered, (print, origins), invocation, &sources, &mut diagnostics))
        .unwrap_or_default();
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    if failed {
        return Err(CliError::Config);
    }
    match output {
        Some(file) => write_atomically(&invocation.cwd.join(file), text.as_bytes())
            .map_err(|e| CliError::environment(format!("write the manifests to {file}"), e))?,
        None => invocation.streams.print(&text)?,
    }
    Ok(exit_code::DONE)
}

fn printed(
    rendered: &Rendered,
    (print, origins): (&PrintArgs, Option<OriginsArgs>),
    invocation: &Invocation,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> String {
    let options = print_options(print);
    if let Some(origins) = origins {
        return with_origins(rendered, &options, origins, invocation, sources, diagnostics);
    }
    if options.show_only.is_empty() { rendered.print(&options) } else { rendered.print_only(diagnostics, &options) }
}

/// Each line with where it comes from; the counts go to stderr.
pub(super) fn with_origins(
    rendered: &Rendered,
    options: &PrintOptions,
    args: OriginsArgs,
    invocation: &Invocation,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> String {
    let mut crds = String::new();
    if options.show_only.is_empty() {
        let only_crds = Rendered { crds: rendered.crds.clone(), ..Rendered::default() };
        crds = if rendered.crds.is_empty() { crds } else { only_crds.print(&PrintOptions::default()) };
    } else {
        // says which pattern matches nothing
        rendered.print_only(diagnostics, options);
    }
    let shown = rendered.shown(options);
    let lines = origin_lines(&shown, crds.matches('\n').count(), sources);
    invocation.streams.inform(&OriginCounts::of(&shown).to_string());
    match args.origins_format {
        OriginsFormat::Text => crds + &origins_text(&lines, invocation.streams.out_look()),
        OriginsFormat::Json => origins_json(&lines),
    }
}
