//! [`Lineage`]: from what a model is derived, and what is derived from it. What is claimed and what is computed are kept apart.

use std::fmt;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};
use serde::{Deserialize, Serialize};

/// The descent of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The models that its publisher says it is derived from.
    pub bases: Vec<ClaimedBase>,
    /// Models of the catalogue that are derived from it, as their publishers say.
    pub derived: Vec<Relative>,
    /// How many tags of the catalogue say so.
    pub derived_tags: usize,
    /// The tensors that it shares with those of these models that are in the store; `None` where that was not computed.
    pub shared: Option<Vec<SharedTensors>>,
}

/// A model that another one is said to be derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBase {
    /// Its name, as the publisher of the derived model writes it.
    pub name: String,
    /// Its manifest, where the publisher of the derived model had it.
    pub manifest: Option<Digest>,
    /// The model that is meant, where this node knows it.
    pub model: Option<Relative>,
}

/// A model that another one is related to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relative {
    pub publisher: PublisherId,
    /// What the user calls the publisher.
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
    /// Whether the whole model is in the store.
    pub is_here: bool,
}

/// The tensors of a model that another one in the store has too: of the same name, type and shape, and byte for byte the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedTensors {
    pub with: Relative,
    /// Whether the other one is the base, as claimed, or is derived.
    pub is_base: bool,
    /// Tensors of this model with data.
    pub tensors: usize,
    pub same: usize,
    /// Bytes of all tensors of this model.
    pub bytes: u64,
    pub same_bytes: u64,
    /// Tensors that may be the same and were not read: the bound of one comparison was reached.
    pub left_out: usize,
}

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.petname {
            Some(petname) => write!(f, "{petname}/{}", self.model)?,
            None => write!(f, "{}/{}", self.publisher, self.model)?,
        }
        match &self.tag {
            Some(tag) if *tag == Tag::latest() => Ok(()),
            Some(tag) => write!(f, ":{tag}"),
            None => write!(f, "@{}", self.manifest),
        }
    }
}

impl fmt::Display for SharedTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensors, same, bytes, same_bytes, left_out, .. } = self;
        if *tensors == 0 {
            return f.write_str("no tensors that can be compared");
        }
        let share = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
        write!(f, "{same} of {tensors} tensors are the same ({:.1} %", share(*same as u64, *tensors as u64))?;
        write!(f, "; of the bytes {:.1} %)", share(*same_bytes, *bytes))?;
        if *left_out > 0 {
            write!(f, ", {left_out} were not compared: more would have to be read than one comparison may")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_words() {
        let shared = |tensors, same, left_out| {
            let with = Relative {
                publisher: PublisherId::from_bytes([1; 32]),
                petname: Some("acme".parse().unwrap()),
                model: "base".parse().unwrap(),
                tag: Some(Tag::latest()),
                manifest: Digest::of(b"base"),
                is_here: true,
            };
            assert_eq!(with.to_string(), "acme/base");
            let bytes = tensors as u64 * 10;
            SharedTensors { with, is_base: true, tensors, same, bytes, same_bytes: same as u64, left_out }
        };
        let table = [
            (0, 0, 0, "no tensors that can be compared"),
            (4, 3, 0, "3 of 4 tensors are the same (75.0 %; of the bytes 7.5 %)"),
            (
                2,
                0,
                1,
                "0 of 2 tensors are the same (0.0 %; of the bytes 0.0 %), 1 were not compared: more would have to be read than one \
                 comparison may",
            ),
        ];
        for (tensors, same, left_out, expected) in table {
            assert_eq!(shared(tensors, same, left_out).to_string(), expected);
        }
    }
}
