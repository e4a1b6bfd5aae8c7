//! Reads a guide: its fenced blocks, what is to be done before each, and the commands of the `console` blocks with the output
//! that is shown. CONTRIBUTING.md has the syntax.

use std::fs;
use std::ops::Range;

use reg_testnet::process::workspace;

/// What begins a comment that the reader of the page does not see, and that says how a block is run.
const RUN: &str = "<!-- run:";

/// A guide, as lines.
pub(super) struct Page {
    /// Its path from the top of the repository.
    pub(super) path: String,
    pub(super) lines: Vec<String>,
    pub(super) blocks: Vec<Block>,
}

/// A fenced block of a page.
pub(super) struct Block {
    /// What stands behind the fence.
    pub(super) language: String,
    /// Its lines in the page, without the fences.
    pub(super) body: Range<usize>,
    /// What the comments above it say, in their order.
    pub(super) steps: Vec<Step>,
}

/// What is done before a block, or how the block is run.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The machine that the steps and blocks from here on are run on.
    On(String),
    /// A command that the page does not show.
    Quietly(String),
    /// A small model is written into a folder; another seed gives other bytes.
    Model { dir: String, seed: u64 },
    /// GGUF files are written into a folder.
    Gguf { dir: String, names: Vec<String> },
    /// A word stands for a value from the JSON that a command prints.
    Let { word: String, command: String, pointer: String },
    /// A file of another machine is carried to this one.
    Bring { file: String, from: String },
    /// The block is the content of this file; `config.toml` is the configuration.
    Write(String),
    /// The daemon of a machine is stopped.
    Stop,
    /// The block is run until its output is the one that is shown: what it waits for takes a while.
    Again,
    /// The exit code of the last command of the block.
    Exit(i32),
    /// The user agrees: the commands of the block get `--yes`.
    Yes,
    /// Programs of others that the block runs.
    Needs(Vec<String>),
    /// The block is not run, for a reason.
    Not(String),
    /// Another test reads the page and runs the block.
    By(String),
}

/// A command of a `console` block.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) command: String,
    /// The lines of the page with its output. None: no output is shown, and none is compared.
    pub(super) output: Range<usize>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Panics
    /// If it cannot be read, or a comment in it is not understood.
    pub(super) fn read(path: &str) -> Self {
        let text =
            fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self::parse(path, &text)
    }

    fn parse(path: &str, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (mut blocks, mut steps, mut number) = (Vec::new(), Vec::new(), 0);
        while let Some(line) = lines.get(number) {
            if let Some(language) = line.strip_prefix("```") {
                let rest = lines.iter().skip(number + 1);
                let length = rest.take_while(|it| *it != "```").count();
                let body = number + 1..number + 1 + length;
                assert!(body.end < lines.len(), "{path}:{}: the block has no end", number + 1);
                number = body.end;
                let steps = std::mem::take(&mut steps);
                blocks.push(Block { language: language.to_owned(), body, steps });
            } else if let Some(first) = line.strip_prefix(RUN) {
                let mut next = Some(first);
                while let Some(line) = next {
                    let (said, is_last) = match line.strip_suffix("-->") {
                        Some(said) => (said, true),
                        None => (line, false),
                    };
                    let said = said.trim();
                    if !said.is_empty() {
                        let step = Step::parse(said);
                        steps
                            .push(step.unwrap_or_else(|| panic!("{path}:{}: what is {said:?}?", number + 1)));
                    }
                    next = None;
                    if !is_last {
                        number += 1;
                        next = lines.get(number).map(String::as_str);
                        assert!(next.is_some(), "{path}: a comment has no end");
                    }
                }
            }
            number += 1;
        }
        Self { path: path.to_owned(), lines, blocks }
    }

    /// Returns the commands of a `console` block.
    pub(super) fn shown(&self, block: &Block) -> Vec<Shown> {
        let mut found: Vec<Shown> = Vec::new();
        let mut goes_on = false;
        for number in block.body.clone() {
            let line = &self.lines[number];
            let last = found.last_mut();
            match (line.strip_prefix("$ "), last) {
                (None, Some(last)) if goes_on => {
                    last.command = format!("{}\n{line}", last.command);
                    last.output = number + 1..number + 1;
                }
                (Some(command), _) => {
                    found.push(Shown { command: command.to_owned(), output: number + 1..number + 1 });
                }
                (None, Some(last)) => last.output.end = number + 1,
                (None, None) => panic!("{}:{}: a command begins with `$ `", self.path, number + 1),
            }
            goes_on = found.last().is_some_and(|it| it.output.is_empty() && it.command.ends_with('\\'));
        }
        // A blank line before the next command is for the eye.
        for shown in &mut found {
            while !shown.output.is_empty() && self.lines[shown.output.end - 1].trim().is_empty() {
                shown.output.end -= 1;
            }
        }
        found
    }

    /// Says where a line stands.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path, line + 1)
    }
}

impl Block {
    /// Tells whether its commands are run here.
    pub(super) fn is_run(&self) -> bool {
        self.language == "console" && self.not_run().is_none() && self.run_by().is_none()
    }

    /// Returns the exit code of its last command.
    pub(super) fn exit_code(&self) -> i32 {
        let code = |step: &Step| if let Step::Exit(code) = step { Some(*code) } else { None };
        self.steps.iter().find_map(code).unwrap_or(0)
    }

    /// Returns the reason for which the block is not run.
    pub(super) fn not_run(&self) -> Option<&str> {
        self.steps
            .iter()
            .find_map(|step| if let Step::Not(reason) = step { Some(reason.as_str()) } else { None })
    }

    /// Returns the test that runs the block in place of this one.
    pub(super) fn run_by(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| if let Step::By(test) = step { Some(test.as_str()) } else { None })
    }
}

impl Step {
    fn parse(said: &str) -> Option<Self> {
        let (verb, rest) = said.split_once([' ', ',']).unwrap_or((said, ""));
        let rest = rest.trim();
        let words: Vec<&str> = rest.split_whitespace().collect();
        let owned = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
        Some(match (verb, &words[..]) {
            ("on", [machine]) => Self::On((*machine).to_owned()),
            ("$", [_, ..]) => Self::Quietly(rest.to_owned()),
            ("model", [dir]) => Self::Model { dir: (*dir).to_owned(), seed: 1 },
            ("model", [dir, seed]) => Self::Model { dir: (*dir).to_owned(), seed: seed.parse().ok()? },
            ("gguf", [dir, names @ ..]) => Self::Gguf { dir: (*dir).to_owned(), names: owned(names) },
            ("let", [word, "=", command @ .., pointer]) => Self::Let {
                word: (*word).to_owned(),
                command: command.join(" "),
                pointer: (*pointer).to_owned(),
            },
            ("bring", [file, "from", machine]) => {
                Self::Bring { file: (*file).to_owned(), from: (*machine).to_owned() }
            }
            ("write", [file]) => Self::Write((*file).to_owned()),
            ("stop", []) => Self::Stop,
            ("again", []) => Self::Again,
            ("exit", [code]) => Self::Exit(code.parse().ok()?),
            ("yes", []) => Self::Yes,
            ("needs", [_, ..]) => Self::Needs(owned(&words)),
            ("not", ["because", _, ..]) => Self::Not(words[1..].join(" ")),
            ("by", [test]) => Self::By((*test).to_owned()),
            _ => return None,
        })
    }
}

#[test]
fn a_page_is_read() {
    let text = "# Title\n\n<!-- run: on bob -->\n<!-- run:\nmodel my-model 2\n$ reg daemon &\n-->\n```console\n$ reg ls \\\n  \
                --json\n[]\n\n$ reg gc\n```\n\n<!-- run: not, because it is slow -->\n```console\n$ true\n```\n";
    let page = Page::parse("a.md", text);
    let [first, second] = &page.blocks[..] else { panic!("two blocks") };
    let steps = [
        Step::On("bob".to_owned()),
        Step::Model { dir: "my-model".to_owned(), seed: 2 },
        Step::Quietly("reg daemon &".to_owned()),
    ];
    assert_eq!(first.steps, steps);
    let shown = page.shown(first);
    assert_eq!(shown[0], Shown { command: "reg ls \\\n  --json".to_owned(), output: 10..11 });
    assert_eq!(shown[1], Shown { command: "reg gc".to_owned(), output: 13..13 });
    assert_eq!((first.not_run(), second.not_run()), (None, Some("it is slow")));
}
