use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::config::{Author, Config, Forgery, Statement};
use crate::model::Naming;
use crate::rules::Rules;

fn run(config: Config) {
    let started = Instant::now();
    let naming = Naming::new(config, Rules::unchanged());
    let mut builder = naming.checker().finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = config.depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    println!(
        "{} unique {} depth {} {:.2} s",
        config.name,
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    for (name, path) in checker.discoveries() {
        println!("  VIOLATED {name}");
        for (state, action) in path.clone().into_vec() {
            println!("    {action:?}");
            let _ = state;
        }
for it in path.last_state().nodes() {
            let short = |r: &reg_proto::naming::RecordFacts| format!("id{} d{} n{} prev{:?} settles{:?} min{:?}", crate::world::id_of(&r.payload), r.key_document, r.seq, r.prev.map(|p| crate::world::id_of(&p)), r.settles.iter().map(crate::world::id_of).collect::<Vec<_>>(), r.min_usable);
            println!("    node: chain {:?} list {:?} st {:b} held {:b} head {:?} anc {:?} proofs {:?}", it.chain.as_ref().map(|c| c.version()), it.chain.as_ref().and_then(|c| c.inheritance().map(|l| l.payloads().len())), it.statements, it.held, it.book.head.as_ref().map(short), it.book.ancestors.iter().map(short).collect::<Vec<_>>(), it.book.proofs.iter().map(|p| (short(&p.one), short(&p.two), p.settled.as_ref().map(short))).collect::<Vec<_>>());
        }
    }
}

#[test]
fn small() {
    run(Config { name: "one machine", records: 3, crashes: 2, abandons: 2, ..Config::SMALL });
    run(Config { name: "two machines", machines: 2, records: 3, crashes: 1, settles: true, ..Config::SMALL });
    run(Config {
        name: "thief current",
        records: 2,
        stolen: Some(1),
        acts: 1,
        forgeries: &[
            Forgery::Same,
            Forgery::After,
            Forgery::Gap,
            Forgery::Settling,
            Forgery::Forbidding,
            Forgery::First,
        ],
        documents: 2,
        forks: true,
        ..Config::SMALL
    });
    run(Config {
        name: "three documents",
        records: 2,
        documents: 3,
        may_drop: true,
        strips_lists: false,
        ..Config::SMALL
    });
    run(Config {
        name: "statements",
        records: 2,
        documents: 2,
        stolen: Some(1),
        statements: &[
            (Author::Thief, Statement::Withdraw { record: 0, by: 1 }),
            (Author::Thief, Statement::RevokeKey { of: 1, by: 1 }),
            (Author::Owner, Statement::RevokeKey { of: 1, by: 2 }),
            (Author::Thief, Statement::Delegate { by: 1 }),
        ],
        ..Config::SMALL
    });
    run(Config { name: "strips", records: 2, documents: 2, strips_lists: true, ..Config::SMALL });
}
