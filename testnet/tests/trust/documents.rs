//! Runs what the documents say about keys: each `reg …` line of their `sh` blocks, in its order, with a node beside the
//! publisher that follows it. After each line that node pulls by name, and is never locked out.
//!
//! The lines are read from the documents, so that these cannot drift. Words in capitals are replaced by values
//! ([`world::World`]). A comment such as `# on bob's machine` says where the lines below it are run.

mod lines;
mod world;

pub(crate) use lines::{Line, PULLER, lines};
use world::World;

/// Runs the lines in one world.
fn run(lines: &[Line], least: usize) {
    assert!(lines.len() >= least, "{} lines are too few: the test looks in the wrong place", lines.len());
    let mut world = World::new();
    lines.iter().for_each(|line| world.run(line));
}

/// The page about keys, and the heading above its list of all commands.
const GUIDE: &str = "docs/guide/keys.md";
const IN_SHORT: &str = "In short";

#[test]
fn the_lines_in_short_and_of_the_threats_about_keys_lock_out_no_follower() {
    let mut all = lines(GUIDE, |heading| heading == IN_SHORT);
    all.extend(lines("docs/security.md", |_| true));
    for command in ["key rotate", "key revoke me --key", "key revoke me --manifest", "key commit"] {
        assert!(all.iter().any(|it| it.command.contains(command)), "no line is about {command}");
    }
    run(&all, 14);
}

#[test]
fn the_lines_of_the_guide_about_keys_lock_out_no_follower() {
    run(&lines(GUIDE, |heading| heading != IN_SHORT), 40);
}
