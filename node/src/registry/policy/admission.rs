//! TODO.

use reg_proto::content::kind::ContentKind;

/// What was found of a file.
pub type Admission = Result<(), (ContentKind, &'static str)>;
