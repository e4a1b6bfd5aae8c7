//! [`TensorPlace`]: the byte range of a tensor in a weight file of any format.

use super::gguf::Gguf;
use super::safetensors::{PREFIX_LEN, Safetensors};

/// The byte range of one tensor in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    pub name: String,
    /// Offset of the first byte, counted from the file's start.
    pub begin: u64,
    /// Offset after the last byte.
    pub end: u64,
}

impl TensorPlace {
    /// Returns the length of the tensor's data in bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.begin
    }

    /// Returns whether the tensor has no data.
    pub const fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Returns the name without the names of enclosing modules, for comparison between models.
    ///
    /// It begins at the last word before the first number: `language_model.model.layers.0.q_proj.weight` gives
    /// `layers.0.q_proj.weight`. A name without a number gives its last two words.
    pub fn short_name(&self) -> &str {
        let words: Vec<(usize, &str)> = self
            .name
            .split('.')
            .scan(0, |at, word| {
                let begin = *at;
                *at += word.len() + 1;
                Some((begin, word))
            })
            .collect();
        let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let first = match words.iter().position(|(_, word)| is_number(word)) {
            Some(number) => number.saturating_sub(1),
            None => words.len().saturating_sub(2),
        };
        words.get(first).map_or(&self.name, |(begin, _)| &self.name[*begin..])
    }
}

impl Safetensors {
    /// Returns the tensors' byte ranges, in the order of their data, in a file with a header of `header_len` bytes.
    pub fn places(&self, header_len: u64) -> Vec<TensorPlace> {
        let data = PREFIX_LEN + header_len;
        let place = |tensor: &super::safetensors::Tensor| TensorPlace {
            name: tensor.name.clone(),
            begin: data + tensor.begin,
            end: data + tensor.end,
        };
        self.tensors.iter().map(place).collect()
    }
}

impl Gguf {
    /// Returns the tensors' byte ranges, in the order of their data. Leaves out tensors of a type of unknown size.
    pub fn places(&self) -> Vec<TensorPlace> {
        let place = |tensor: &super::gguf::Tensor| {
            let block = tensor.kind.block()?;
            let begin = self.data_begin.checked_add(tensor.begin)?;
            let length = (tensor.elements / block.elements).checked_mul(block.bytes)?;
            Some(TensorPlace { name: tensor.name.clone(), begin, end: begin.checked_add(length)? })
        };
        self.tensors.iter().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{gguf, safetensors};
    use super::*;

    #[test]
    fn wrappers_are_no_part_of_a_short_name() {
        let short =
            |name: &str| TensorPlace { name: name.to_owned(), begin: 0, end: 1 }.short_name().to_owned();
        for name in ["layers.0.q.weight", "model.layers.0.q.weight", "language_model.model.layers.0.q.weight"]
        {
            assert_eq!(short(name), "layers.0.q.weight");
        }
        assert_eq!(short("model.embed_tokens.weight"), "embed_tokens.weight");
        for name in ["a", "0", "a.b", "0.b", ".", ""] {
            assert_eq!(short(name), name);
        }
    }

    #[test]
    fn places_are_in_the_file_whatever_its_format() {
        let bytes = safetensors::tests::sample();
        let length =
            safetensors::header_len(*bytes.first_chunk().expect("eight"), bytes.len() as u64).expect("fits");
        let header = &bytes[8..8 + length as usize];
        let places = safetensors::parse(header, bytes.len() as u64).expect("a header").places(length);
        assert_eq!(places.first().map(|it| it.begin), Some(8 + length));
        assert_eq!(places.last().map(|it| it.end), Some(bytes.len() as u64));
        let bytes = gguf::tests::sample();
        let file = gguf::read(&mut &bytes[..], bytes.len() as u64).expect("a header");
        let places = file.places();
        assert!(!places.is_empty() && places.iter().all(|it| it.end <= bytes.len() as u64), "{places:?}");
    }
}
