//! Reads the commands out of a document: the `reg …` lines of its fenced `sh` blocks, with the machine that each is for.

use std::fs;

use reg_testnet::process::workspace;

/// The machine of a line, where the document names none.
pub(super) const YOURS: &str = "your";
/// The machine that only pulls.
pub(crate) const PULLER: &str = "pulls";

/// A command of a document.
#[derive(Debug)]
pub(crate) struct Line {
    /// Where it stands: `file:number`.
    pub(crate) at: String,
    /// The heading above it.
    pub(super) heading: String,
    /// Name of the machine that it is run on.
    pub(crate) machine: String,
    /// The command, as it is written, without its comment.
    pub(crate) command: String,
}

/// Returns the commands below the headings that `is_wanted`, in their order.
pub(crate) fn lines(document: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Line> {
    let text = fs::read_to_string(workspace().join(document)).expect("a document");
    let (mut found, mut heading, mut machine) = (Vec::new(), String::new(), YOURS.to_owned());
    let (mut is_shell, mut is_fenced) = (false, false);
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            is_shell = is_fenced && line == "```sh";
            YOURS.clone_into(&mut machine);
        } else if !is_fenced && line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        } else if is_shell && is_wanted(&heading) {
            if let Some(place) = line.strip_prefix("# on ") {
                machine = machine_of(place);
            } else if line.starts_with("reg ") {
                let command = line.split(" # ").next().unwrap_or(line).trim().to_owned();
                let at = format!("{document}:{}", number + 1);
                found.push(Line { at, heading: heading.clone(), machine: machine.clone(), command });
            }
        }
    }
    found
}

/// `bob's machine` is `bob`, `your new machine` is `new`, `a machine that pulls` is [`PULLER`].
fn machine_of(place: &str) -> String {
    let words: Vec<&str> = place.split_whitespace().collect();
    match words[..] {
        ["a", "machine", "that", "pulls"] => PULLER.to_owned(),
        ["your", "machine"] => YOURS.to_owned(),
        [_, name, "machine"] => name.to_owned(),
        [name, "machine"] => name.trim_end_matches("'s").to_owned(),
        _ => panic!("no machine is meant by {place:?}"),
    }
}
