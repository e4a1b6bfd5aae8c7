//! `reg man`: writes the man pages of all commands into a folder.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use crate::args::{Global, Man as Args};
use crate::error::CliError;
use crate::grammar::grammar;
use crate::output;

pub fn run(global: &Global, args: &Args) -> Result<ExitCode, CliError> {
    fs::create_dir_all(&args.dir).map_err(|error| CliError::of_file(&args.dir, &error))?;
    let mut pages = 0_usize;
    write(&grammar(), "reg", &args.dir, &mut pages)?;
    if global.json {
        output::json(&json!({ "dir": args.dir, "pages": pages }))?;
    } else {
        output::sentence(format!("{pages} pages in {}", args.dir.display()))?;
    }
    Ok(output::ok())
}

/// Writes the page of the command `name` and of those below it.
fn write(command: &Command, name: &str, dir: &Path, pages: &mut usize) -> Result<(), CliError> {
    // The grammar is built, so each command knows its whole name.
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date("")
        .source(concat!("reg ", env!("CARGO_PKG_VERSION")))
        .manual("reg");
    let path = dir.join(format!("{name}.1"));
    let text = rendered(&man, command).map_err(|error| CliError::of_file(&path, &error))?;
    fs::write(&path, text).map_err(|error| CliError::of_file(&path, &error))?;
    *pages += 1;
    command
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
        .try_for_each(|it| write(it, &format!("{name}-{}", it.get_name()), dir, pages))
}

/// Returns a page: the sections that the grammar gives, and the examples with their line breaks.
fn rendered(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|it| !it.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|it| !it.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(footer) = command.get_after_help() {
        text.extend_from_slice(examples(&footer.to_string()).as_bytes());
    }
    Ok(text)
}

/// Returns a footer as a section: examples line by line, sentences as paragraphs.
fn examples(footer: &str) -> String {
    let mut text = String::from(".SH EXAMPLES\n");
    let mut is_example = false;
    for line in footer.lines().filter(|it| *it != "Examples:" && !it.is_empty()) {
        if line.starts_with(' ') != is_example {
            is_example = !is_example;
            text.push_str(if is_example { ".nf\n" } else { ".fi\n" });
        }
        if !is_example {
            text.push_str(".PP\n");
        }
        text.push_str(&format!("\\&{}\n", line.replace('\\', "\\e").replace('-', "\\-")));
    }
    text.push_str(if is_example { ".fi\n" } else { "" });
    text
}
