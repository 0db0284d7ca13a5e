//! The graph of a project: bases, images, their stages, resources, and what uses what.

use serde::Serialize;

use super::load::Project;
use super::render::ProjectRender;
use crate::config::{Config, EdgeKind, Image};
use crate::signature::SignedImage;
use crate::stage::{Base, CopySource, ImageRef, Step};

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// An image of somebody else.
    Base,
    /// A stage of an image.
    Stage,
    /// An image of werf.yaml.
    Image,
    /// A Kubernetes resource.
    Resource,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphNode {
    /// Unique: `image:NAME`, `stage:IMAGE/STAGE`, `base:REFERENCE`, `resource:NAMESPACE/KIND/NAME`.
    pub id: String,
    /// What it stands for.
    pub kind: NodeKind,
    /// How it is shown.
    pub label: String,
    /// Its digest or tag, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `to` needs `from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GraphEdge {
    /// What is needed.
    pub from: String,
    /// What needs it.
    pub to: String,
    /// `from`, `import`, `copy`, `stage`, `image`.
    pub kind: &'static str,
}

/// The graph of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProjectGraph {
    /// The nodes: what is needed comes first.
    pub nodes: Vec<GraphNode>,
    /// The edges, without repetition.
    pub edges: Vec<GraphEdge>,
}

impl ProjectGraph {
    fn node(&mut self, id: String, kind: NodeKind, label: &str, digest: Option<String>) {
        if self.nodes.iter().all(|n| n.id != id) {
            self.nodes.push(GraphNode { id, kind, label: label.to_owned(), digest });
        }
    }

    fn edge(&mut self, from: String, to: &str, kind: &'static str) {
        let edge = GraphEdge { from, to: to.to_owned(), kind };
        if !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    fn uses(&mut self, image: &ImageRef, to: &str, kind: &'static str) {
        match image {
            ImageRef::Project { name, .. } => self.edge(format!("image:{name}"), to, kind),
            ImageRef::External { reference } => {
                self.node(format!("base:{reference}"), NodeKind::Base, reference, None);
                self.edge(format!("base:{reference}"), to, kind);
            }
            // The stage before, which has an edge already.
            ImageRef::Stage { .. } => {}
        }
    }
}

/// Makes the graph of the images of werf.yaml alone; nothing is read for it.
pub fn config_graph(config: &Config) -> ProjectGraph {
    let mut graph = ProjectGraph::default();
    let id = |image: &Image| format!("image:{}", image.name.value);
    for (index, image) in config.iter() {
        let label = if image.name.value.is_empty() { "~" } else { &image.name.value };
        graph.node(id(image), NodeKind::Image, label, None);
        for edge in config.graph.edges_of(index) {
            let kind = match edge.kind {
                EdgeKind::From => "from",
                EdgeKind::Import => "import",
                EdgeKind::Dependency => "dependency",
            };
            graph.edge(id(config.image(edge.needed)), &id(image), kind);
        }
    }
    graph
}

/// Makes the graph; without `rendered` it has no resources.
pub fn graph(project: &Project, rendered: Option<&ProjectRender>) -> ProjectGraph {
    let mut graph = ProjectGraph::default();
    for image in &project.images {
        let image_id = format!("image:{}", image.name);
        let label = if image.name.is_empty() { "~" } else { &image.name };
        let last: Vec<String> = image.chains().iter().filter_map(|chain| graph.chain(chain)).collect();
        graph.node(image_id.clone(), NodeKind::Image, label, Some(image.signature.to_string()));
        last.into_iter().for_each(|last| graph.edge(last, &image_id, "image"));
    }
    let manifests = rendered.iter().flat_map(|r| r.rendered.manifests.iter().chain(&r.rendered.hooks));
    for manifest in manifests.filter(|m| !m.data.is_null()) {
        let namespace = manifest.namespace.as_deref().unwrap_or("-");
        let id = format!("resource:{namespace}/{}/{}", manifest.kind, manifest.name);
        let label = format!("{}/{}", manifest.kind, manifest.name);
        graph.node(id.clone(), NodeKind::Resource, &label, None);
        for image in project.images.iter().filter(|i| manifest.text.contains(&i.signature.to_string())) {
            graph.edge(format!("image:{}", image.name), &id, "image");
        }
    }
    graph
}

impl ProjectGraph {
    /// Adds the stages of an image, or of an image on one platform; returns the last.
    fn chain(&mut self, chain: &SignedImage) -> Option<String> {
        let graph = self;
        let mut before: Option<String> = None;
        for (stage, signed) in &chain.stages {
            let id = format!("stage:{}/{}", chain.chain_name(), stage.name);
            for part in &stage.request.parts {
                if let Base::Image(base) = &part.base {
                    graph.uses(base, &id, "from");
                }
                for step in &part.steps {
                    let Step::Copy(copy) = step else { continue };
                    for source in &copy.sources {
                        if let CopySource::Image { image, .. } = source {
                            graph.uses(image, &id, "copy");
                        }
                    }
                }
            }
            let on = chain.platform.as_ref().map(|platform| format!(" {platform}")).unwrap_or_default();
            let label = format!("{}{on}", stage.name);
            graph.node(id.clone(), NodeKind::Stage, &label, Some(signed.digest.to_string()));
            if let Some(before) = before.replace(id.clone()) {
                graph.edge(before, &id, "stage");
            }
        }
        before
    }
}
