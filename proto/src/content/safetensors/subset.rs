//! Writes the header of a safetensors file that holds some of another file's tensors.

use super::{PREFIX_LEN, Safetensors, Tensor};

/// Alignment of the data's start in bytes, as the format's reference writer has it.
const ALIGNMENT: usize = 8;

impl Safetensors {
    /// Returns the bytes before the data of a file with exactly `tensors`.
    ///
    /// `tensors` must be tensors of this file, in the order of their data. In the new file their data are contiguous. The
    /// new header keeps this file's `__metadata__`.
    pub fn subset(&self, tensors: &[&Tensor]) -> Vec<u8> {
        let mut entries = Vec::new();
        if !self.metadata.is_empty() {
            entries.push(format!("\"__metadata__\":{}", json(&self.metadata)));
        }
        let mut begin = 0;
        for Tensor { name, dtype, shape, begin: from, end: to } in tensors {
            let end = begin + (to - from);
            entries.push(format!(
                "{}:{{\"dtype\":\"{dtype}\",\"shape\":{},\"data_offsets\":[{begin},{end}]}}",
                json(name),
                json(shape),
            ));
            begin = end;
        }
        let mut header = format!("{{{}}}", entries.join(","));
        while !(PREFIX_LEN as usize + header.len()).is_multiple_of(ALIGNMENT) {
            header.push(' ');
        }
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Dtype, header_len, parse};
    use super::*;

    proptest! {
        #[test]
        fn a_subset_is_a_file_with_just_those_tensors(
            tensors in prop::collection::btree_map("[a-z\"\\\\é.]{1,8}", (prop::collection::vec(0u64..4, 0..3), any::<bool>()), 0..8),
            notes in prop::collection::btree_map("[a-z\"]{1,4}", "[a-z\n]{0,4}", 0..3),
        ) {
            let mut file = Safetensors { tensors: Vec::new(), metadata: notes };
            let mut at = 0;
            for (name, (shape, _)) in &tensors {
                let end = at + shape.iter().product::<u64>() * 2;
                file.tensors.push(Tensor { name: name.clone(), dtype: Dtype::F16, shape: shape.clone(), begin: at, end });
                at = end;
            }
            let picked: Vec<&Tensor> = file.tensors.iter().filter(|it| tensors[&it.name].1).collect();
            let head = file.subset(&picked);
            prop_assert_eq!(head.len() % ALIGNMENT, 0);
            let size = head.len() as u64 + picked.iter().map(|it| it.end - it.begin).sum::<u64>();
            let length = header_len(*head.first_chunk().unwrap(), size).unwrap();
            let read = parse(&head[8..], size).unwrap();
            prop_assert_eq!(length as usize, head.len() - 8);
            prop_assert_eq!(&read.metadata, &file.metadata);
            let about = |it: &Tensor| (it.name.clone(), it.dtype, it.shape.clone(), it.end - it.begin);
            let mut found: Vec<_> = read.tensors.iter().map(about).collect();
            let mut expected: Vec<_> = picked.iter().map(|it| about(it)).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
