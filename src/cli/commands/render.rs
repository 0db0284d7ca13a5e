//! `render`: the manifests of the project.

use super::super::args::{GlobalArgs, RenderArgs};
use super::super::error::{CliError, exit_code};
use super::super::plan_file::write_atomically;
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use super::template::print_options;
use crate::chart::{Manifest, PrintOptions, Rendered};
use crate::diag::Diagnostics;
use crate::pipeline::{RenderChoice, load, render};
use crate::report::place_text;
use crate::source::Sources;

pub fn run(global: &GlobalArgs, args: &RenderArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options {
        project: Some(&args.project),
        build: Some(&args.build),
        deploy: Some(&args.deploy),
        values: Some(&args.values),
        chart: Some(&args.chart),
        jsonnet: Some(&args.jsonnet),
    };
    let found = find(global, options, invocation)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let project = load(&mut diagnostics, &sources, &found.inputs);
    let choice = RenderChoice { is_upgrade: args.print.is_upgrade, track: args.origins };
    let rendered =
        project.and_then(|project| render(&mut diagnostics, &sources, &project, &found.inputs, &found.host, choice));
    let text = rendered.map(|r| printed(&r.rendered, args, &sources, &mut diagnostics)).unwrap_or_default();
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    if failed {
        return Err(CliError::Config);
    }
    match &args.output {
        Some(file) => write_atomically(&invocation.cwd.join(file), text.as_bytes())
            .map_err(|e| CliError::environment(format!("write the manifests to {file}"), e))?,
        None => invocation.streams.print(&text)?,
    }
    Ok(exit_code::DONE)
}

fn printed(rendered: &Rendered, args: &RenderArgs, sources: &Sources, diagnostics: &mut Diagnostics) -> String {
    let options = print_options(&args.print);
    if args.origins {
        return with_origins(rendered, &options, sources);
    }
    if options.show_only.is_empty() { rendered.print(&options) } else { rendered.print_only(diagnostics, &options) }
}

/// Each manifest below a comment that names the template lines it comes from.
fn with_origins(rendered: &Rendered, options: &PrintOptions, sources: &Sources) -> String {
    let mut out = String::new();
    let mut print = |manifest: &Manifest| {
        let mut text = String::new();
        manifest.print(&mut text);
        let origin = manifest.span.map(|span| format!("# Origin: {}\n", place_text(&sources.place(span))));
        let body = text.strip_prefix("---\n").unwrap_or(&text);
        out += &format!("---\n{}{body}", origin.unwrap_or_default());
    };
    rendered.manifests.iter().for_each(&mut print);
    if !options.no_hooks {
        let is_test = |m: &&Manifest| m.runs_at(crate::chart::HookEvent::Test);
        rendered.hooks.iter().filter(|m| !(options.skip_tests && is_test(m))).for_each(&mut print);
    }
    out
}
