//! `reg` in places that other systems make: spaces, `~`, line ends of Windows, a slash at the end, two users, root.

use std::path::Path;

use crate::aids::{err, out, ran, reg};

fn done(home: &Path, args: &[&str]) -> String {
    let output = ran(home, args);
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    out(&output)
}

#[test]
fn a_home_with_spaces_and_a_slash_at_its_end_is_one_home() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("my reg home");
    done(&home, &["key", "new", "me"]);
    let model = dir.path().join("my model");
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("con fig.json"), r#"{"model_type":"tiny"}"#).expect("written");
    done(&home, &["publish", &model.to_string_lossy(), "tiny:v1", "--key", "me", "--offline"]);
    let with_slash = format!("{}/", home.display());
    let listed = |home: &str| done(Path::new(home), &["ls", "--json"]);
    assert_eq!(listed(&with_slash), listed(&home.to_string_lossy()));
    let path = done(Path::new(&with_slash), &["config", "path"]);
    assert_eq!(path.trim_end(), home.join("config.toml").to_string_lossy());
    let dest = dir.path().join("out put");
    done(&home, &["pull", "me/tiny:v1", &dest.to_string_lossy(), "--offline"]);
    assert!(dest.join("con fig.json").is_file());
}

#[test]
fn a_tilde_is_the_home_directory_in_flags_variables_and_values() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |args: &[&str], home: Option<&str>| {
        let mut command = reg(Path::new("x"), args);
        command.env_remove("REG_HOME").env("HOME", dir.path());
        home.map(|it| command.env("REG_HOME", it));
        out(&command.output().expect("reg runs"))
    };
    let expected = format!("{}\n", dir.path().join("a b/config.toml").display());
    assert_eq!(at(&["config", "path", "--home=~/a b"], None), expected);
    assert_eq!(at(&["config", "path"], Some("~/a b")), expected);
    std::fs::create_dir_all(dir.path().join("a b")).expect("a folder");
    std::fs::write(dir.path().join("a b/config.toml"), "[domains]\nca_file = '~/ca.pem'\n").expect("written");
    let file = at(&["config", "get", "domains.ca_file", "--home=~/a b"], None);
    assert_eq!(file, format!("{}\n", dir.path().join("ca.pem").display()));
}

#[test]
fn line_ends_of_windows_are_taken_in_files_that_people_edit() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("home");
    done(&home, &["key", "new", "me"]);
    std::fs::write(home.join("config.toml"), "\u{feff}[node]\r\nmdns = false\r\n").expect("written");
    let publisher: serde_json::Value =
        serde_json::from_str(&done(&home, &["key", "show", "me", "--json"])).expect("JSON");
    let publisher = publisher["publisher"].as_str().expect("an id");
    let trust = format!("# mine\r\n[petnames]\r\nfriend = \"{publisher}\"\r\n");
    std::fs::write(home.join("trust.toml"), trust).expect("written");
    assert_eq!(done(&home, &["config", "get", "node.mdns"]), "false\n");
    assert!(done(&home, &["trust", "ls"]).contains("friend"));
    let model = dir.path().join("model");
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("config.json"), r#"{"model_type":"tiny"}"#).expect("written");
    std::fs::write(model.join("notes.txt"), "not for others").expect("written");
    std::fs::write(model.join(".regignore"), "# mine\r\nnotes.txt\r\n\r\n").expect("written");
    done(&home, &["publish", &model.to_string_lossy(), "tiny:v1", "--key", "me", "--offline"]);
    let files = done(&home, &["files", "friend/tiny:v1"]);
    assert!(files.contains("config.json") && !files.contains("notes.txt"), "{files}");
}

#[test]
fn a_second_user_learns_that_the_ports_are_taken_and_how_to_take_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let refused = ran(&dir.path().join("second"), &["daemon", "--offline", "--http", &address]);
    assert_eq!(refused.status.code(), Some(6), "{}", err(&refused));
    for word in [address.as_str(), "another program listens there", "--http", "http.listen"] {
        assert!(err(&refused).contains(word), "{word}: {}", err(&refused));
    }
}

/// As `sudo reg daemon` does with the user's own home. Only root can give a folder away, so only root can test it.
#[test]
#[cfg(unix)]
fn root_in_the_folder_of_another_user_is_warned() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("home");
    std::fs::create_dir_all(&home).expect("a folder");
    if std::os::unix::fs::chown(&home, Some(1000), Some(1000)).is_err() {
        println!("SKIPPED: needs root; try: sudo cargo test --test command_line root_in");
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    // It is warned before anything else, so a daemon that does not start is enough.
    let said = err(&ran(&home, &["daemon", "--offline", "--http", &address]));
    assert!(said.contains("warning: root runs in") && said.contains("user 1000"), "{said}");
}
