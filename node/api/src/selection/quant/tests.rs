//! Which files a quantisation means, among the names that people give to theirs.

use super::*;

fn paths(names: &[&str]) -> Vec<SafePath> {
    names.iter().map(|name| name.parse().expect("a path")).collect()
}

fn shown(picked: Result<Picked<'_>, PickError>) -> Result<(Vec<String>, usize), PickError> {
    picked.map(|it| (it.files().map(ToString::to_string).collect(), it.others.len()))
}

fn try_pick(tag: &str, names: &[&str]) -> Result<(Vec<String>, usize), PickError> {
    let (paths, tag) = (paths(names), tag.parse::<Quant>().expect("a tag"));
    shown(tag.pick(&paths.iter().collect::<Vec<_>>()))
}

fn picked(tag: &str, names: &[&str]) -> Vec<String> {
    try_pick(tag, names).expect("a model").0
}

fn by_default(names: &[&str], whole_first: bool) -> Result<(Vec<String>, usize), PickError> {
    let paths = paths(names);
    shown(pick_default(&paths.iter().collect::<Vec<_>>(), whole_first))
}

/// As in the repositories of those that quantise most.
const MANY: [&str; 18] = [
    "BF16/Model-BF16-00001-of-00002.gguf",
    "BF16/Model-BF16-00002-of-00002.gguf",
    "Model-IQ4_XS.gguf",
    "Model-MXFP4_MOE.gguf",
    "Model-Q4_K_M.gguf",
    "Model-Q4_K_S.gguf",
    "Model-Q8_0.gguf",
    "Model-UD-Q4_K_XL.gguf",
    "Model-UD-Q8_K_XL.gguf",
    "Model-i1-Q4_K_M.gguf",
    "Model-mtp-Q4_K_M.gguf",
    "README.md",
    "UD-Q2_K_XL/Model-UD-Q2_K_XL-00001-of-00002.gguf",
    "UD-Q2_K_XL/Model-UD-Q2_K_XL-00002-of-00002.gguf",
    "imatrix_unsloth.dat",
    "imatrix_unsloth.gguf",
    "model-q5_k_m.gguf",
    "tiny_q6_k.gguf",
];

#[test]
fn each_name_of_a_quantisation_means_one_file() {
    for (tag, file) in [
        ("Q4_K_M", "Model-Q4_K_M.gguf"),
        ("q4_k_m", "Model-Q4_K_M.gguf"),
        ("i1-Q4_K_M", "Model-i1-Q4_K_M.gguf"),
        ("I1-Q4_K_M", "Model-i1-Q4_K_M.gguf"),
        ("Q4_K_S", "Model-Q4_K_S.gguf"),
        ("IQ4_XS", "Model-IQ4_XS.gguf"),
        ("UD-Q4_K_XL", "Model-UD-Q4_K_XL.gguf"),
        ("Q4_K_XL", "Model-UD-Q4_K_XL.gguf"),
        ("UD-Q8_K_XL", "Model-UD-Q8_K_XL.gguf"),
        ("MXFP4_MOE", "Model-MXFP4_MOE.gguf"),
        ("Q5_K_M", "model-q5_k_m.gguf"),
        ("Q8_0", "Model-Q8_0.gguf"),
        ("Q6_K", "tiny_q6_k.gguf"),
    ] {
        assert_eq!(try_pick(tag, &MANY), Ok((vec![file.to_owned()], 0)), "{tag}");
    }
    assert_eq!(picked("BF16", &MANY), MANY[..2]);
    assert_eq!(picked("UD-Q2_K_XL", &MANY), MANY[12..14]);
    assert_eq!(picked("Q2_K_XL", &MANY), MANY[12..14]);
}

#[test]
fn another_quantisation_is_never_taken_in_its_place() {
    for tag in ["F16", "Q4_XS", "Q4_K", "K_M", "MXFP4", "Q4_0", "imatrix", "Q2_K", "XL", "M", "0"] {
        let found = try_pick(tag, &MANY);
        assert!(matches!(found, Err(PickError::NoQuant { .. })), "{tag}: {found:?}");
    }
    assert_eq!(try_pick("Q4_0", &["README.md", "mmproj-Q4_0.gguf"]), Err(PickError::NoGguf));
}

#[test]
fn takes_the_splits_and_the_nearest_projector() {
    let names = [
        "README.md",
        "mmproj-F16.gguf",
        "mmproj-Q8_0.gguf",
        "x-IQ4_XS.gguf",
        "x-Q4_K_M-00001-of-00002.gguf",
        "x-Q4_K_M-00002-of-00002.gguf",
        "x-Q8_0.gguf",
        "x-mtp-Q8_0.gguf",
    ];
    let split = ["x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf", "mmproj-Q8_0.gguf"];
    assert_eq!(picked("q4_k_m", &names), split);
    assert_eq!(picked("Q8_0", &names), ["x-Q8_0.gguf", "mmproj-Q8_0.gguf"]);
}

#[test]
fn one_directory_for_each_quantisation_is_told_apart() {
    let names = ["Q4_K_M/x-Q4_K_M.gguf", "Q8_0/mmproj-F16.gguf", "Q8_0/x-Q8_0.gguf", "mmproj-BF16.gguf"];
    assert_eq!(picked("Q8_0", &names), ["Q8_0/x-Q8_0.gguf", "Q8_0/mmproj-F16.gguf"]);
    assert_eq!(picked("Q4_K_M", &names), ["Q4_K_M/x-Q4_K_M.gguf", "mmproj-BF16.gguf"]);
    // The folder alone may say it.
    assert_eq!(picked("Q8_0", &["Q4_0/model.gguf", "Q8_0/model.gguf"]), ["Q8_0/model.gguf"]);
}

#[test]
fn two_models_of_one_quantisation_are_both_named() {
    assert_eq!(try_pick("Q4_0", &["a-Q4_0.gguf", "b-Q4_0.gguf"]), Ok((vec!["a-Q4_0.gguf".to_owned()], 1)));
    // The same model once more is not another one.
    let twice = ["old/x-Q4_0.gguf", "x-Q4_0.gguf", "x-imat-Q4_0.gguf"];
    assert_eq!(try_pick("Q4_0", &twice), Ok((vec!["x-Q4_0.gguf".to_owned()], 0)));
    // Words may follow.
    assert_eq!(picked("IQ3_S", &["x-IQ3_S-imat.gguf", "x-Q4_0.gguf"]), ["x-IQ3_S-imat.gguf"]);
}

#[test]
fn half_a_split_model_is_no_model() {
    let names = ["x-Q4_0-00001-of-00003.gguf", "x-Q4_0-00003-of-00003.gguf"];
    let first: SafePath = names[0].parse().expect("a path");
    assert_eq!(try_pick("Q4_0", &names), Err(PickError::Incomplete { first, total: 3, missing: 1 }));
    let last: SafePath = names[1].parse().expect("a path");
    let missing = PickError::Incomplete { first: last, total: 3, missing: 2 };
    assert_eq!(try_pick("Q4_0", &names[1..]), Err(missing), "the first one is missing too");
    assert_eq!(by_default(&names, true).map_err(|it| it.to_string().contains("missing")), Err(true));
}

#[test]
fn without_a_wish_the_usual_one_is_taken() {
    let one = |names: &[&str], whole_first| by_default(names, whole_first).expect("a model").0;
    assert_eq!(one(&MANY, true), ["Model-Q4_K_M.gguf"]);
    let names = ["x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf", "x-Q8_0.gguf"];
    assert_eq!(one(&names, true), ["x-Q8_0.gguf"], "a model in one file, where splits are of no use");
    assert_eq!(one(&names, false), names[..2]);
    assert_eq!(one(&names[..2], true), names[..2], "the caller refuses it");
    let names = ["imatrix.gguf", "mmproj-F16.gguf", "x-Q5_K_M.gguf", "x-Q6_K.gguf"];
    assert_eq!(by_default(&names, true), Ok((vec![names[2].to_owned(), names[1].to_owned()], 0)));
    assert_eq!(by_default(&["a-Q5_0.gguf", "b-Q5_0.gguf"], true).expect("one").1, 1, "of two models");
    assert_eq!(by_default(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], true).expect("one").1, 1);
    assert_eq!(one(&["model.gguf"], true), ["model.gguf"]);
    assert_eq!(by_default(&["model.safetensors", "x-imatrix.gguf"], true), Err(PickError::NoGguf));
}

#[test]
fn a_tag_is_a_word() {
    assert!("Q4_K_M".parse::<Quant>().is_ok() && "UD-Q4_K_XL".parse::<Quant>().is_ok());
    assert!(["", "Q4 K", "*", &"Q".repeat(65)].iter().all(|text| text.parse::<Quant>().is_err()));
    for text in ["q4_k_m", "UD-Q4_K_XL", "i1-IQ2_XXS", "bf16", "F32", "mxfp4_moe", "Q8_0", "TQ1_0"] {
        assert!(super::super::is_quantisation(text), "{text}");
    }
    for text in ["latest", "quick", "v1", "main", "2024-01", "q", "-q4_0", "iqra", "f", "release-3"] {
        assert!(!super::super::is_quantisation(text), "{text}");
    }
}
