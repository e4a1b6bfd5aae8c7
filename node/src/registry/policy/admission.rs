//! [`Admission`]: whether a gateway may serve a file, remembered after the file was inspected.

use reg_proto::content::kind::ContentKind;

/// The verdict on a file. An error carries the file's kind, and the reason why it needs the user's consent.
pub type Admission = Result<(), (ContentKind, &'static str)>;
