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

/// Keys that are known, so that ids and what they sign can be written down: seeds of one byte, 7, 8 and 9.
const KEYS: [(&str, &str); 3] = [
    ("me", "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"),
    ("alice", "MC4CAQAwBQYDK2VwBCIEIAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"),
    ("bob", "MC4CAQAwBQYDK2VwBCIEIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ"),
];

/// Stories with a home each: what one command does, the next one sees.
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
