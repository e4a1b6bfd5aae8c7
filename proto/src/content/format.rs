//! [`Format`]: the table of the formats that this version recognises. Each row says what loading a file does, and why.
//!
//! A [`ContentKind`] is what a user consents to and what rules name. A format is finer: several formats are of one kind.
//! `reg formats` prints this table, and a test compares it with `docs/formats.md`.

use std::fmt;

use super::kind::{ContentKind, Risk};

/// What a program does that loads a file of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnLoad {
    /// It only reads the file.
    Data,
    /// It may run code that the file contains or names.
    RunsCode,
    /// It is not known what it does.
    Unknown,
}

impl OnLoad {
    /// Returns the word in the table and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::RunsCode => "runs code",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OnLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub format: Format,
    /// The name in JSON and in messages. It never changes.
    pub name: &'static str,
    /// What a user consents to, and what rules name.
    pub kind: ContentKind,
    /// The names that such files usually have.
    pub files: &'static str,
    /// How the format is recognised, and why loading it does what the kind says.
    pub why: &'static str,
}

impl Row {
    /// Returns what loading a file of the format does.
    pub const fn on_load(&self) -> OnLoad {
        self.kind.on_load()
    }
}

macro_rules! formats {
    ($($format:ident $name:literal $kind:ident $files:literal $why:literal)*) => {
        /// A format of a model's file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Format {
            $(#[doc = $why] $format,)*
        }

        /// All formats, in the order of declaration.
        pub const FORMATS: &[Row] = &[
            $(Row {
                format: Format::$format,
                name: $name,
                kind: ContentKind::$kind,
                files: $files,
                why: $why,
            },)*
        ];
    };
}

formats! {
    // Weights.
    Safetensors "safetensors" Safetensors "*.safetensors"
        "A header of JSON, then tensors. Known by the header, which must be valid."
    Gguf "gguf" Gguf "*.gguf"
        "Settings and tensors for llama.cpp, little-endian or big-endian. Known by its magic; the header must be valid."
    GgufPart "gguf-part" Weights "*.gguf.part1of2, *.gguf-split-a"
        "A piece of a GGUF file that was cut by bytes. Known by its name, if all pieces are there and the first one has GGUF's magic."
    Ggml "ggml" Weights "ggml-*.bin"
        "Tensors for ggml before GGUF, as of whisper.cpp. Known by the magics lmgg, fmgg, tjgg and algg."
    Imatrix "imatrix" Weights "imatrix.dat"
        "An importance matrix of llama.cpp before it was GGUF: names and floats. Known by its first entry."
    Onnx "onnx" Onnx "*.onnx"
        "A graph of known operators with tensors. Known by the fields of its protobuf message."
    OnnxData "onnx-data" Weights "*.onnx_data, *.onnx.data"
        "Tensors of an ONNX file, without a header. Known because an ONNX file of the model names it."
    Ort "ort" Weights "*.ort"
        "A graph of ONNX Runtime with tensors. Known by the flatbuffer identifier ORTM."
    Tflite "tflite" Weights "*.tflite"
        "A graph of TensorFlow Lite (LiteRT) with tensors. Known by the flatbuffer identifier TFL3."
    LitertTask "litert-task" Weights "*.task"
        "A zip of TFLite graphs and vocabularies (MediaPipe). Every file inside is judged."
    LitertLm "litertlm" Weights "*.litertlm"
        "TFLite graphs and vocabularies of LiteRT-LM. Known by its magic LITERTLM."
    CoreMl "core-ml" Weights "*.mlmodel"
        "A graph of known layers with tensors. Known by the fields of its protobuf message."
    CoreMlWeights "core-ml-weights" Weights "weight.bin"
        "Tensors of a Core ML program. Known by the sentinels of its blobs."
    OpenVino "openvino" Weights "*.bin beside *.xml"
        "Tensors of an OpenVINO graph, without a header. Known because a graph (XML) of the same name lies beside it."
    Npz "npz" Weights "*.npz"
        "A zip of NumPy arrays. Every array inside is judged: one of objects makes it a pickle."
    Hdf5 "hdf5" Weights "*.h5, *.hdf5"
        "Arrays, and a Keras graph as text. The whole file is searched for a Lambda layer, a function and a module that is not Keras's."
    Keras "keras" Weights "*.keras"
        "A zip of a Keras graph and arrays. The graph is read: it names Keras's own layers only."
    Msgpack "msgpack" Weights "*.msgpack"
        "Arrays by name, as Flax writes them. Known by the structure of its first entries."
    CTranslate2 "ctranslate2" Weights "model.bin"
        "Tensors by name for CTranslate2. Known by the name of its specification."
    FastText "fasttext" Weights "*.bin, *.ftz"
        "Vectors of fastText. Known by its magic 793712314."
    ExecuTorch "executorch" Weights "*.pte"
        "A program of known operators with tensors. Known by the flatbuffer identifier ET12."
    SavedModel "saved-model" Weights "saved_model.pb, *.pb"
        "A TensorFlow graph. The whole file is searched for the operators that saved-model-code lists."
    TfVariables "tf-variables" Weights "variables.data-00000-of-00001"
        "Tensors of a TensorFlow checkpoint, without a header. Known because an index lies beside it."
    TfIndex "tf-index" Weights "variables.index"
        "The names and places of a TensorFlow checkpoint's tensors. Known by its magic at the end."
    TfjsShard "tfjs-shard" Weights "group1-shard1of2.bin"
        "Tensors of TensorFlow.js, without a header. Known because a model.json or weights_manifest.json names it."
    MlcShard "mlc-shard" Weights "params_shard_0.bin"
        "Tensors of MLC LLM, without a header. Known because an ndarray-cache.json or tensor-cache.json names it."
    XgboostUbj "xgboost-ubj" Weights "*.ubj"
        "Trees of XGBoost as UBJSON. Known by its first key."
    // Documents.
    Json "json" Json "*.json"
        "Text between braces or brackets; trees of XGBoost too."
    Text "text" Text "*.txt, *.md, *.jinja"
        "Text in UTF-8, UTF-16 with a byte order mark, or an older encoding."
    TokenizerModel "tokenizer-model" TokenizerModel "tokenizer.model"
        "A vocabulary of SentencePiece. Known by its first pieces."
    Media "media" Media "*.png, *.wav, *.mp4"
        "A picture, sound or film. Known by its magic."
    Table "table" Dataset "*.csv, *.jsonl, *.parquet, *.arrow"
        "Rows of data. Known by its magic, or by its name where it is text."
    Npy "npy" Dataset "*.npy"
        "One NumPy array. Known by its magic and its header; one of objects is a pickle."
    // What runs.
    Pickle "pickle" Pickle "*.pkl, *.bin, *.joblib, *.ckpt"
        "A pickle calls what it names while it is loaded. Known by walking its opcodes."
    Torch "torch" Pickle "*.pt, *.pth, *.bin"
        "A zip of a pickle and tensors, of torch.save or TorchScript. Known by the pickle in it."
    NpyObjects "npy-objects" Pickle "*.npy, *.npz"
        "A NumPy array of objects contains a pickle. Known by its header."
    Nemo "nemo" Pickle "*.nemo"
        "An archive of NeMo: a configuration that names classes, and a pickle. Known by its name, where it is an archive."
    PyTables "pytables" Pickle "*.h5, *.hdf"
        "HDF5 of PyTables or pandas, which hold objects as pickles. Known by an attribute of PyTables."
    HdfCode "hdf5-code" EmbeddedCode "*.h5"
        "HDF5 with a Keras graph that has a Lambda layer, names a function or a module that is not Keras's, or hides names by escapes. Keras runs the layer's byte code, and imports the module."
    KerasCode "keras-code" EmbeddedCode "*.keras"
        "A Keras graph that has a Lambda layer or names a module that is not Keras's. Loading it runs code."
    SavedModelCode "saved-model-code" EmbeddedCode "saved_model.pb, keras_metadata.pb, *.pb"
        "A TensorFlow graph with PyFunc (py_function), ReadFile, WriteFile, PrintV2, MatchingFiles, WholeFileReader, ImmutableConst or DebugIdentity, or a Lambda layer, a function or a foreign module of Keras."
    TensorRt "tensorrt" Engine "*.engine, *.plan, *.trt"
        "Machine code for a GPU, made by TensorRT. Known by its magic, or by its name where the bytes are unknown."
    Notebook "notebook" Code "*.ipynb"
        "Cells of code, and what they printed."
    Python "python" Code "*.py"
        "A program of Python. trust_remote_code imports it."
    Pth "pth" Code "*.pth"
        "Text of this name is run by Python at its start. Weights of this name are of the format of their bytes."
    Program "program" Code "*.sh, *.js, *.html, Makefile"
        "A program as text, or a page. Known by its name or its first line."
    Executable "executable" Executable "*.so, *.dll, *.pyc"
        "Machine code or byte code. Known by its magic."
    // What is not known.
    Zip "zip" Archive "*.zip"
        "It holds files that are not inspected."
    Archive "archive" Archive "*.tar, *.gz, *.7z"
        "It is compressed, or holds files that are not inspected."
    Unknown "unknown" UnknownBinary "*"
        "Its bytes are of no format of this table."
}

impl Format {
    /// Returns the format's row.
    pub const fn row(self) -> &'static Row {
        &FORMATS[self as usize]
    }

    /// Returns what a user consents to.
    pub const fn kind(self) -> ContentKind {
        self.row().kind
    }

    /// Returns the kind to assume of a file of which only the ends were read, where they do not settle the kind.
    pub const fn kind_by_ends(self) -> ContentKind {
        match self {
            Self::Zip | Self::Npz | Self::Keras | Self::LitertTask => ContentKind::Archive,
            Self::Hdf5 | Self::SavedModel | Self::GgufPart => ContentKind::UnknownBinary,
            other => other.kind(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

impl ContentKind {
    /// Returns what loading a file of this kind does.
    pub const fn on_load(self) -> OnLoad {
        match self.risk() {
            None => OnLoad::Data,
            Some(Risk::RunsWhenLoaded | Risk::Program | Risk::CallsCode) => OnLoad::RunsCode,
            Some(Risk::HiddenFiles | Risk::NotRecognised | Risk::Ambiguous) => OnLoad::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_format_has_its_own_row_and_name() {
        for (number, row) in FORMATS.iter().enumerate() {
            assert_eq!(row.format as usize, number);
            assert_eq!(row.format.row(), row);
        }
        let names: BTreeSet<&str> = FORMATS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        let said = |name: &str| FORMATS.iter().find(|row| row.name == name).map(|row| row.on_load().name());
        for (name, on_load) in [("gguf", "data"), ("hdf5", "data"), ("nemo", "runs code"), ("zip", "unknown")]
        {
            assert_eq!(said(name), Some(on_load), "{name}");
        }
    }

    #[test]
    fn every_kind_but_one_has_a_format() {
        let kinds: BTreeSet<ContentKind> = FORMATS.iter().map(|row| row.kind).collect();
        let without: Vec<ContentKind> =
            ContentKind::ALL.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        assert_eq!(without, [ContentKind::Malformed]);
    }
}
