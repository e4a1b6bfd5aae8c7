//! [`Member`]: a file of an OCI layout, by its name. Names of an archive are only compared: none becomes a path.

use reg_proto::digest::Digest;
use reg_proto::layout::{BLOBS_DIR, INDEX_FILE, LAYOUT_FILE};

/// A file that an OCI layout has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    Marker,
    Index,
    Blob(Digest),
}

/// A name that leads out of the archive, or cannot be read as a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadName;

impl Member {
    /// Reads the name of an entry; `None` for one that a layout need not have, which is passed over.
    pub(super) fn of(name: &[u8]) -> Result<Option<Self>, BadName> {
        let name = std::str::from_utf8(name).map_err(|_| BadName)?;
        let is_bad = name.starts_with('/') || name.contains(['\\', '\0']);
        if is_bad || name.split('/').any(|part| part == "..") {
            return Err(BadName);
        }
        let mut parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
        Ok(match [(); 4].map(|()| parts.next()) {
            [Some(LAYOUT_FILE), None, ..] => Some(Self::Marker),
            [Some(INDEX_FILE), None, ..] => Some(Self::Index),
            [Some("blobs"), Some("sha256"), Some(hex), None] => Digest::from_hex(hex).ok().map(Self::Blob),
            _ => None,
        })
    }

    /// Returns the name of the file in a layout.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Marker => LAYOUT_FILE.to_owned(),
            Self::Index => INDEX_FILE.to_owned(),
            Self::Blob(digest) => format!("{BLOBS_DIR}/{}", digest.hex()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_layout_or_are_passed_over_or_refused() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        for member in [Member::Marker, Member::Index, Member::Blob(digest)] {
            assert_eq!(Member::of(member.name().as_bytes()), Ok(Some(member)));
            assert_eq!(Member::of(format!("./{}", member.name()).as_bytes()), Ok(Some(member)));
        }
        let upper = format!("blobs/sha256/{}", hex.to_uppercase());
        let deep = format!("blobs/sha256/{hex}/x");
        for passed in ["", "./", "blobs/", "blobs/sha256/", "manifest.json", "blobs/sha512/ab", &upper, &deep]
        {
            assert_eq!(Member::of(passed.as_bytes()), Ok(None), "{passed}");
        }
        for refused in ["/etc/passwd", "../index.json", "blobs/../index.json", "a\\..\\b", "blobs/sha256/.."]
        {
            assert_eq!(Member::of(refused.as_bytes()), Err(BadName), "{refused}");
        }
        assert_eq!(Member::of(b"\xff"), Err(BadName));
    }
}
