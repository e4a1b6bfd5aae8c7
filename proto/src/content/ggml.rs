//! [`GgmlType`]: the storage format of a GGUF tensor's elements.

use std::fmt;

/// A type of tensor data, by its number in ggml.
///
/// ggml and its forks add types every few months, so an unknown number is not an error. Only the size of such data is
/// unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GgmlType(u32);

/// The number of elements that are stored together, and their size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub elements: u64,
    pub bytes: u64,
}

/// Number, name, elements of a block, bytes of a block (ggml.h, `enum ggml_type`, and ggml-common.h).
const TYPES: [(u32, &str, u64, u64); 33] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

impl GgmlType {
    /// Returns the type with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the type's block, or `None` if the type is not in the table.
    pub fn block(self) -> Option<Block> {
        self.row().map(|(_, _, elements, bytes)| Block { elements: *elements, bytes: *bytes })
    }

    fn row(self) -> Option<&'static (u32, &'static str, u64, u64)> {
        TYPES.iter().find(|(number, ..)| *number == self.0)
    }
}

impl fmt::Display for GgmlType {
    /// Writes ggml's name, or `type<number>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some((_, name, ..)) => f.write_str(name),
            None => write!(f, "type{}", self.0),
        }
    }
}

/// Names of `general.file_type`, by their number (llama.h, `enum llama_ftype`).
const FILE_TYPES: [(u64, &str); 35] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
];

/// Returns the name of a file's quantisation, or `None` if `number` is not in the table.
pub fn file_type_name(number: u64) -> Option<&'static str> {
    FILE_TYPES.iter().find(|(it, _)| *it == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_knows_and_lets_the_rest_be() {
        assert_eq!(GgmlType::new(12).to_string(), "Q4_K");
        assert_eq!(GgmlType::new(12).block(), Some(Block { elements: 256, bytes: 144 }));
        assert_eq!(GgmlType::new(340).to_string(), "type340");
        assert_eq!(GgmlType::new(340).block(), None);
        assert_eq!(file_type_name(15), Some("Q4_K_M"));
    }
}
