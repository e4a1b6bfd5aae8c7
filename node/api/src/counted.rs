//! [`counted`]: a number with the word for what is counted.

/// Returns `1 file`, or `2 files`; `1 entry`, or `2 entries`.
pub fn counted(count: impl TryInto<u64>, one: &str) -> String {
    // A number beyond the range is more than one.
    match (count.try_into().unwrap_or(u64::MAX), one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (count, Some(stem)) => format!("{count} {stem}ies"),
        (count, None) => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_one_and_none_or_more_are_several() {
        let shown =
            [counted(0, "file"), counted(1_u64, "entry"), counted(2_usize, "entry"), counted(2, "copy")];
        assert_eq!(shown, ["0 files", "1 entry", "2 entries", "2 copies"]);
    }
}
