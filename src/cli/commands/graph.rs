//! `graph`: images, stages, resources, and what needs what.

use super::super::args::{GlobalArgs, GraphArgs, GraphFormat};
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use crate::diag::Diagnostics;
use crate::pipeline::{GraphNode, NodeKind, ProjectGraph, RenderChoice, graph, load, render};
use crate::report::pretty_json;
use crate::source::Sources;

pub fn run(global: &GlobalArgs, args: &GraphArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let found = find(global, options, invocation)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let made = load(&mut diagnostics, &sources, &found.inputs).map(|project| {
        let rendered =
            render(&mut diagnostics, &sources, &project, &found.inputs, &found.host, RenderChoice::default());
        graph(&project, rendered.as_ref())
    });
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let made = made.filter(|_| !failed).ok_or(CliError::Config)?;
    invocation.streams.print(&drawn(&made, args.output))?;
    Ok(exit_code::DONE)
}

/// Returns the text of a graph.
pub fn drawn(graph: &ProjectGraph, format: GraphFormat) -> String {
    match format {
        GraphFormat::Dot => dot(graph),
        GraphFormat::Mermaid => mermaid(graph),
        GraphFormat::Json => pretty_json(graph),
    }
}

/// Source: the DOT language.
fn dot(graph: &ProjectGraph) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph project {\n  rankdir=LR;\n");
    for node in &graph.nodes {
        let shape = match node.kind {
            NodeKind::Base => "ellipse",
            NodeKind::Stage => "box, style=rounded",
            NodeKind::Image => "box, style=bold",
            NodeKind::Resource => "component",
        };
        text += &format!("  {} [label={}, shape={shape}];\n", quote(&node.id), quote(&node.label));
    }
    for edge in &graph.edges {
        text += &format!("  {} -> {} [label={}];\n", quote(&edge.from), quote(&edge.to), quote(edge.kind));
    }
    text + "}\n"
}

/// Source: the flowchart syntax of Mermaid; its ids are plain, so nodes are numbered.
fn mermaid(graph: &ProjectGraph) -> String {
    let number: std::collections::BTreeMap<&str, usize> =
        graph.nodes.iter().enumerate().map(|(i, n)| (n.id.as_str(), i)).collect();
    let mut text = String::from("flowchart LR\n");
    for (i, node) in graph.nodes.iter().enumerate() {
        text += &format!("  n{i}{}\n", shape(node));
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (number.get(edge.from.as_str()), number.get(edge.to.as_str())) {
            text += &format!("  n{from} -->|{}| n{to}\n", edge.kind);
        }
    }
    text
}

fn shape(node: &GraphNode) -> String {
    let label = node.label.replace('"', "#quot;");
    match node.kind {
        NodeKind::Base => format!("([\"{label}\"])"),
        NodeKind::Stage => format!("(\"{label}\")"),
        NodeKind::Image => format!("[\"{label}\"]"),
        NodeKind::Resource => format!("{{{{\"{label}\"}}}}"),
    }
}
