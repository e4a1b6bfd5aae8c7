//! The topics of `reg help`: the guides of docs/guide, each under the name of its file.

/// The guides by name, with their text in Markdown.
const GUIDES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/guides.rs"));

/// Other words for a topic, and the guides that may hold it, the likeliest first.
const OTHER_WORDS: [(&str, &[&str]); 5] = [
    ("rules", &["trust"]),
    ("config", &["configuration"]),
    ("exit-codes", &["troubleshooting"]),
    ("errors", &["troubleshooting"]),
    ("domains", &["names"]),
];

/// Returns the name and the Markdown of a topic.
pub fn topic(word: &str) -> Option<(&'static str, &'static str)> {
    let word = word.to_ascii_lowercase().replace([' ', '_'], "-");
    let word = word.strip_suffix(".md").unwrap_or(&word);
    let named = |name: &str| GUIDES.iter().find(|(it, _)| *it == name).copied();
    named(word).or_else(|| {
        OTHER_WORDS
            .iter()
            .filter(|(it, _)| *it == word)
            .flat_map(|(_, names)| *names)
            .find_map(|it| named(it))
    })
}

/// Returns the topics by name, each with its title.
pub fn topics() -> Vec<(&'static str, &'static str)> {
    let title = |text: &'static str| text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
    let guides = GUIDES.iter().map(|(name, text)| (*name, title(text)));
    let mut all: Vec<_> = guides.chain([("exit-codes", "Exit codes, and kinds of errors")]).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_that_help_names_are_there() {
        for word in ["names", "trust", "exit-codes", "configuration", "keys.md", "Exit codes", "rules"] {
            let (_, text) = topic(word).unwrap_or_else(|| panic!("{word} is no topic"));
            assert!(text.starts_with("# "), "{word} has no title");
        }
        assert!(topic("nothing").is_none());
        for (name, title) in topics() {
            assert!(!title.is_empty() && topic(name).is_some(), "{name}");
        }
    }
}
