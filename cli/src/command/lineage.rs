//! Shows from what a model is derived and what is derived from it: what publishers claim, and what this node has computed.

use reg_api::counted::counted;
use reg_api::lineage::{ClaimedBase, Lineage, Relative, SharedTensors};

use crate::args::Global;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output;

/// Prints the lineage of a model. `typed` is the reference that the user has typed.
pub fn show(global: &Global, lineage: &Lineage, typed: &str, is_in_store: bool) -> Result<(), CliError> {
    let ids = Ids::alone(global);
    output::line("")?;
    if lineage.bases.is_empty() && lineage.derived.is_empty() {
        return output::text(
            global,
            "lineage: its publisher names no base, and nothing in the catalogue names it as one",
        );
    }
    output::text(global, "lineage, as publishers claim it")?;
    if lineage.bases.is_empty() {
        output::text(global, "  derived from: nothing that its publisher names")?;
    }
    for ClaimedBase { name, manifest, model } in &lineage.bases {
        let known = match (model, manifest) {
            (Some(model), _) => format!(": {}", relative(model, &ids)),
            (None, Some(manifest)) => format!(": {}, which this node knows by no name", ids.short(manifest)),
            (None, None) => String::new(),
        };
        output::text(global, format!("  derived from: {name} (its publisher's claim){known}"))?;
    }
    let Lineage { derived, derived_tags, .. } = lineage;
    if derived.is_empty() {
        output::text(global, "  derived from it: nothing that the catalogue of this node lists")?;
    } else {
        let tags = if *derived_tags > derived.len() {
            format!(" of {derived_tags} tags in the catalogue")
        } else {
            String::new()
        };
        let count = counted(derived.len(), "model");
        output::text(global, format!("  derived from it, by their publishers' claims: {count}{tags}"))?;
        derived.iter().try_for_each(|it| output::text(global, format!("    {}", relative(it, &ids))))?;
    }
    output::line("")?;
    shared(global, lineage, typed, is_in_store)
}

fn shared(global: &Global, lineage: &Lineage, typed: &str, is_in_store: bool) -> Result<(), CliError> {
    let related = lineage.bases.iter().filter_map(|it| it.model.as_ref()).chain(&lineage.derived);
    let here = related.filter(|it| it.is_here).count();
    match &lineage.shared {
        None if !is_in_store => {
            output::text(global, "lineage, computed: not, because the model is not in the store")
        }
        None if here == 0 => {
            output::text(global, "lineage, computed: not, because none of these models is in the store")
        }
        None => output::text(
            global,
            format!(
                "lineage, computed: not yet; `reg info {typed} --lineage` compares its tensors with those of {here} of these models"
            ),
        ),
        Some(shared) if shared.is_empty() => {
            output::text(global, "lineage, computed: nothing, because none of these models is in the store")
        }
        Some(shared) => {
            output::text(global, "lineage, computed from the tensors in the store")?;
            shared.iter().try_for_each(|it| output::text(global, format!("  {}", compared(it))))
        }
    }
}

fn relative(model: &Relative, ids: &Ids) -> String {
    let here = if model.is_here { " (in the store)" } else { "" };
    format!("{model}{here}, {}", ids.short(&model.manifest))
}

fn compared(shared: &SharedTensors) -> String {
    let what = if shared.is_base { "its base" } else { "derived from it" };
    format!("with {} ({what}, as claimed): {shared}", shared.with)
}
