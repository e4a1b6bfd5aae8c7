//! Replaces a name by the one to which the user has pointed it (`reg trust alias`).

use reg_api::reporter::Reporter;
use reg_proto::name::{Publisher, Reference};

use super::Resolver;
use super::resolved::ResolveError;

impl Resolver {
    /// Returns the reference that the user means, with a note where an alias says so. A digest alone means the same
    /// bytes under every name, so it is left as it is.
    pub(super) fn aliased(
        &self,
        reference: &Reference,
        reporter: &Reporter,
    ) -> Result<(Reference, Vec<String>), ResolveError> {
        if reference.digest.is_some() {
            return Ok((reference.clone(), Vec::new()));
        }
        let failed = |source| ResolveError::Trust { reference: reference.clone(), source };
        let publisher = self.trust.file.resolve(&reference.publisher).map_err(failed)?;
        let trust = self.trust.file.load().map_err(failed)?;
        let Some((publisher, model)) = trust.alias(&publisher, &reference.model) else {
            return Ok((reference.clone(), Vec::new()));
        };
        let note = format!(
            "{}/{} is {publisher}/{model}: your trust file says so (`reg trust alias`)",
            reference.publisher, reference.model
        );
        reporter.note(format_args!("{note}"));
        let meant = Reference { publisher: Publisher::Id(publisher), model, ..reference.clone() };
        Ok((meant, vec![note]))
    }
}
