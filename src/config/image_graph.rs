//! Which image needs which.

use crate::graph::Dag;
use crate::source::Span;

use super::ImageIndex;

/// Why one image needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// It is the base.
    From,
    /// Files come from it.
    Import,
    /// Its name is given to the build.
    Dependency,
}

/// `image` needs `needed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The image.
    pub image: ImageIndex,
    /// What it needs.
    pub needed: ImageIndex,
    /// Why.
    pub kind: EdgeKind,
    /// Where that is written.
    pub span: Span,
}

/// The images and the edges between them; free of cycles.
#[derive(Clone, Debug, Default)]
pub struct ImageGraph {
    /// All edges, by image, in the order base, imports, dependencies.
    pub edges: Vec<Edge>,
    /// The images, each after all it needs.
    pub order: Vec<ImageIndex>,
    dag: Dag,
}

impl ImageGraph {
    /// Makes the graph of `count` images.
    ///
    /// # Errors
    /// A circle as a path that returns, and the edges.
    pub(super) fn new(count: usize, mut edges: Vec<Edge>) -> Result<Self, (Vec<ImageIndex>, Vec<Edge>)> {
        edges.sort_by_key(|e| e.image);
        let mut dag = Dag::new(count);
        for edge in &edges {
            dag.add(edge.needed.0, edge.image.0);
        }
        match dag.order() {
            Ok(order) => Ok(Self { edges, order: order.into_iter().map(ImageIndex).collect(), dag }),
            Err(cycle) => Err((cycle.into_iter().map(ImageIndex).collect(), edges)),
        }
    }

    /// Returns the images that `roots` need, themselves included, each after all it needs.
    pub fn closure(&self, roots: impl IntoIterator<Item = ImageIndex>) -> Vec<ImageIndex> {
        let needed = self.dag.closure(roots.into_iter().map(|i| i.0));
        self.order.iter().copied().filter(|i| needed.binary_search(&i.0).is_ok()).collect()
    }

    /// Returns the edges of one image.
    pub fn edges_of(&self, image: ImageIndex) -> &[Edge] {
        let start = self.edges.partition_point(|e| e.image < image);
        let end = self.edges.partition_point(|e| e.image <= image);
        self.edges.get(start..end).unwrap_or(&[])
    }

    /// Returns the graph of indices.
    pub fn dag(&self) -> &Dag {
        &self.dag
    }
}
