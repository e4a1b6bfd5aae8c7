//! Defines the arguments of `reg collection`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use reg_proto::content::label::Label;
use reg_proto::limits::COLLECTION_WORDS_MAX;

use super::Net;
use crate::ticketed::CollectedArg;

pub(super) const COLLECTION_EXAMPLES: &str = "\
Examples:
  reg collection new small-ocr --title 'Small OCR models'     makes ./small-ocr
  reg collection add small-ocr acme/tiny-ocr:v1 --words 'reads receipts'
  reg collection add small-ocr bob --words 'careful people'   a vouch for a publisher
  reg collection show small-ocr
  reg publish ./small-ocr small-ocr --key board               as any model
  reg follow board/small-ocr                                  on another machine

A collection is a list that you keep in a folder and publish as a model. It recommends: it makes
no signature valid, and waives no rule. docs/guide/collections.md shows how several people keep one.";

#[derive(Debug, Subcommand)]
pub enum CollectionCommand {
    /// Begin a collection in a folder: make ./NAME with an empty list
    New(NewCollection),
    /// Add a model or a publisher to the list, or change what is said of it
    Add(AddEntry),
    /// Remove an entry from the list
    #[command(aliases = ["remove", "delete"])]
    Rm(RemoveEntry),
    /// Show the list in a folder, or a published collection
    Show(ShowCollection),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg collection new small-ocr --title 'Small OCR models' --words 'checked by us'
  reg collection new lists/small-ocr --title 'Small OCR models'    the same name, in ./lists

The name is the model that the collection is published as. The list is small-ocr/collection.json,
which you may edit.")]
pub struct NewCollection {
    /// The folder to make; its name is the name of the collection
    #[arg(value_name = "NAME|DIR")]
    pub draft: PathBuf,
    /// Title, in a few words
    #[arg(long)]
    pub title: Label,
    /// What the collection is about, in a sentence
    #[arg(long)]
    pub words: Option<Label>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg collection add small-ocr acme/tiny-ocr                    every version of a model
  reg collection add small-ocr acme/tiny-ocr:v1 --words 'reads receipts'
  reg collection add small-ocr 3 --words 'we have tried it'     the third result of `reg search`
  reg collection add small-ocr bob --words 'careful people'     a vouch for all of a publisher

The list has the ids of publishers, so that a petname of yours means the same to others. Adding an
entry again changes its words. Publish the list when it is ready:
  reg publish ./small-ocr small-ocr --key NAME")]
pub struct AddEntry {
    /// The folder of the collection
    #[arg(value_name = "NAME|DIR")]
    pub draft: PathBuf,
    /// publisher/model[:tag|@sha256:…], a publisher (an id, a petname, or a domain), a ticket, or the number of a result of
    /// `reg search`
    #[arg(value_name = "MODEL|PUBLISHER")]
    pub entry: CollectedArg,
    /// What you say of it, in a sentence
    #[arg(long, value_parser = words)]
    pub words: Option<Label>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg collection rm small-ocr acme/tiny-ocr:v1
  reg collection rm small-ocr bob
  reg collection rm small-ocr 2       the second entry, as `reg collection show` numbers them")]
pub struct RemoveEntry {
    /// The folder of the collection
    #[arg(value_name = "NAME|DIR")]
    pub draft: PathBuf,
    /// The entry as it was added, or its number
    #[arg(value_name = "ENTRY|NUMBER")]
    pub entry: CollectedArg,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg collection show small-ocr              the list in ./small-ocr
  reg collection show board/small-ocr        a published one, which is fetched
  reg collection show board/small-ocr:v1 --json")]
pub struct ShowCollection {
    /// The folder of a collection, or publisher/name[:tag][@sha256:…] or a ticket of a published one
    #[arg(value_name = "NAME|DIR|REF|TICKET")]
    pub what: String,
    #[command(flatten)]
    pub net: Net,
}

/// Parses what is said of an entry.
fn words(text: &str) -> Result<Label, String> {
    let label: Label = text.parse().map_err(|error| format!("{error}"))?;
    match label.as_str().len() {
        length if length > COLLECTION_WORDS_MAX => {
            Err(format!("{length} bytes are too many for an entry, which has {COLLECTION_WORDS_MAX} at most"))
        }
        _ => Ok(label),
    }
}
