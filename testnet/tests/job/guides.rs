//! Runs the guides: each command of README.md and of the pages in docs/guide, with the output that is shown. A page is one test,
//! in a world of its own on loopback. With `REG_BLESS=1` the tests write the outputs into the pages. CONTRIBUTING.md has the
//! syntax.

mod page;

mod output;
mod world;

mod configured;
mod named;

use std::collections::BTreeSet;
use std::fs;

use reg_testnet::process::workspace;

use self::page::Page;
use self::world::World;

/// Makes a test of each page.
macro_rules! pages {
    ($($test:ident: $path:literal,)+) => {
        /// The pages with blocks that are run.
        const PAGES: &[&str] = &[$($path),+];
        $(
            #[test]
            fn $test() {
                run($path);
            }
        )+
    };
}

pages! {
    the_readme_runs: "README.md",
    configuration_runs: "docs/guide/configuration.md",
    denylists_runs: "docs/guide/denylists.md",
    donate_runs: "docs/guide/donate.md",
    following_runs: "docs/guide/following.md",
    gateways_runs: "docs/guide/gateways.md",
    health_runs: "docs/guide/health.md",
    metrics_runs: "docs/guide/metrics.md",
    names_runs: "docs/guide/names.md",
    offline_runs: "docs/guide/offline.md",
    operations_runs: "docs/guide/operations.md",
    page_runs: "docs/guide/page.md",
    private_swarms_runs: "docs/guide/private-swarms.md",
    publishing_runs: "docs/guide/publishing.md",
    pulling_runs: "docs/guide/pulling.md",
    run_a_node_runs: "docs/guide/run-a-node.md",
    searching_runs: "docs/guide/searching.md",
    sharing_runs: "docs/guide/sharing.md",
    signatures_runs: "docs/guide/signatures.md",
    troubleshooting_runs: "docs/guide/troubleshooting.md",
    trust_runs: "docs/guide/trust.md",
    updating_runs: "docs/guide/updating.md",
    web_seeds_runs: "docs/guide/web-seeds.md",
}

/// Tells whether the pages get the outputs of this run.
fn is_renewed() -> bool {
    std::env::var_os("REG_BLESS").is_some_and(|it| it != "0")
}

/// Runs a page from top to bottom.
fn run(path: &str) {
    let page = Page::read(path);
    let mut world = World::new();
    let mut differ = Vec::new();
    for block in &page.blocks {
        differ.extend(world.run(&page, block));
    }
    if is_renewed() && !differ.is_empty() {
        let mut lines = page.lines.clone();
        for (shown, output) in differ.into_iter().rev() {
            lines.splice(shown.output, output.lines().map(str::to_owned));
        }
        fs::write(workspace().join(path), lines.join("\n") + "\n").expect("written");
        return;
    }
    let said: Vec<String> = differ
        .iter()
        .map(|(shown, output)| {
            let expected = page.lines[shown.output.clone()].join("\n");
            let at = page.at(shown.output.start);
            format!("{at}: $ {}\n--- the page shows\n{expected}\n--- and it is\n{output}", shown.command)
        })
        .collect();
    assert!(said.is_empty(), "REG_BLESS=1 renews the page:\n{}", said.join("\n"));
}

/// Blocks with commands that need what a test has not, such as a server of another party. Each says why.
const NOT_RUN_MAX: usize = 12;

/// Returns the pages of the guide and the README.
fn all_pages() -> BTreeSet<String> {
    let guide = fs::read_dir(workspace().join("docs/guide")).expect("the guide").flatten();
    let names = guide.map(|it| format!("docs/guide/{}", it.file_name().to_string_lossy()));
    names.filter(|it| it.ends_with(".md")).chain(["README.md".to_owned()]).collect()
}

/// Tells whether a block holds commands of `reg`.
fn holds_commands(page: &Page, block: &page::Block) -> bool {
    page.lines[block.body.clone()].iter().any(|line| {
        let line = line.trim_start().trim_start_matches("$ ");
        line.starts_with("reg ")
            || line.contains("$(reg ")
            || line.contains("| reg ")
            || line.contains("&& reg ")
    })
}

#[test]
fn every_command_of_the_guides_is_run() {
    let (mut not_run, mut commands) = (Vec::new(), 0);
    for path in all_pages() {
        let page = Page::read(&path);
        for block in page.blocks.iter().filter(|it| holds_commands(&page, it)) {
            let at = page.at(block.body.start);
            if let Some(reason) = block.not_run() {
                not_run.push(format!("{at}: {reason}"));
            } else if let Some(test) = block.run_by() {
                let text = fs::read_to_string(workspace().join(test)).unwrap_or_default();
                assert!(text.contains(&path), "{at}: {test} does not read {path}");
            } else {
                assert_eq!(block.language, "console", "{at}: no test runs the commands of this block");
                assert!(PAGES.contains(&path.as_str()), "{path} has no test: add a line to `pages!`");
                commands += page.shown(block).len();
            }
        }
    }
    println!("not run:\n{}", not_run.join("\n"));
    assert!(not_run.len() <= NOT_RUN_MAX, "{} blocks are not run:\n{}", not_run.len(), not_run.join("\n"));
    assert!(commands >= 100, "{commands} commands are too few: the test looks in the wrong place");
}
