//! Reads what `reg publish` is to publish: `PATH MODEL[:TAG]`, or any number of `PATH` and `MODEL[:TAG]=PATH`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reg_proto::name::{ModelName, Tag};

use crate::args::model_and_tag;
use crate::error::CliError;

/// A directory or file, and the name to publish it under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Absolute. It may be a link, and then the name of the link counts.
    pub path: PathBuf,
    pub model: ModelName,
    pub tag: Tag,
}

/// Reads the arguments of `reg publish`.
///
/// # Errors
/// A path does not exist, a name cannot be a model's, or it is not clear which of the two an argument is.
pub fn read(args: &[String]) -> Result<Vec<Source>, CliError> {
    if let [path, name] = args
        && let Some(source) = path_and_name(path, name)?
    {
        return Ok(vec![source]);
    }
    let sources = args.iter().map(|text| one(text)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    for Source { model, tag, .. } in &sources {
        if !seen.insert((model.folded(), tag.clone())) {
            let text = format!("two of the models would be {model}:{tag}");
            return Err(CliError::new("invalid", text).hint("name them apart: reg publish NAME=PATH …"));
        }
    }
    Ok(sources)
}

/// Reads `PATH MODEL[:TAG]`; `None` where the second argument is not a name.
fn path_and_name(path: &str, name: &str) -> Result<Option<Source>, CliError> {
    let is_path = name.starts_with(['.', '/']) || name.contains('=') || (name.contains('/') && exists(name));
    if is_path {
        return Ok(None);
    }
    match model_and_tag(name) {
        Ok((model, tag)) => Ok(Some(Source { path: absolute(path)?, model, tag })),
        Err(_) if exists(name) => Ok(None),
        Err(error) => Err(CliError::new("invalid", error)),
    }
}

/// Reads `PATH` or `MODEL[:TAG]=PATH`.
fn one(text: &str) -> Result<Source, CliError> {
    if let Some((name, path)) = text.split_once('=').filter(|_| !exists(text)) {
        let (model, tag) = model_and_tag(name).map_err(|error| CliError::new("invalid", error))?;
        return Ok(Source { path: absolute(path)?, model, tag });
    }
    let path = absolute(text)?;
    let named = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = named.and_then(|name| name.to_str()).unwrap_or_default();
    let model = name.parse().map_err(|error| {
        CliError::new("invalid", format_args!("{text} does not name a model: {error}"))
            .hint(format_args!("name it: reg publish NAME={text} --key KEY"))
    })?;
    Ok(Source { path, model, tag: Tag::latest() })
}

fn exists(text: &str) -> bool {
    Path::new(text).exists()
}

/// Returns the absolute path, and keeps the name of a link. `.` and `..` at its end are replaced by the directory's name.
fn absolute(text: &str) -> Result<PathBuf, CliError> {
    let path = Path::new(text);
    let failed = |error: std::io::Error| {
        CliError::new("not_found", format_args!("{text}: {error}")).hint("name a directory or a file")
    };
    std::fs::metadata(path).map_err(failed)?;
    match path.file_name() {
        Some(name) => {
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(parent.canonicalize().map_err(failed)?.join(name))
        }
        None => path.canonicalize().map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Result<Vec<String>, CliError> {
        let args: Vec<String> = args.iter().map(|it| (*it).to_owned()).collect();
        Ok(read(&args)?.into_iter().map(|it| format!("{}:{}", it.model, it.tag)).collect())
    }

    #[test]
    fn names_come_from_the_arguments_or_from_the_folders() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for name in ["one", "two", "no name"] {
            std::fs::create_dir(at(name)).expect("made");
        }
        std::fs::write(at("tiny-Q4_0.gguf"), b"x").expect("written");
        let [one, two, file] = [at("one"), at("two"), at("tiny-Q4_0.gguf")];
        assert_eq!(names(&[&one, "model:v1"]).expect("one"), ["model:v1"]);
        assert_eq!(names(&[&one, &two]).expect("two"), ["one:latest", "two:latest"]);
        let many = [one.as_str(), &format!("b:v2={two}"), &file];
        assert_eq!(names(&many).expect("three"), ["one:latest", "b:v2", "tiny-Q4_0:latest"]);
        assert_eq!(names(&[&format!("a={one}")]).expect("one"), ["a:latest"]);
        for wrong in [
            &[one.as_str(), "acme/model"][..],
            &[&one, &one],
            &[&format!("A={one}"), &format!("a={two}")],
            &[&at("no name")],
            &[&at("none")],
            &[&format!("a b={one}")],
        ] {
            assert!(names(wrong).is_err(), "{wrong:?}");
        }
    }
}
