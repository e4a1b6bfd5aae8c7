//! Tests that consent is by kind: what is allowed once covers no other kind in a later version, by the command line, by rules,
//! by the configuration and at the gateways.

use std::fs;
use std::path::Path;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};

const PICKLE: &[u8] = b"cos\nsystem\n(S'true'\ntR.";

#[test]
fn consent_to_a_pickle_covers_no_program_of_a_later_version() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 1 << 20, 3);
    fs::write(dir.join("old.bin"), PICKLE).expect("written");
    let path = dir.to_string_lossy().into_owned();
    let daemon = Daemon::start(&a, [""; 0]);
    let publish = ["publish", &path, "m:v1", "--key", "me"];
    a.run(publish).failed(6, "--allow pickle");
    a.run(publish.iter().chain(&["--allow", "code"])).failed(6, "old.bin is of kind pickle");
    a.run(publish.iter().chain(&["--allow", "json"])).failed(2, "needs no consent");
    let reference = text(&a.json(publish.iter().chain(&["--allow", "pickle"]))["reference"]);
    let address = daemon.address();
    let pull = ["pull", &reference, "--cache-only", "--from", &address, "--no-mdns"];
    b.run(pull).failed(6, "--allow pickle");
    b.run(pull.iter().chain(&["--allow", "code,archive"])).failed(6, "--allow pickle");
    b.run(pull.iter().chain(&["--allow", "pickle"])).ok();

    // A rule allows the kind for the publisher's models.
    b.run(["trust", "require", &format!("{publisher}/*"), "--allow", "pickle"]).ok();
    b.run(pull).ok();
    fs::write(dir.join("run.py"), "import os\n").expect("written");
    a.run(publish.iter().chain(&["--allow", "pickle,code"])).ok();
    b.run(pull).failed(6, "run.py is of kind code");
    b.run(pull.iter().chain(&["--allow", "code"])).ok();
}

#[test]
fn a_gateway_serves_the_kinds_that_the_user_allows_and_no_other() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 1 << 20, 3);
    fs::write(dir.join("old.bin"), PICKLE).expect("written");
    fs::write(dir.join("run.py"), "import os\n").expect("written");
    let daemon = Daemon::start(&a, [""; 0]);
    let path = dir.to_string_lossy().into_owned();
    let publish = ["publish", &path, "m", "--key", "me", "--allow", "pickle,code"];
    let reference = text(&a.json(publish)["reference"]);
    let repository = reference.trim_end_matches(":latest");
    for (flags, pickle, code) in
        [(&["--allow", "pickle"][..], 200, 403), (&["--allow-unsafe"], 200, 200), (&[], 403, 403)]
    {
        let home = Home::new("gateway");
        let bootstrap = daemon.address();
        let flags: Vec<&str> = ["--bootstrap", &bootstrap].iter().chain(flags).copied().collect();
        let gateway = Daemon::start(&home, flags);
        let get = |file: &str| {
            http::get(&format!("{}/{repository}/resolve/main/{file}", http::base(&gateway)), &[]).status
        };
        assert_eq!((get("old.bin"), get("run.py"), get("config.json")), (pickle, code, 200));
        gateway.stop();
    }
    // The configuration says the same.
    let config = b.run(["config", "path"]).ok().stdout().trim().to_owned();
    fs::create_dir_all(Path::new(&config).parent().expect("a folder")).expect("a folder");
    fs::write(&config, "[gateway]\nallow = [\"code\"]\n").expect("written");
    let shown = b.run(["config", "show"]).ok().stdout();
    assert!(shown.contains("allow = [\"code\"]"), "{shown}");
    fs::write(&config, "[gateway]\nallow = [\"json\"]\n").expect("written");
    b.run(["config", "show"]).failed(2, "needs no consent");
}
