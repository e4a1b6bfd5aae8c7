//! Runs every transcript under `tests/cmd` and compares the output with the one that it records.

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

/// Fixed keys, so that transcripts can record their ids and signatures. Their seeds repeat one byte: 7, 8 and 9.
const KEYS: [(&str, &str); 3] = [
    ("me", "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"),
    ("alice", "MC4CAQAwBQYDK2VwBCIEIAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"),
    ("bob", "MC4CAQAwBQYDK2VwBCIEIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ"),
];

/// Each transcript has one home, so that each command sees the effects of those before it.
#[test]
#[cfg(unix)]
fn stories_of_trust() {
    use std::os::unix::fs::PermissionsExt;
    for story in ["keys", "trust"] {
        let home = tempfile::tempdir().expect("a temporary folder");
        let keys = home.path().join("home/keys");
        std::fs::create_dir_all(&keys).expect("a folder");
        for (name, base64) in KEYS {
            let path = keys.join(format!("{name}.pem"));
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
            std::fs::write(&path, pem).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        }
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).expect("ours");
        let cases = trycmd::TestCases::new();
        cases
            .env("REG_HOME", home.path().join("home").to_string_lossy())
            .env("REG_NO_MDNS", "true")
            .env("REG_DHT", "off")
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1");
        cases.case(format!("tests/cmd/trust/{story}.md"));
        cases.run();
    }
}
