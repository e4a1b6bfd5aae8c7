//! Connects the nodes: at random, nearly regularly, with more neighbours inside a node's own zone.

use std::collections::BTreeSet;

use reg_transfer::Chance;

use super::plan::Plan;

/// Returns every node's neighbours.
pub(super) fn neighbours(plan: &Plan, chance: &mut Chance) -> Vec<Vec<u32>> {
    let everybody: Vec<u32> = (0..plan.nodes).collect();
    let mut edges: BTreeSet<(u32, u32)> = BTreeSet::new();
    if plan.nodes <= plan.degree + 1 {
        let pairs = everybody.iter().flat_map(|one| (one + 1..plan.nodes).map(move |two| (*one, two)));
        edges.extend(pairs);
    } else {
        // A ring through a group gives each of it two neighbours.
        let rings = plan.degree / 2;
        let inside = if plan.zones > 1 { rings * plan.in_zone_percent / 100 } else { 0 };
        for _ring in 0..inside {
            for zone in 0..plan.zones {
                let members = everybody.iter().copied().filter(|node| plan.zone(*node) == zone).collect();
                ring(members, chance, &mut edges);
            }
        }
        for _ring in inside..rings {
            ring(everybody.clone(), chance, &mut edges);
        }
    }
    let mut neighbours = vec![Vec::new(); plan.nodes as usize];
    for (one, two) in edges {
        neighbours[one as usize].push(two);
        neighbours[two as usize].push(one);
    }
    neighbours
}

fn ring(mut members: Vec<u32>, chance: &mut Chance, edges: &mut BTreeSet<(u32, u32)>) {
    for place in (1..members.len()).rev() {
        members.swap(place, chance.below(place as u32 + 1) as usize);
    }
    let next = members.iter().cycle().skip(1);
    edges.extend(
        members
            .iter()
            .zip(next)
            .filter(|(one, two)| one != two)
            .map(|(one, two)| (*one.min(two), *one.max(two))),
    );
}
