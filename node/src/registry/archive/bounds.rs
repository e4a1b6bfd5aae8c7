//! The bounds of an archive, which hold when it is written as they do when it is read. So no export makes an archive that a
//! machine without a network then refuses.

use reg_api::archive::ArchiveForm;
use reg_proto::digest::Digest;
use reg_proto::limits::{LAYOUT_ENTRIES_MAX, LAYOUT_INDEX_BYTES_MAX, REFERRERS_MAX};
use reg_proto::referrer::{BUNDLE_ARTIFACT_TYPE, KEYS_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};

use super::contents::Contents;
use super::error::ExportError;
use crate::registry::limits::{ARCHIVED_MODELS_MAX, BROUGHT_BYTES_MAX, TAR_ENTRIES_MAX};

/// Checks that an archive with this content can be imported.
///
/// # Errors
/// [`ExportError::TooMany`] names the first bound that it exceeds.
pub(super) fn check(contents: &Contents, form: ArchiveForm) -> Result<(), ExportError> {
    // The members of a directory are looked up by their names, and are not counted.
    let files = match form {
        ArchiveForm::Tar => contents.blobs.len() + contents.own.len() + 2,
        ArchiveForm::Directory => 0,
    };
    for (what, count, max) in [
        ("models", contents.carried.len(), ARCHIVED_MODELS_MAX),
        ("entries of its index", contents.index.manifests.len(), LAYOUT_ENTRIES_MAX),
        ("bytes of its index", contents.index.to_bytes().len(), LAYOUT_INDEX_BYTES_MAX),
        ("files", files, TAR_ENTRIES_MAX),
    ] {
        if count > max {
            return Err(ExportError::TooMany { what, count, max });
        }
    }
    Ok(())
}

/// Chooses the referrers of one model that an archive takes, `size` of each with its document: first the provenance, its bundle
/// and the keys, then the smallest. Returns how many are left out.
pub(super) fn fitting(
    mut referrers: Vec<(Digest, Referrer)>,
    size: impl Fn(&Digest, &Referrer) -> u64,
) -> (Vec<(Digest, Referrer)>, usize) {
    let rank = |it: &Referrer| {
        let of_publisher = [PROVENANCE_ARTIFACT_TYPE, BUNDLE_ARTIFACT_TYPE, KEYS_ARTIFACT_TYPE];
        of_publisher.iter().position(|kind| it.artifact_type == *kind).unwrap_or(of_publisher.len())
    };
    referrers.sort_by_key(|(digest, it)| (rank(it), size(digest, it)));
    let (count, mut left) = (referrers.len(), BROUGHT_BYTES_MAX as u64);
    referrers.retain(|(digest, it)| match left.checked_sub(size(digest, it)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    referrers.truncate(REFERRERS_MAX);
    let left_out = count - referrers.len();
    (referrers, left_out)
}

#[cfg(test)]
mod tests {
    use reg_proto::attestation::ATTESTATION_ARTIFACT_TYPE;
    use reg_proto::descriptor::Descriptor;
    use reg_proto::manifest::MANIFEST_TYPE;

    use super::*;

    fn digest(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    #[test]
    fn what_import_refuses_is_not_written() {
        let with = |entries: usize, blobs: usize| {
            let mut contents = Contents::default();
            contents.index.manifests = vec![Descriptor::new(MANIFEST_TYPE, digest(0), 1); entries];
            contents.blobs = (0..blobs).map(|n| (digest(n), 1)).collect();
            contents
        };
        let what = |contents: &Contents, form| match check(contents, form) {
            Ok(()) => None,
            Err(ExportError::TooMany { what, .. }) => Some(what),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(what(&with(LAYOUT_ENTRIES_MAX, 10), ArchiveForm::Tar), None);
        assert_eq!(
            what(&with(LAYOUT_ENTRIES_MAX + 1, 10), ArchiveForm::Directory),
            Some("entries of its index")
        );
        assert_eq!(what(&with(1, TAR_ENTRIES_MAX - 2), ArchiveForm::Tar), None);
        assert_eq!(what(&with(1, TAR_ENTRIES_MAX - 1), ArchiveForm::Tar), Some("files"));
        assert_eq!(what(&with(1, TAR_ENTRIES_MAX - 1), ArchiveForm::Directory), None);
        let mut long = with(LAYOUT_ENTRIES_MAX, 1);
        for entry in &mut long.index.manifests {
            entry.artifact_type = Some("x".repeat(LAYOUT_INDEX_BYTES_MAX / LAYOUT_ENTRIES_MAX));
        }
        assert_eq!(what(&long, ArchiveForm::Directory), Some("bytes of its index"));
    }

    #[test]
    fn of_too_many_documents_the_provenance_and_the_smallest_are_taken() {
        let referrer = |kind: &str| Referrer {
            artifact_type: kind.to_owned(),
            subject: Descriptor::new(MANIFEST_TYPE, digest(0), 1),
            document: Descriptor::new("application/json", digest(1), 1),
        };
        let mib = 1 << 20;
        let mut all: Vec<(Digest, Referrer)> =
            (1..=8).map(|n| (digest(n), referrer(ATTESTATION_ARTIFACT_TYPE))).collect();
        all.push((digest(9), referrer(PROVENANCE_ARTIFACT_TYPE)));
        let (taken, left_out) = fitting(all, |it, _| if *it == digest(3) { mib } else { 8 * mib });
        let taken: Vec<Digest> = taken.into_iter().map(|(it, _)| it).collect();
        assert_eq!((taken[0], taken[1], taken.len(), left_out), (digest(9), digest(3), 4, 5));
    }
}
