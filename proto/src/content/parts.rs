//! [`Parts`]: what the files of a model are to each other. Which file names which, and which are missing.
//!
//! Some weights have no header: only the file that names them says what they are. And a model may lack a file that another
//! of its files needs. Both follow from all files together, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::format::Format;
use super::hollow::Hollow;
use super::inspect::{Facts, Inspected};
use super::{shards, signature, text};
use crate::limits::FILES_MAX;
use crate::path::SafePath;

/// Gaps that are listed one by one. A model that lacks more is described by the number of the others.
pub const GAPS_MAX: usize = 100;
/// Missing files that are listed of one numbered set.
const MISSING_OF_SET_MAX: usize = 5;
/// Byte parts of a GGUF file: each is a gigabyte and more.
const PARTS_MAX: u32 = 100;
/// Files that other files name, at most: more than a model may have cannot all be there.
const NAMED_MAX: usize = FILES_MAX;

/// Collects the files of a model.
#[derive(Debug, Default)]
pub struct Parts {
    /// The files of the model, with the format of those that were inspected.
    files: BTreeMap<SafePath, Option<Format>>,
    hollow: BTreeMap<SafePath, Hollow>,
    /// The files that another one names: the format that they have then, and the file that names them.
    named: BTreeMap<SafePath, Namer>,
    /// Files that were named beyond [`NAMED_MAX`].
    unlisted: usize,
    /// The paths before `.data-` of the files of a TensorFlow checkpoint that has an index.
    tables: BTreeSet<String>,
    splits: BTreeMap<SafePath, u32>,
    /// Lists and graphs that cannot be read.
    unread: BTreeSet<SafePath>,
}

/// What one file says of another. Of two that say something, the lower one counts, whichever came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Namer {
    /// Whether it says no format.
    is_silent: bool,
    format: Option<Format>,
    by: Arc<SafePath>,
}

/// Why a model is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// A file is not what its name says.
    Hollow { path: SafePath, hollow: Hollow },
    /// A file is missing that another one needs.
    Missing { path: SafePath, by: SafePath },
    /// A file is one of several, and its name does not lead to the others.
    Split { path: SafePath, of: u32 },
    /// A list or a graph cannot be read, so what it names is not known.
    Unread { path: SafePath },
    /// There are more gaps than are listed.
    More { count: usize },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hollow { path, hollow } => write!(f, "{path}: {hollow}"),
            Self::Missing { path, by } => write!(f, "{path} is missing: {by} needs it"),
            Self::Split { path, of } => {
                write!(
                    f,
                    "{path} is one of {of} files, and is not named {}",
                    split_name(path.as_str(), 1, *of)
                )
            }
            Self::Unread { path } => write!(f, "{path} cannot be read, so what it names is not known"),
            Self::More { count } => write!(f, "{count} more files are missing, or not what their names say"),
        }
    }
}

impl Gap {
    /// Returns what a user can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Hollow { hollow, .. } => hollow.hint(),
            Self::Missing { .. } | Self::More { .. } => "add the file",
            Self::Unread { .. } => "look at the file: a path in it may lead out of its folder",
            Self::Split { .. } => "give the files the names that llama.cpp gives them",
        }
    }
}

/// The gaps of a model, of which at most [`GAPS_MAX`] are listed.
#[derive(Debug, Default)]
struct Gaps {
    listed: Vec<Gap>,
    more: usize,
}

impl Gaps {
    fn add(&mut self, gap: Gap) {
        if self.listed.len() < GAPS_MAX { self.listed.push(gap) } else { self.more += 1 }
    }

    fn finish(mut self) -> Vec<Gap> {
        if self.more > 0 {
            self.listed.push(Gap::More { count: self.more });
        }
        self.listed
    }
}

impl Parts {
    /// Adds a file of the model that is not inspected.
    pub fn listed(&mut self, path: &SafePath) {
        self.files.entry(path.clone()).or_default();
    }

    /// Adds a file with the result of [`super::inspect::inspect`].
    pub fn file(&mut self, path: &SafePath, inspected: &Inspected) {
        self.files.insert(path.clone(), Some(inspected.format));
        if let Some(hollow) = inspected.hollow {
            self.hollow.insert(path.clone(), hollow);
        }
        match &inspected.facts {
            Facts::WeightIndex(index) => self.name(path, None, &index.files),
            Facts::Onnx(external) => self.name(path, Some(Format::OnnxData), &external.files),
            Facts::Shards(shards) => self.name(path, Some(shards.format), &shards.files),
            Facts::OpenVino => {
                let weights = path
                    .file_name()
                    .strip_suffix(".xml")
                    .map(|stem| format!("{stem}.bin").parse::<SafePath>());
                let weights = weights.and_then(Result::ok).into_iter().collect();
                self.name(path, Some(Format::OpenVino), &weights);
            }
            Facts::Gguf(gguf) if gguf.split_count > 1 => {
                self.splits.insert(path.clone(), gguf.split_count);
            }
            // Other files that cannot be read name none.
            Facts::NotUnderstood if inspected.format == Format::Onnx || is_index(path.as_str()) => {
                self.unread.insert(path.clone());
            }
            _ => {}
        }
        if let (Format::TfIndex, Some(stem)) = (inspected.format, path.as_str().strip_suffix(".index")) {
            self.tables.insert(stem.to_owned());
        }
    }

    fn name(&mut self, by: &SafePath, format: Option<Format>, files: &BTreeSet<SafePath>) {
        let by = Arc::new(by.clone());
        for file in files.iter().filter_map(|file| super::metadata::beside(&by, file)) {
            let format = format.filter(|it| may_be(*it, &file));
            let namer = Namer { is_silent: format.is_none(), format, by: by.clone() };
            if let Some(known) = self.named.get_mut(&file) {
                *known = namer.min(known.clone());
            } else if self.named.len() < NAMED_MAX {
                self.named.insert(file, namer);
            } else {
                self.unlisted += 1;
            }
        }
    }

    /// Returns the format of a file, now that the other files are known: weights without a header are what the file is that
    /// names them. `None` for a file that was not inspected.
    pub fn format(&self, path: &SafePath) -> Option<Format> {
        let format = *self.files.get(path)?.as_ref()?;
        if !is_settled_by_others(format) {
            return Some(format);
        }
        if self.is_part_of_gguf(path) {
            return Some(Format::GgufPart);
        }
        if let Some(Namer { format: Some(named), .. }) = self.named.get(path) {
            return Some(*named);
        }
        let is_table = tensor_file(path.as_str()).is_some_and(|stem| self.tables.contains(stem));
        Some(if is_table { Format::TfVariables } else { Format::Unknown })
    }

    /// Tells whether a file is a byte part of a GGUF file: all parts are there, and the first one begins like such a file.
    fn is_part_of_gguf(&self, path: &SafePath) -> bool {
        let Some(parts) = signature::gguf_parts(path.as_str()) else { return false };
        let format = |name: String| self.files.get(&name.parse::<SafePath>().ok()?).copied();
        let first = format(parts.name(1)).flatten();
        let count = match parts.total {
            Some(total) if total > PARTS_MAX => return false,
            Some(total) => (1..=total).take_while(|number| format(parts.name(*number)).is_some()).count(),
            None => (1..=25).take_while(|number| format(parts.name(*number)).is_some()).count(),
        };
        let is_whole =
            parts.total.is_none_or(|total| count == total as usize) && parts.number as usize <= count;
        count > 1 && is_whole && first == Some(Format::GgufPart)
    }

    /// Returns what the model lacks: first the files that are not what their names say, then what is missing. Lists at most
    /// [`GAPS_MAX`], and counts the others.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Gaps { more: self.unlisted, ..Gaps::default() };
        for (path, hollow) in &self.hollow {
            gaps.add(Gap::Hollow { path: path.clone(), hollow: *hollow });
        }
        for path in &self.unread {
            gaps.add(Gap::Unread { path: path.clone() });
        }
        let lacking = self.named.iter().filter(|(path, _)| !self.files.contains_key(*path));
        for (path, namer) in lacking {
            gaps.add(Gap::Missing { path: path.clone(), by: (*namer.by).clone() });
        }
        for (path, of) in self.splits.iter().filter(|(path, _)| shard(path.as_str()).is_none()) {
            gaps.add(Gap::Split { path: path.clone(), of: *of });
        }
        self.sets().into_iter().for_each(|set| set.missing(&self.named, &mut gaps));
        gaps.finish()
    }

    /// Returns the numbered sets of weights.
    fn sets(&self) -> Vec<NumberedSet<'_>> {
        let mut sets: BTreeMap<(&str, &str, u32), NumberedSet<'_>> = BTreeMap::new();
        for (path, format) in &self.files {
            let is_weights = format.is_none_or(|it| {
                matches!(it, Format::Safetensors | Format::Gguf | Format::Torch | Format::Pickle)
            });
            let is_shard = is_weights && is_weights_name(path.as_str());
            let found = shard(path.as_str()).filter(|_| is_shard).or_else(|| byte_part(path.as_str()));
            let Some(Numbered { begin, end, number, total, width }) = found else { continue };
            let empty = || NumberedSet { begin, end, total, width, by: path, have: BTreeSet::new() };
            sets.entry((begin, end, total)).or_insert_with(empty).have.insert(number);
        }
        sets.into_values().collect()
    }

    /// Returns the files that are not what their names say.
    pub const fn hollow(&self) -> &BTreeMap<SafePath, Hollow> {
        &self.hollow
    }
}

/// Tells whether a file of this name is the index of a sharded model.
pub(super) fn is_index(path: &str) -> bool {
    [".safetensors.index.json", ".bin.index.json"].iter().any(|end| path.ends_with(end))
}

/// Tells whether other files of a model say what a file of this format is.
pub fn is_settled_by_others(format: Format) -> bool {
    matches!(format, Format::Unknown | Format::GgufPart)
}

/// Tells whether a file of this name may hold tensors of this format: under no name does a file that vouches for it make data of
/// what a loader unpickles or runs.
fn may_be(format: Format, path: &SafePath) -> bool {
    let name = path.file_name().to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match format {
        Format::OnnxData => {
            ["bin", "data", "weight", "weights", "bias"].contains(&extension)
                || extension.starts_with("onnx_data")
                || name.starts_with("onnx__")
        }
        Format::MlcShard => name.starts_with("params_shard_") && extension == "bin",
        Format::TfjsShard => extension == "bin" || is_tfjs_shard(&name),
        _ => extension == "bin",
    }
}

/// Tells whether tools give such names to tensors without a header, and none unpickles a file of this name.
pub(super) fn is_named_as_tensors(path: &str) -> bool {
    let name = text::file_name(path);
    let extension = text::extension(&name);
    extension.starts_with("onnx_data")
        || ["onnx__", "params_shard_"].iter().any(|begin| name.starts_with(begin))
        || is_tfjs_shard(name.strip_suffix(".bin").unwrap_or(&name))
        || tensor_file(&name).is_some()
        || signature::gguf_parts(path).is_some()
}

/// Recognises the names that earlier converters of TensorFlow.js give to shards: `<begin>-shard1of2`, `<begin>-shard1`.
fn is_tfjs_shard(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let end = name.rsplit_once("-shard").map_or("", |(_, end)| end);
    end.split_once("of")
        .map_or_else(|| is_number(end), |(number, total)| is_number(number) && is_number(total))
}

/// Files of one numbered set.
struct NumberedSet<'a> {
    begin: &'a str,
    end: &'a str,
    total: u32,
    /// Digits of a number.
    width: usize,
    by: &'a SafePath,
    have: BTreeSet<u32>,
}

impl NumberedSet<'_> {
    /// Adds the files of the set that are not there, and that no file names. Lists the first ones.
    fn missing(&self, named: &BTreeMap<SafePath, Namer>, gaps: &mut Gaps) {
        let Self { begin, end, by, have, .. } = self;
        let (total, width) = (self.total, self.width);
        let lacks = total as usize - have.len();
        let mut listed = 0;
        for number in (1..=total).filter(|it| !have.contains(it)).take(MISSING_OF_SET_MAX) {
            listed += 1;
            let name = format!("{begin}{number:0width$}-of-{total:0width$}{end}");
            let name = if width == 1 { format!("{begin}{number}of{total}{end}") } else { name };
            let Ok(path) = name.parse::<SafePath>() else { continue };
            if !named.contains_key(&path) {
                gaps.add(Gap::Missing { path, by: (*by).clone() });
            }
        }
        gaps.more += lacks - listed;
    }
}

/// Tells whether the file at `by` may name the file at `path`, and say what it is: a graph or a list in its folder, or above.
pub fn may_name(by: &SafePath, path: &SafePath) -> bool {
    let folder = |it: &SafePath| {
        it.as_str().rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
    };
    let name = by.file_name();
    let stem = |it: &str, end: &str| it.strip_suffix(end).map(str::to_owned);
    let is_list = ["model.json", "ndarray-cache.json", "tensor-cache.json"].contains(&name)
        || name.ends_with(shards::MANIFEST_END)
        || name.ends_with(".onnx");
    let is_graph = stem(by.as_str(), ".xml").is_some_and(|it| stem(path.as_str(), ".bin") == Some(it));
    let is_index =
        stem(by.as_str(), ".index").is_some_and(|it| path.as_str().starts_with(&format!("{it}.data-")));
    let parts = |it: &SafePath| signature::gguf_parts(it.as_str()).map(|it| (it.begin.to_owned(), it.total));
    let is_part = parts(by).is_some() && parts(by) == parts(path);
    is_part || is_graph || is_index || is_list && folder(path).starts_with(&folder(by))
}

/// Extensions of weights that are cut into numbered shards. Tables of data are too, and a part of them is of use.
fn is_weights_name(path: &str) -> bool {
    [".safetensors", ".gguf", ".bin"].iter().any(|it| path.ends_with(it))
}

/// A name with a number and a total.
struct Numbered<'a> {
    begin: &'a str,
    end: &'a str,
    number: u32,
    total: u32,
    /// Digits of a number: 1 where they are not padded.
    width: usize,
}

/// Parses `<begin>00001-of-00003<end>`.
fn shard(path: &str) -> Option<Numbered<'_>> {
    let at = path.rfind("-of-")?;
    let (before, after) = (&path[..at], &path[at + 4..]);
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (total, end) = after.split_at_checked(5)?;
    let (begin, number) = before.split_at_checked(before.len().checked_sub(5)?)?;
    if !is_number(number) || !is_number(total) || !begin.ends_with('-') || !end.starts_with('.') {
        return None;
    }
    let (number, total) = (number.parse().ok()?, total.parse().ok()?);
    (1..=total).contains(&number).then_some(Numbered { begin, end, number, total, width: 5 })
}

/// Parses a byte part of a GGUF file, `<begin>1of3`.
fn byte_part(path: &str) -> Option<Numbered<'_>> {
    let parts = signature::gguf_parts(path)?;
    let total = parts.total?;
    Some(Numbered { begin: parts.begin, end: "", number: parts.number, total, width: 1 })
}

/// Parses `<stem>.data-00000-of-00001`, and returns the stem.
fn tensor_file(path: &str) -> Option<&str> {
    let (stem, end) = path.rsplit_once(".data-")?;
    let (number, total) = end.split_once("-of-")?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(number) && is_number(total)).then_some(stem)
}

fn split_name(path: &str, number: u32, of: u32) -> String {
    let stem = path.strip_suffix(".gguf").unwrap_or(path);
    format!("{stem}-{number:05}-of-{of:05}.gguf")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::inspect::inspect;
    use super::super::{gguf, onnx, safetensors};
    use super::*;

    fn parts(files: &[(&str, &[u8])]) -> Parts {
        let mut parts = Parts::default();
        for (path, bytes) in files {
            let path: SafePath = path.parse().expect("a path");
            let inspected = inspect(&path, &mut Cursor::new(bytes), bytes.len() as u64).expect("sound");
            parts.file(&path, &inspected);
        }
        parts
    }

    fn gaps(files: &[(&str, &[u8])]) -> Vec<String> {
        parts(files).gaps().iter().map(path_of).collect()
    }

    fn path_of(gap: &Gap) -> String {
        match gap {
            Gap::Hollow { path, .. }
            | Gap::Missing { path, .. }
            | Gap::Split { path, .. }
            | Gap::Unread { path } => path.to_string(),
            Gap::More { count } => format!("{count} more"),
        }
    }

    const NOISE: &[u8] = &[0x1c, 0xe3, 0, 1, 2, 0xff, 3, 0x99];

    #[test]
    fn a_file_without_a_header_is_what_names_it() {
        let onnx = onnx::tests::with_data(&["m.onnx_data", "w/b.bin"]);
        let tfjs = br#"{"weightsManifest":[{"paths":["g-shard1of1.bin"]}]}"#;
        let xml = b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\"><layers/></net>";
        let index = [&[0; 40], &0xdb47_7524_8b80_fb57_u64.to_le_bytes()[..]].concat();
        let mut files: Vec<(&str, &[u8])> = vec![
            ("o/m.onnx", &onnx),
            ("o/m.onnx_data", NOISE),
            ("o/w/b.bin", NOISE),
            ("js/model.json", tfjs),
            ("js/g-shard1of1.bin", NOISE),
            ("openvino_model.xml", xml),
            ("openvino_model.bin", NOISE),
            ("tf/variables.index", &index),
            ("tf/variables.data-00000-of-00001", NOISE),
            ("m.onnx_data", NOISE),
            ("js/pickled.bin", b"\x80\x02}q\0."),
        ];
        let manifest = br#"[{"weights":[],"paths":["face-shard1","face-shard1of2","face.bin"]}]"#;
        files.extend([
            ("face/face-weights_manifest.json", manifest.as_slice()),
            ("face/face-shard1", NOISE),
            ("face/face-shard1of2", NOISE),
            ("face/face.bin", NOISE),
        ]);
        let parts = parts(&files);
        let format = |path: &str| parts.format(&path.parse().expect("a path")).expect("inspected");
        for shard in ["face-shard1", "face-shard1of2", "face.bin"] {
            assert_eq!(format(&format!("face/{shard}")), Format::TfjsShard, "{shard}");
        }
        assert_eq!(format("o/m.onnx_data"), Format::OnnxData);
        assert_eq!(format("o/w/b.bin"), Format::OnnxData);
        assert_eq!(format("js/g-shard1of1.bin"), Format::TfjsShard);
        assert_eq!(format("openvino_model.bin"), Format::OpenVino);
        assert_eq!(format("tf/variables.data-00000-of-00001"), Format::TfVariables);
        assert_eq!(format("m.onnx_data"), Format::Unknown, "no file of its folder names it");
        assert_eq!(format("js/pickled.bin"), Format::Pickle);
        assert!(parts.gaps().is_empty(), "{:?}", parts.gaps());
    }

    #[test]
    fn what_is_named_and_not_there_is_missing() {
        let index = br#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
        let sample = safetensors::tests::sample();
        let found =
            gaps(&[("model.safetensors.index.json", index), ("model-00001-of-00002.safetensors", &sample)]);
        assert_eq!(found, ["model-00002-of-00002.safetensors"]);
        assert_eq!(
            gaps(&[("x/model-00002-of-00002.safetensors", &sample)]),
            ["x/model-00001-of-00002.safetensors"]
        );
        assert!(gaps(&[("train-00001-of-00002.parquet", b"PAR1\x15\x04\0\0PAR1")]).is_empty());
        let onnx = onnx::tests::with_data(&["w.bin"]);
        assert_eq!(gaps(&[("o/m.onnx", &onnx)]), ["o/w.bin"]);
        let bin = br#"{"weight_map":{"a":"pytorch_model-00001-of-00001.bin"}}"#;
        assert_eq!(gaps(&[("pytorch_model.bin.index.json", bin)]), ["pytorch_model-00001-of-00001.bin"]);
        let sample = gguf::tests::sample();
        assert_eq!(gaps(&[("m-00001-of-00002.gguf", &sample)]), ["m-00002-of-00002.gguf"]);
        assert_eq!(gaps(&[("m.gguf.part1of2", &sample)]), ["m.gguf.part2of2"]);
        assert!(gaps(&[("m.gguf.part1of2", &sample), ("m.gguf.part2of2", NOISE)]).is_empty());
    }

    #[test]
    fn a_list_or_a_graph_that_is_not_understood_is_a_gap() {
        let sample = safetensors::tests::sample();
        for (name, index) in [
            ("model.safetensors.index.json", br#"{"weight_map":{"a":"../w.safetensors"}}"#.as_slice()),
            ("pytorch_model.bin.index.json", br#"{"weight_map":{"a":NaN}}"#),
            ("m.onnx", &onnx::tests::with_data(&["../w.bin"])),
        ] {
            let found = parts(&[(name, index), ("model.safetensors", &sample)]).gaps();
            assert_eq!(found, [Gap::Unread { path: name.parse().unwrap() }]);
        }
        let index = br#"{"weight_map":{"a":"./w-1.safetensors","b":"./w-2.safetensors"}}"#;
        let found = gaps(&[("model.safetensors.index.json", index), ("w-1.safetensors", &sample)]);
        assert_eq!(found, ["w-2.safetensors"]);
        assert!(gaps(&[("other.index.json", b"{}"), ("config.json", b"{")]).is_empty());
    }

    #[test]
    fn names_alone_cost_little_and_list_little() {
        let mut parts = Parts::default();
        for number in 0..16_000 {
            parts.listed(&format!("w{number}-00001-of-99999.bin").parse().expect("a path"));
            parts.listed(&format!("g{number}.gguf.part1of4000000000").parse().expect("a path"));
        }
        let found = parts.gaps();
        assert_eq!(found.len(), GAPS_MAX + 1);
        let Some(Gap::More { count }) = found.last() else { panic!("the others are counted") };
        assert_eq!(*count, 16_000 * 99_998 + 16_000 * 3_999_999_999 - GAPS_MAX);
    }

    #[test]
    fn no_file_makes_data_of_what_a_loader_unpickles() {
        let list = |name: &str| format!(r#"{{"weightsManifest":[{{"paths":["{name}"]}}]}}"#);
        for name in
            ["clf.joblib", "m.pkl", "m.pt", "x.so", "m.dat", "noext", "m.ckpt", "a-shard", "m-shard1of.pt"]
        {
            let (onnx, list) = (onnx::tests::with_data(&[name]), list(name));
            let files: [(&str, &[u8]); 3] =
                [("model.json", list.as_bytes()), ("m.onnx", &onnx), (name, NOISE)];
            assert_eq!(parts(&files).format(&name.parse().unwrap()), Some(Format::Unknown), "{name}");
        }
        // A pickle that calls something after the bytes that are walked.
        let late = [b"K\x010".repeat(6_000), b"cos\nsystem\n(S'id'\ntR.".to_vec()].concat();
        for name in ["pytorch_model.bin", "w.bin", "w.data", "w.weight"] {
            let stem = name.split('.').next().expect("a stem");
            let (onnx, list, xml) = (onnx::tests::with_data(&[name]), list(name), format!("{stem}.xml"));
            for namer in [("model.json", list.as_bytes()), ("m.onnx", &onnx), (&xml, b"<net name=\"m\">")] {
                let found = parts(&[namer, (name, &late)]).format(&name.parse().unwrap());
                assert_eq!(found, Some(Format::Pickle), "{name} by {}", namer.0);
            }
        }
        let mlc = br#"{"records":[{"dataPath":"evil.bin"}]}"#;
        let found = parts(&[("tensor-cache.json", mlc), ("evil.bin", NOISE)]);
        assert_eq!(found.format(&"evil.bin".parse().unwrap()), Some(Format::Unknown));
        // A name alone makes no part of a GGUF file.
        let sample = gguf::tests::sample();
        let sample = sample.as_slice();
        for files in [
            &[("x.gguf.part1of1", NOISE)][..],
            &[("a.gguf-split-a", NOISE)],
            &[("x.gguf.part1of2", NOISE), ("x.gguf.part2of2", NOISE)],
            &[("x.gguf.part1of3", sample), ("x.gguf.part2of3", NOISE)],
            &[("x.gguf.part1of1", sample)],
            &[("x.gguf-split-a", sample)],
        ] {
            let found = parts(files);
            assert!(
                files.iter().all(|(name, _)| found.format(&name.parse().unwrap()) == Some(Format::Unknown))
            );
        }
        let found = parts(&[("x.gguf-split-a", sample), ("x.gguf-split-b", NOISE)]);
        assert_eq!(found.format(&"x.gguf-split-b".parse().unwrap()), Some(Format::GgufPart));
    }

    #[test]
    fn the_order_of_the_namers_does_not_count() {
        let index = br#"{"weight_map":{"a":"w.bin"}}"#;
        let onnx = onnx::tests::with_data(&["w.bin"]);
        let mut files: Vec<(&str, &[u8])> =
            vec![("m.index.json", index), ("m.onnx", &onnx), ("w.bin", NOISE), ("z.index.json", index)];
        for _ in 0..4 {
            files.rotate_left(1);
            assert_eq!(parts(&files).format(&"w.bin".parse().unwrap()), Some(Format::OnnxData));
        }
    }

    #[test]
    fn a_file_that_is_listed_is_not_missing() {
        let index = br#"{"weight_map":{"a":"model.safetensors"}}"#;
        let mut parts = parts(&[("model.safetensors.index.json", index)]);
        assert_eq!(parts.gaps().len(), 1);
        parts.listed(&"model.safetensors".parse().expect("a path"));
        assert!(parts.gaps().is_empty());
    }

    #[test]
    fn only_a_file_of_the_folder_may_name_another() {
        let may =
            |by: &str, path: &str| may_name(&by.parse().expect("a path"), &path.parse().expect("a path"));
        assert!(
            may("o/m.onnx", "o/m.onnx_data") && may("m.onnx", "w/a.bin") && may("js/model.json", "js/s.bin")
        );
        assert!(may("a/m.xml", "a/m.bin") && may("v/variables.index", "v/variables.data-00000-of-00001"));
        for (by, path) in
            [("o/m.onnx", "p/x.bin"), ("m.xml", "n.bin"), ("config.json", "x.bin"), ("o/m.onnx", "x")]
        {
            assert!(!may(by, path), "{by} {path}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let found = parts(&[("a/model.bin", b"Entry not found")]).gaps();
        assert_eq!(
            found[0].to_string(),
            "a/model.bin: it is the error message of a server, and its name is that of weights"
        );
    }
}
