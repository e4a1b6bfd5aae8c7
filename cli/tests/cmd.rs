//! The command line as its users see it: every `.md` here is a transcript that is run.

#[test]
fn transcripts() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let cases = trycmd::TestCases::new();
    cases
        .env("REG_HOME", home.path().join("home").to_string_lossy())
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1");
    cases.env("MODELS", home.path().join("models").to_string_lossy());
    std::fs::create_dir_all(home.path().join("models/tiny")).expect("a folder");
    std::fs::write(home.path().join("models/tiny/config.json"), "{\"model_type\":\"tiny\"}")
        .expect("written");
    cases.case("tests/cmd/*.md");
    cases.run();
}
