//! A directed acyclic graph with a deterministic order; a cycle is reported as a path.
//!
//! Nodes are indices `0..n`; what they stand for is the caller's. The order among equals is the order of the
//! indices, so equal inputs give equal orders.

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

/// The edges between `n` nodes: `add(a, b)` says that `b` needs `a`.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    needs: Vec<Vec<usize>>,
}

impl Dag {
    /// Makes a graph of `n` nodes without edges.
    pub fn new(n: usize) -> Self {
        Self { needs: vec![Vec::new(); n] }
    }

    /// Says that `node` needs `needed`; repeated edges count once.
    pub fn add(&mut self, needed: usize, node: usize) {
        if let Some(list) = self.needs.get_mut(node)
            && let Err(at) = list.binary_search(&needed)
        {
            list.insert(at, needed);
        }
    }

    /// Returns what `node` needs, in ascending order.
    pub fn needs(&self, node: usize) -> &[usize] {
        self.needs.get(node).map_or(&[], Vec::as_slice)
    }

    /// Returns the nodes so that each comes after all it needs, ties by index.
    ///
    /// # Errors
    /// The nodes of one cycle in order, the first repeated at the end.
    pub fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut missing: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let users = self.users();
        let mut ready: std::collections::BTreeSet<usize> =
            missing.iter().enumerate().filter(|(_, m)| **m == 0).map(|(i, _)| i).collect();
        let mut order = Vec::with_capacity(self.needs.len());
        while let Some(node) = ready.pop_first() {
            order.push(node);
            for user in users.get(node).into_iter().flatten() {
                if let Some(left) = missing.get_mut(*user) {
                    *left -= 1;
                    if *left == 0 {
                        ready.insert(*user);
                    }
                }
            }
        }
        if order.len() == self.needs.len() { Ok(order) } else { Err(self.cycle()) }
    }

    /// Returns for each node the nodes that need it, in ascending order.
    pub fn users(&self) -> Vec<Vec<usize>> {
        let mut users = vec![Vec::new(); self.needs.len()];
        for (node, needs) in self.needs.iter().enumerate() {
            for needed in needs {
                if let Some(list) = users.get_mut(*needed) {
                    list.push(node);
                }
            }
        }
        users
    }

    /// Returns every node that `roots` need, themselves included, in ascending order.
    pub fn closure(&self, roots: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut seen = vec![false; self.needs.len()];
        let mut todo: Vec<usize> = roots.into_iter().collect();
        while let Some(node) = todo.pop() {
            if let Some(flag) = seen.get_mut(node)
                && !std::mem::replace(flag, true)
            {
                todo.extend(self.needs(node));
            }
        }
        seen.iter().enumerate().filter(|(_, s)| **s).map(|(i, _)| i).collect()
    }

    /// Returns one cycle: within the first strongly connected component, a shortest way back.
    fn cycle(&self) -> Vec<usize> {
        let mut graph: DiGraphMap<usize, ()> = DiGraphMap::new();
        for (node, needs) in self.needs.iter().enumerate() {
            for needed in needs {
                graph.add_edge(node, *needed, ());
            }
        }
        let mut components: Vec<Vec<usize>> = tarjan_scc(&graph);
        components.retain(|c| c.len() > 1 || c.iter().any(|n| self.needs(*n).contains(n)));
        let component = components.into_iter().min_by_key(|c| c.iter().min().copied()).unwrap_or_default();
        let Some(start) = component.iter().min().copied() else { return Vec::new() };
        self.way_back(start, &component)
    }

    fn way_back(&self, start: usize, component: &[usize]) -> Vec<usize> {
        let mut from: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.needs(node).iter().filter(|n| component.contains(n)) {
                if *next == start {
                    let mut path = vec![start, node];
                    let mut at = node;
                    while at != start {
                        at = from.get(&at).copied().unwrap_or(start);
                        path.push(at);
                    }
                    path.reverse();
                    path.dedup();
                    if path.len() == 1 {
                        path.push(start);
                    }
                    return path;
                }
                if !from.contains_key(next) {
                    from.insert(*next, node);
                    queue.push_back(*next);
                }
            }
        }
        vec![start, start]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_respects_edges_and_breaks_ties_by_index() {
        let mut dag = Dag::new(4);
        dag.add(3, 0);
        dag.add(2, 1);
        assert_eq!(dag.order(), Ok(vec![2, 1, 3, 0]));
        assert_eq!(dag.closure([0]), vec![0, 3]);
    }

    #[test]
    fn a_cycle_is_a_path_that_returns() {
        let mut dag = Dag::new(5);
        dag.add(1, 0);
        dag.add(2, 1);
        dag.add(0, 2);
        dag.add(0, 4);
        assert_eq!(dag.order(), Err(vec![0, 1, 2, 0]));
        let mut own = Dag::new(1);
        own.add(0, 0);
        assert_eq!(own.order(), Err(vec![0, 0]));
    }
}
