//! Circles among things that use each other: the groups in which everything leads back to itself, and the shortest way
//! round in each. It knows numbers only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// Groups of at least two, in each of which every member reaches every other.
pub(crate) fn groups(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reached = graph.keys().map(|from| (*from, reach(graph, *from))).collect::<BTreeMap<_, _>>();
    let mut groups = Vec::<BTreeSet<usize>>::new();
    for (from, others) in &reached {
        if groups.iter().any(|group| group.contains(from)) {
            continue;
        }
        let back = |other: &&usize| reached.get(other).is_some_and(|theirs| theirs.contains(from));
        let group = others.iter().filter(back).copied().chain([*from]).collect::<BTreeSet<_>>();
        if group.len() > 1 {
            groups.push(group);
        }
    }
    groups
}

/// The shortest way from a member of a group back to itself.
pub(crate) fn shortest(graph: &Graph, group: &BTreeSet<usize>) -> Vec<usize> {
    let rounds = group.iter().filter_map(|start| round(graph, group, *start));
    rounds.min_by_key(Vec::len).unwrap_or_default()
}

fn reach(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        open.extend(graph.get(&at).into_iter().flatten().filter(|next| reached.insert(**next)));
    }
    reached
}

fn round(graph: &Graph, group: &BTreeSet<usize>, start: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for next in graph.get(&at).into_iter().flatten().filter(|next| group.contains(next)) {
            if *next == start {
                let mut way = vec![at];
                while let Some(before) = came_from.get(&way[way.len() - 1]) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, at);
                open.push_back(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arrows: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry(*from).or_default().insert(*to);
        }
        graph
    }

    #[test]
    fn groups_and_shortest_rounds() {
        assert!(groups(&graph(&[(0, 1), (1, 2), (0, 2)])).is_empty());
        let two = graph(&[(0, 1), (1, 2), (2, 3), (3, 1), (2, 1), (4, 5), (5, 4), (3, 4)]);
        let found = groups(&two);
        assert_eq!(found, [BTreeSet::from([1, 2, 3]), BTreeSet::from([4, 5])]);
        assert_eq!(shortest(&two, &found[0]), [1, 2]);
    }
}
