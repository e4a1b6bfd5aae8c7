//! Tells whether a Keras graph calls code: a Lambda layer, or a name that a loader imports from elsewhere.
//!
//! Keras imports `module` and looks up `class_name` there. Its versions differ in what they refuse (CVE-2025-1550,
//! CVE-2025-8747), so a graph counts as data only if every module in it is Keras's own.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Nesting of a graph. Models of models stay far below.
const DEPTH_MAX: usize = 64;

/// Returns whether loading this graph may run code. A graph that cannot be parsed may.
pub(super) fn calls_code(config: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(config);
    match Graph::deserialize(&mut reader) {
        Ok(Graph { is_harmless: true }) => reader.end().is_err(),
        _ => true,
    }
}

/// Tells whether a module that a graph names is Keras's own, and holds layers and not tools.
pub(super) fn is_own_module(name: &str) -> bool {
    ["builtins", "keras"].contains(&name)
        || name.starts_with("keras.") && !name.contains("utils") && !name.contains("saving")
}

/// Tells whether a class that a graph names is a function of the graph's author or of a module.
pub(super) fn is_code(class_name: &str) -> bool {
    matches!(class_name, "Lambda" | "__lambda__" | "function")
}

struct Graph {
    is_harmless: bool,
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Walk { depth: 0, field: Field::Other }.walk(deserializer).map(|is_harmless| Self { is_harmless })
    }
}

/// The field of the value that is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Module,
    ClassName,
    Other,
}

#[derive(Clone, Copy)]
struct Walk {
    depth: usize,
    field: Field,
}

impl Walk {
    fn walk<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn deeper(self, field: Field) -> Self {
        Self { depth: self.depth + 1, field }
    }

    /// Tells whether a text in this field names nothing that runs.
    fn is_harmless(self, text: &str) -> bool {
        match self.field {
            Field::Module => is_own_module(text),
            Field::ClassName => !is_code(text),
            Field::Other => true,
        }
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Walk {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.walk(deserializer)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a Keras graph")
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(self.is_harmless(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut harmless = self.depth < DEPTH_MAX;
        while harmless {
            match items.next_element_seed(self.deeper(Field::Other))? {
                Some(it) => harmless = it,
                None => return Ok(true),
            }
        }
        Err(serde::de::Error::custom("the graph calls code, or is too deep"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let mut harmless = self.depth < DEPTH_MAX;
        while harmless {
            let field = match entries.next_key::<String>()?.as_deref() {
                None => return Ok(true),
                Some("module") => Field::Module,
                Some("class_name") => Field::ClassName,
                Some(_) => Field::Other,
            };
            harmless = entries.next_value_seed(self.deeper(field))?;
        }
        Err(serde::de::Error::custom("the graph calls code, or is too deep"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keras_own_names_are_data() {
        for config in [
            r#"{"module":"keras","class_name":"Functional","config":{"layers":[{"module":"keras.layers","class_name":"Dense"}]}}"#,
            r#"{"module":null,"class_name":"MyLayer","registered_name":"mine>MyLayer"}"#,
            r#"{"module":"builtins","class_name":"dict","config":{"module":"keras.initializers"}}"#,
        ] {
            assert!(!calls_code(config.as_bytes()), "{config}");
        }
        for config in [
            r#"{"layers":[{"class_name":"Lambda"}]}"#,
            r#"{"layers":[{"class_name":"\u004cambda"}]}"#,
            r#"{"config":{"function":{"class_name":"__lambda__","config":{"code":"4wEAAAA="}}}}"#,
            r#"{"module":"os","class_name":"system"}"#,
            r#"{"module":"keras.utils","class_name":"get_file"}"#,
            r#"{"module":"builtins","class_name":"function","config":"eval"}"#,
            r#"{"module":"keras"} x"#,
            "{",
            "",
        ] {
            assert!(calls_code(config.as_bytes()), "{config}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(calls_code(deep.as_bytes()));
    }
}
