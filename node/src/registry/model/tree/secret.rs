//! What looks like a secret: by its name, or by a key or token in its text.
//!
//! The lists are written down, so that the same directory gives the same model everywhere. They know the common forms. A
//! secret in another form passes.

use std::fs::File;
use std::io::Read;

use super::SourceFile;
use crate::store::Cancel;

/// Names of files and directories that hold passwords, tokens or keys.
const NAMES: [&str; 28] = [
    ".env",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".my.cnf",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    ".dockercfg",
    ".dockerconfigjson",
    ".boto",
    ".s3cfg",
    ".aws",
    ".azure",
    ".gnupg",
    ".kube",
    ".ssh",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "kaggle.json",
    "secrets.toml",
    // This program's own.
    "admin.token",
    "node.key",
];

/// Endings of files that are made to hold private keys or passwords.
const ENDINGS: [&str; 7] = [".p12", ".pfx", ".ppk", ".jks", ".keystore", ".kdbx", ".ovpn"];

/// Endings of `.env.…` files that show others what to write there.
const ENV_EXAMPLES: [&str; 4] = ["example", "sample", "template", "dist"];

/// Tells whether a file or directory of this name looks like a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_env = name.strip_prefix(".env.").is_some_and(|rest| !ENV_EXAMPLES.contains(&rest));
    is_env || NAMES.contains(&name.as_str()) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Bytes of a text that are searched. Notebooks and logs are shorter. A longer text is listed as not searched to its end.
const SEARCHED_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are searched at once, so that a long text takes little memory.
const CHUNK: usize = 1 << 20;
/// Bytes of a chunk that are searched again with the next one: longer than the longest form.
const OVERLAP: usize = 1 << 10;
/// First bytes of a file that tell whether it is data: one zero byte among them says so, unless its name is that of a text.
const DECIDING: usize = 4 << 10;
/// How texts in UTF-16 begin, as some shells of Windows write them.
const WIDE: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];
/// Endings of texts that people write.
const TEXTS: [&str; 22] = [
    ".txt", ".md", ".rst", ".py", ".ipynb", ".sh", ".bash", ".ps1", ".bat", ".js", ".ts", ".json", ".jsonl",
    ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".log", ".csv", ".xml",
];

/// What a search of a file has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Searched {
    /// The first key or token, with its line.
    pub found: Option<String>,
    /// Whether it is a text that goes on after what was searched, or that cannot be read.
    pub is_cut: bool,
}

/// Searches a file by its name and its text. A file that cannot be read is judged by others.
pub(super) fn find(file: &SourceFile, cancel: &Cancel) -> Searched {
    if is_secret_name(file.path.file_name()) {
        return Searched { found: Some("its name".to_owned()), is_cut: false };
    }
    let name = file.path.file_name();
    File::open(&file.source).map_or_else(|_| Searched::default(), |it| search(name, cancel.over(it)))
}

/// Searches the bytes of a file of this name for keys and tokens. Data is not searched.
pub fn search(name: &str, from: impl Read) -> Searched {
    search_up_to(SEARCHED_BYTES_MAX, name, from)
}

fn search_up_to(max: u64, name: &str, mut from: impl Read) -> Searched {
    let name = name.to_ascii_lowercase();
    let is_named = TEXTS.iter().any(|ending| name.ends_with(ending));
    let (mut text, mut lines, mut bytes) = (Vec::new(), 1, 0);
    loop {
        let mut chunk = Vec::new();
        let Ok(read) = from.by_ref().take(CHUNK as u64).read_to_end(&mut chunk) else {
            return Searched { found: None, is_cut: true };
        };
        let begin = &chunk[..read.min(DECIDING)];
        let is_wide = WIDE.iter().any(|mark| begin.starts_with(mark));
        let is_data = bytes == 0 && begin.contains(&0) && !is_wide && !is_named;
        if read == 0 || is_data {
            return Searched::default();
        }
        bytes += read as u64;
        // What is left of UTF-16 is ASCII where it was ASCII.
        chunk.retain(|byte| *byte != 0);
        text.extend_from_slice(&chunk);
        if let Some((what, at)) = find_in(&text) {
            let found = format!("{what} in line {}", lines + breaks(&text[..at]));
            return Searched { found: Some(found), is_cut: false };
        }
        if bytes >= max {
            return Searched { found: None, is_cut: true };
        }
        let searched = text.len().saturating_sub(OVERLAP);
        lines += breaks(&text[..searched]);
        text.drain(..searched);
    }
}

fn breaks(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// A form of tokens: how they begin, which characters follow, and how many.
struct Form {
    what: &'static str,
    begin: &'static str,
    is_part: fn(u8) -> bool,
    least: usize,
    most: usize,
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

const fn form(
    what: &'static str,
    begin: &'static str,
    is_part: fn(u8) -> bool,
    (least, most): (usize, usize),
) -> Form {
    Form { what, begin, is_part, least, most }
}

/// The forms of tokens, as those that issue them publish them for scanners.
const FORMS: [Form; 21] = [
    form("a Hugging Face token", "hf_", is_alphanumeric, (34, 40)),
    form("a Hugging Face token", "api_org_", is_alphanumeric, (34, 40)),
    form("a GitHub token", "ghp_", is_alphanumeric, (36, 251)),
    form("a GitHub token", "gho_", is_alphanumeric, (36, 251)),
    form("a GitHub token", "ghu_", is_alphanumeric, (36, 251)),
    form("a GitHub token", "ghs_", is_alphanumeric, (36, 251)),
    form("a GitHub token", "ghr_", is_alphanumeric, (36, 251)),
    form("a GitHub token", "github_pat_", is_word, (60, 251)),
    form("a GitLab token", "glpat-", is_word, (20, 300)),
    form("an AWS key", "AKIA", is_upper, (16, 16)),
    form("an AWS key", "ASIA", is_upper, (16, 16)),
    form("a Google API key", "AIza", is_word, (35, 35)),
    form("a Slack token", "xoxb-", is_word, (20, 300)),
    form("a Slack token", "xoxp-", is_word, (20, 300)),
    form("an Anthropic API key", "sk-ant-", is_word, (32, 300)),
    form("an OpenAI API key", "sk-proj-", is_word, (32, 300)),
    form("an OpenAI API key", "sk-svcacct-", is_word, (32, 300)),
    form("an OpenAI API key", "sk-", is_alphanumeric, (48, 48)),
    form("an npm token", "npm_", is_alphanumeric, (36, 36)),
    form("a PyPI token", "pypi-AgEIcHlwaS5vcmc", is_word, (50, 300)),
    form("a Replicate token", "r8_", is_alphanumeric, (37, 40)),
];

/// Different characters that a token has at least. Examples repeat one, as in `hf_xxxx`.
const DIFFERENT_MIN: usize = 10;

/// Returns the first key or token in a text, and where it begins.
fn find_in(text: &[u8]) -> Option<(&'static str, usize)> {
    let mut before = [b'\n'; 2];
    for (at, byte) in text.iter().copied().enumerate() {
        // In JSON, as in notebooks, the end of a line is a backslash and a letter.
        let is_begin = !is_word(before[1]) || (before[0] == b'\\' && b"nrt".contains(&before[1]));
        if is_begin || byte == b'-' {
            let rest = &text[at..];
            let found = match byte {
                b'-' => is_private_key(rest).then_some("a private key"),
                b'h' | b'a' | b'g' | b'A' | b'x' | b's' | b'n' | b'p' | b'r' => token(rest),
                _ => None,
            };
            if let Some(what) = found {
                return Some((what, at));
            }
        }
        before = [before[1], byte];
    }
    None
}

fn token(rest: &[u8]) -> Option<&'static str> {
    let is_it = |form: &&Form| {
        let Some(body) = rest.strip_prefix(form.begin.as_bytes()) else { return false };
        let length = body.iter().take(form.most + 1).take_while(|byte| (form.is_part)(**byte)).count();
        let mut different = body[..length].to_vec();
        different.sort_unstable();
        different.dedup();
        let ends = body.get(length).is_none_or(|byte| !is_word(*byte));
        (form.least..=form.most).contains(&length) && ends && different.len() >= DIFFERENT_MIN
    };
    FORMS.iter().find(is_it).map(|form| form.what)
}

/// Tells whether a text begins with a private key in PEM, with at least the first line of its body.
fn is_private_key(rest: &[u8]) -> bool {
    /// Bytes in which the header and the first line of a key are.
    const BEGIN: usize = 400;
    let Some(rest) = rest.strip_prefix(b"-----BEGIN ") else { return false };
    let begin = String::from_utf8_lossy(&rest[..rest.len().min(BEGIN)]).into_owned();
    let Some((label, body)) = begin.split_once("-----") else { return false };
    // In JSON the lines of a key stand in one string.
    let body = body.replace("\\n", "\n");
    let is_base64 = |line: &str| {
        line.len() >= 40 && line.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it))
    };
    label.contains("PRIVATE KEY") && body.split(['\n', '\r', '"']).any(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of letters and digits without a pattern that a scanner of this repository would know.
    fn body(length: usize) -> String {
        ('a'..='z').chain('A'..='Z').chain('0'..='9').cycle().take(length).collect()
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in [".env", ".env.local", ".ENV", ".netrc", "id_ed25519", "x.p12", ".ssh", "kaggle.json"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [".env.example", "id_ed25519.pub", "environment", "config.json", "key.txt", "netrc"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn keys_and_tokens_in_text_are_found_with_their_line() {
        let find = |text: String| search("x", text.as_bytes()).found;
        for (begin, length) in [("hf_", 34), ("ghp_", 36), ("sk-ant-", 60), ("AIza", 35), ("github_pat_", 82)]
        {
            let text = format!("# notes\n\nexport TOKEN=\"{begin}{}\"\n", body(length));
            assert!(find(text).is_some_and(|it| it.ends_with("in line 3")), "{begin}");
        }
        let upper: String = body(80).to_uppercase().chars().skip(40).take(16).collect();
        assert_eq!(find(format!("AKIA{upper}")).as_deref(), Some("an AWS key in line 1"));
        let key = format!("-----BEGIN {}PRIVATE KEY-----\n{}\n", "OPENSSH ", body(64));
        assert_eq!(find(format!("a\n{key}")).as_deref(), Some("a private key in line 2"));
        let json = format!("{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}\\n\"}}", body(64));
        assert_eq!(find(json).as_deref(), Some("a private key in line 1"));
    }

    #[test]
    fn long_texts_escaped_lines_and_wide_characters_are_searched_too() {
        let token = format!("hf_{}", body(34));
        // A notebook with an image in its outputs, and a login in its last cell.
        let image = "iVBORw0KGgo".repeat(300_000);
        let cell = format!("\"source\": [\"!cd x\\n{token}\\n\"]");
        let notebook = format!("{{\"image/png\": \"{image}\",\n{cell}}}");
        let found = |name, bytes: &[u8]| search(name, bytes).found;
        assert_eq!(found("x.ipynb", notebook.as_bytes()).as_deref(), Some("a Hugging Face token in line 2"));
        for offset in [CHUNK - 40, CHUNK - 5, CHUNK] {
            let text = format!("{}\n{token}\n", "x ".repeat(offset / 2));
            assert!(found("x", text.as_bytes()).is_some(), "{offset}");
        }
        let wide: Vec<u8> =
            format!("\u{feff}set TOKEN={token}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found("x", &wide).as_deref(), Some("a Hugging Face token in line 1"));
        let zero = format!("\0\n{token}\n");
        assert_eq!(found("x.log", zero.as_bytes()).as_deref(), Some("a Hugging Face token in line 2"));
        assert_eq!(found("x.bin", zero.as_bytes()), None);
        let long = std::io::repeat(b'x').take(3 * CHUNK as u64);
        let cut = search_up_to(2 * CHUNK as u64, "x.csv", long);
        assert_eq!(cut, Searched { found: None, is_cut: true });
    }

    #[test]
    fn what_only_looks_like_one_is_not_one() {
        for text in [
            format!("export HF_TOKEN=hf_{}", "x".repeat(34)),
            format!("half_{}", body(34)),
            format!("the prefix hf_ and {}", body(34)),
            format!("hf_{}", body(33)),
            format!("-----BEGIN CERTIFICATE-----\n{}\n", body(64)),
            "write -----BEGIN PRIVATE KEY----- here".to_owned(),
            format!("-----BEGIN PUBLIC KEY-----\n{}", body(64)),
            body(200),
        ] {
            assert_eq!(search("x", text.as_bytes()).found, None, "{text}");
        }
    }
}
