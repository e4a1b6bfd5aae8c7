//! [`GgufName`]: what the name of a GGUF file says: the model, its quantisation, and which split of it the file is.

use std::collections::BTreeSet;
use std::ops::Range;

use reg_proto::path::SafePath;

/// Words before a quantisation that say how it was made, and not of which model it is.
const FLAVOURS: [&str; 6] = ["ud", "i1", "imat", "imatrix", "dynamic", "gguf"];

/// What the names of small models that accompany a model contain: llama.cpp knows them by these, in lower case.
const DRAFTS: [&str; 4] = ["mtp-", "eagle3-", "dflash-", "dspark-"];

/// The name of a GGUF file, read.
#[derive(Debug, Clone)]
pub(super) struct GgufName<'a> {
    pub(super) path: &'a SafePath,
    /// The file's name without its folder, its split and `.gguf`, in lower case.
    stem: String,
    pub(super) split: Option<Split<'a>>,
}

/// One of the files into which a model was split: `<prefix>-00001-of-00003.gguf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split<'a> {
    pub(super) prefix: &'a str,
    pub(super) number: u32,
    pub(super) total: u32,
}

impl<'a> GgufName<'a> {
    /// Reads the name of a file; `None` if it is not that of a GGUF file.
    pub(super) fn read(path: &'a SafePath) -> Option<Self> {
        let end = path.as_str().len().checked_sub(".gguf".len())?;
        let (before, extension) = path.as_str().split_at_checked(end)?;
        if !extension.eq_ignore_ascii_case(".gguf") {
            return None;
        }
        let split = split(before);
        let whole = split.map_or(before, |it| it.prefix);
        let stem = whole.rsplit('/').next().unwrap_or(whole).to_ascii_lowercase();
        Some(Self { path, stem, split })
    }

    /// Tells whether the file is a projector, which a model needs to see or to hear.
    pub(super) fn is_projector(&self) -> bool {
        self.stem.contains("mmproj")
    }

    /// Tells whether the file is a model: not a projector, not a draft model, not the statistics of an imatrix.
    pub(super) fn is_model(&self) -> bool {
        let name = self.path.file_name();
        let is_statistics = self.words().any(|it| it == "imatrix") && self.quantisation().is_none();
        !self.is_projector() && !DRAFTS.iter().any(|it| name.contains(it)) && !is_statistics
    }

    /// Tells whether the file is the first one of its model.
    pub(super) fn is_first(&self) -> bool {
        self.split.is_none_or(|it| it.number == 1)
    }

    /// Returns the quantisation that the name ends with in upper case, such as `Q4_K_M` of `x-i1-Q4_K_M.gguf`.
    pub(super) fn quantisation(&self) -> Option<String> {
        self.quantisation_at().map(|at| self.stem[at].to_ascii_uppercase())
    }

    /// Returns where the last quantisation stands in the name. `tiny_q4_0` has one: `_` may stand before it.
    fn quantisation_at(&self) -> Option<Range<usize>> {
        let is_start = |at: &usize| *at == 0 || self.stem[..*at].ends_with(is_border);
        let starts = (0..self.stem.len()).filter(|at| self.stem.is_char_boundary(*at)).filter(is_start);
        let word = |at: usize| {
            let length = self.stem[at..].find(['-', '.', ' ']).unwrap_or(self.stem.len() - at);
            at..at + length
        };
        let found = starts.map(word).filter(|at| is_quantisation_word(&self.stem[at.clone()]));
        // Of those with one end, the longest.
        found.reduce(|last, next| if next.end == last.end { last } else { next })
    }

    /// Finds `tag`, in lower case, as a whole word of the name. Returns what is left of the name.
    pub(super) fn without(&self, tag: &str) -> Option<Rest> {
        let begins = |at: usize| {
            // `_` joins words too, as in `tiny_q4_0`, but `k_m` is no word of `q4_k_m`.
            let before = self.stem[..at].chars().next_back();
            before.is_none_or(|it| "-. ".contains(it) || (it == '_' && is_quantisation(tag)))
        };
        let ends = |end: usize| self.stem[end..].chars().next().is_none_or(|it| "-. ".contains(it));
        let found = self.stem.match_indices(tag).filter(|(at, _)| begins(*at) && ends(at + tag.len()));
        let (at, _) = found.last()?;
        Some(Rest::of(&self.stem[..at], &self.stem[at + tag.len()..]))
    }

    /// Tells whether the file lies in a folder that has the name `tag`, in lower case.
    pub(super) fn lies_in(&self, tag: &str) -> bool {
        let folders = self.path.as_str().rsplit_once('/').map_or("", |(folders, _)| folders);
        folders.split('/').any(|it| it.eq_ignore_ascii_case(tag))
    }

    /// Returns the name without its quantisation.
    pub(super) fn rest(&self) -> Rest {
        let at = self.quantisation_at().unwrap_or(self.stem.len()..self.stem.len());
        Rest::of(&self.stem[..at.start], &self.stem[at.end..])
    }

    /// Returns how many folders the file lies in.
    pub(super) fn depth(&self) -> usize {
        self.path.as_str().matches('/').count()
    }

    /// Returns the first number in the last word of the name: 4 of `x-Q4_K_M.gguf`, 16 of `mmproj-F16.gguf`.
    pub(super) fn bits(&self) -> u32 {
        let word = self.stem.rsplit(['-', '.']).next().unwrap_or_default();
        let digits = word.chars().skip_while(|it| !it.is_ascii_digit()).take_while(char::is_ascii_digit);
        digits.take(4).collect::<String>().parse().unwrap_or(0)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.stem.split(is_border)
    }
}

/// What is left of a file's name without its quantisation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rest {
    /// The words that tell which model it is.
    pub(super) model: Vec<String>,
    /// Number of words that tell how it was quantised.
    pub(super) flavours: usize,
}

impl Rest {
    fn of(before: &str, after: &str) -> Self {
        let words = before.split(is_border).chain(after.split(is_border)).filter(|it| !it.is_empty());
        let (flavours, model): (Vec<&str>, Vec<&str>) = words.partition(|it| FLAVOURS.contains(it));
        Self { model: model.into_iter().map(str::to_owned).collect(), flavours: flavours.len() }
    }
}

/// Returns the quantisations that the names of GGUF files say, in upper case and in the order of the alphabet.
pub fn quantisations<'a>(paths: impl IntoIterator<Item = &'a SafePath>) -> BTreeSet<String> {
    let named = paths.into_iter().filter_map(GgufName::read).filter(GgufName::is_model);
    named.filter_map(|it| it.quantisation()).collect()
}

/// Tells whether a text names a quantisation, as `q4_k_m`, `UD-Q4_K_XL`, `i1-IQ2_XXS`, `bf16` and `mxfp4_moe` do.
pub fn is_quantisation(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.split('-').any(is_quantisation_word) && lower.split('-').all(|it| !it.is_empty())
}

fn is_quantisation_word(word: &str) -> bool {
    let packed = ["iq", "tq", "q", "mxfp", "nvfp"].iter().find_map(|prefix| word.strip_prefix(prefix));
    let is_packed = packed.is_some_and(|rest| {
        rest.starts_with(|it: char| it.is_ascii_digit())
            && rest.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
    });
    is_packed || matches!(word, "f16" | "bf16" | "f32" | "fp16" | "fp32" | "f64")
}

const fn is_border(it: char) -> bool {
    matches!(it, '-' | '.' | '_' | ' ')
}

/// Reads `<prefix>-00001-of-00003`.
fn split(before: &str) -> Option<Split<'_>> {
    let (name, total) = before.rsplit_once("-of-")?;
    let (prefix, number) = name.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|it| it.is_ascii_digit());
    let read = |text: &str| is_number(text).then(|| text.parse().ok()).flatten();
    Some(Split { prefix, number: read(number)?, total: read(total)? })
}
