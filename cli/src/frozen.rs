//! Explains a frozen tag by the keys of this machine: two machines of its publisher signed, or a thief did.

use reg_node::gateway::admin::error::FrozenTag;

use crate::args::Global;
use crate::client::home;
use crate::error::CliError;

/// Adds to an error about a frozen tag what the key ring knows of the keys that signed both records.
pub fn explain(global: &Global, error: CliError) -> CliError {
    let Some(frozen) = error.frozen().cloned() else { return error };
    let Ok(list) = home(global).map(|home| home.keyring().list()) else { return error };
    let keys = list.map(|list| list.keys).unwrap_or_default();
    let FrozenTag { publisher, model, tag, seq, signers } = &frozen;
    let Some(own) = keys.iter().find(|key| key.publisher == *publisher) else { return error };
    let signer = keys.iter().find(|key| signers.contains(&key.public_key));
    let settle = format!("reg publish DIR {model}:{tag} --key {} --settle", own.name);
    let rotate = format!("reg key rotate {} --floor {seq}", own.name);
    match signer {
        Some(signer) => error.explained(
            format!(
                "your key {} has signed both records: two machines that publish one tag may do so without knowing",
                signer.name
            ),
            format!("if both records are yours: {settle}; if one of them is not, the key is stolen: {rotate}"),
        ),
        None => error.explained(
            format!("a key of your publisher {} that is not on this machine has signed at least one of them", own.name),
            format!("if no other machine of yours has signed it, a thief has the key: {rotate}; else: {settle}"),
        ),
    }
}
