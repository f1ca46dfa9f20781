//! Maximum flow on whole capacities.

/// A network of pipes. The maximum flow is found by Dinic's method (E. Dinic: Algorithm for solution of a problem of maximum
/// flow in networks with power estimation, Soviet Mathematics Doklady 11, 1970): as long as the sink can be reached,
/// shortest ways are filled until none is left.
#[derive(Debug, Clone)]
pub struct Network {
    /// Per node its pipes, as places in `pipes`.
    from: Vec<Vec<usize>>,
    /// Each followed by its reverse: pipe `n` and `n ^ 1`.
    pipes: Vec<Pipe>,
}

#[derive(Debug, Clone, Copy)]
struct Pipe {
    to: usize,
    left: u64,
}

/// Not reached.
const FAR: u32 = u32::MAX;

impl Network {
    /// So many nodes, numbered from 0, without pipes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self { from: vec![Vec::new(); nodes], pipes: Vec::new() }
    }

    /// Adds a pipe for that many units; there may be several between two nodes.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn connect(&mut self, from: usize, to: usize, capacity: u64) {
        for (from, to, left) in [(from, to, capacity), (to, from, 0)] {
            self.from[from].push(self.pipes.len());
            self.pipes.push(Pipe { to, left });
        }
    }

    /// The most that can flow from source to sink, beyond what already does.
    ///
    /// # Panics
    ///
    /// If they are one node, or the flow does not fit a u64.
    pub fn maximum_flow(&mut self, source: usize, sink: usize) -> u64 {
        assert_ne!(source, sink, "a flow has two ends");
        let mut flow = 0;
        loop {
            let distances = self.distances(source);
            if distances[sink] == FAR {
                return flow;
            }
            let mut tried = vec![0; self.from.len()];
            loop {
                match self.fill_one(source, sink, &distances, &mut tried) {
                    0 => break,
                    more => flow += more,
                }
            }
        }
    }

    /// How many pipes away each node is, along pipes that are not full.
    fn distances(&self, source: usize) -> Vec<u32> {
        let mut distances = vec![FAR; self.from.len()];
        distances[source] = 0;
        let mut reached = vec![source];
        let mut next = 0;
        while let Some(&node) = reached.get(next) {
            next += 1;
            for pipe in self.from[node].iter().map(|pipe| self.pipes[*pipe]) {
                if pipe.left > 0 && distances[pipe.to] == FAR {
                    distances[pipe.to] = distances[node] + 1;
                    reached.push(pipe.to);
                }
            }
        }
        distances
    }

    /// Fills one way that leads a step further with each pipe; 0 if there is none left. Pipes that lead nowhere are not
    /// `tried` again.
    fn fill_one(&mut self, source: usize, sink: usize, distances: &[u32], tried: &mut [usize]) -> u64 {
        let mut way: Vec<usize> = Vec::new();
        let mut node = source;
        while node != sink {
            match self.from[node].get(tried[node]) {
                Some(&pipe) => {
                    let Pipe { to, left } = self.pipes[pipe];
                    if left > 0 && distances[to] == distances[node] + 1 {
                        way.push(pipe);
                        node = to;
                    } else {
                        tried[node] += 1;
                    }
                }
                // A dead end: a step back, and not here again.
                None => match way.pop() {
                    Some(pipe) => {
                        node = self.pipes[pipe ^ 1].to;
                        tried[node] += 1;
                    }
                    None => return 0,
                },
            }
        }
        let most = way.iter().map(|pipe| self.pipes[*pipe].left).min().unwrap_or(0);
        for pipe in way {
            self.pipes[pipe].left -= most;
            self.pipes[pipe ^ 1].left += most;
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn the_flow_is_as_large_as_the_cheapest_cut(
            pipes in prop::collection::vec((0usize..7, 0usize..7, prop::num::u64::ANY), 0..20), bits in 1u32..55
        ) {
            let pipes: Vec<(usize, usize, u64)> = pipes.into_iter().map(|(from, to, size)| (from, to, size >> (64 - bits))).collect();
            let mut network = Network::new(7);
            for (from, to, capacity) in &pipes {
                network.connect(*from, *to, *capacity);
            }
            let across = |sides: u32| -> u64 {
                let with_source = |node: usize| node == 0 || node != 1 && sides >> node & 1 == 1;
                let cut = |(from, to, _): &&(usize, usize, u64)| with_source(*from) && !with_source(*to);
                pipes.iter().filter(cut).map(|(.., capacity)| capacity).sum()
            };
            let cheapest = (0u32..1 << 7).map(across).min().unwrap();
            prop_assert_eq!(network.maximum_flow(0, 1), cheapest);
            prop_assert_eq!(network.maximum_flow(0, 1), 0);
        }
    }

    #[test]
    fn a_way_that_was_filled_too_soon_is_taken_back() {
        // The shortest way blocks both others unless a unit of it is sent back through the middle.
        let mut network = Network::new(6);
        for (from, to) in [(0, 2), (2, 3), (3, 1), (0, 4), (4, 3), (2, 5), (5, 1)] {
            network.connect(from, to, 1);
        }
        assert_eq!(network.maximum_flow(0, 1), 2);
    }
}
