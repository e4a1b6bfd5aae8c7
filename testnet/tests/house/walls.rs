//! Checks the walls of the house: which crate, module and room may use which, and which names are fenced in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use reg_testnet::process::workspace;

use crate::tidy::{all, code, sources};

/// Our own crates in the order of their dependencies: each may use only those that are named with it.
const CRATES: [(&str, &str, &[&str]); 11] = [
    ("proto/sha256x2", "reg-sha256x2", &[]),
    ("proto", "reg-proto", &["reg-sha256x2"]),
    ("node/api", "reg-api", &["reg-proto"]),
    ("node/keys", "reg-keys", &["reg-api", "reg-proto"]),
    ("node/transfer", "reg-transfer", &["reg-proto"]),
    ("node/commons", "reg-commons", &["reg-proto"]),
    ("node/transfer/simulator", "reg-simulator", &["reg-commons", "reg-proto", "reg-transfer"]),
    ("node/catalogue", "reg-catalogue", &["reg-proto"]),
    (
        "node",
        "reg-node",
        &["reg-api", "reg-catalogue", "reg-commons", "reg-keys", "reg-proto", "reg-transfer"],
    ),
    ("cli", "reg", &["reg-api", "reg-keys", "reg-node", "reg-proto"]),
    (
        "testnet",
        "reg-testnet",
        &["reg-api", "reg-keys", "reg-node", "reg-proto", "reg-simulator", "reg-transfer"],
    ),
];

/// The modules of the node, the lowest first, and those that each may use; itself is always fine.
const MODULES: [(&str, &[&str]); 11] = [
    ("metrics", &[]),
    ("store", &[]),
    ("net", &[]),
    ("state_file", &[]),
    ("webhook", &[]),
    ("webseed", &["net"]),
    ("well_known", &["net"]),
    ("endpoint", &["webseed"]),
    ("registry", &["endpoint", "metrics", "net", "state_file", "store", "webhook", "webseed", "well_known"]),
    ("gateway", &["metrics", "registry"]),
    ("daemon", &["gateway", "registry", "net", "store", "webhook", "webseed", "well_known"]),
];

/// The rooms of the registry, the lowest first, and those that each may use: always rooms above it in this table, so that
/// no circle can cross rooms. `limits`, `deadline` and `chance` are open to all.
const ROOMS: [(&str, &[&str]); 22] = [
    ("price", &[]),
    ("policy", &[]),
    ("model", &["policy"]),
    ("publishers", &["model"]),
    ("trust", &["policy", "publishers", "model"]),
    ("catalogue", &["publishers", "model", "trust"]),
    ("announce", &["price", "publishers", "model", "trust", "catalogue"]),
    ("resolve", &["price", "policy", "publishers", "model", "trust", "announce"]),
    ("domains", &["publishers", "trust", "resolve"]),
    ("fetch", &["resolve"]),
    ("health", &["publishers", "model", "trust", "announce", "resolve", "fetch"]),
    ("pull", &["publishers", "model", "trust", "announce", "resolve", "domains", "fetch"]),
    ("read", &["policy", "model", "resolve", "fetch", "pull"]),
    ("import", &["model", "trust", "pull"]),
    ("publish", &["publishers", "model", "trust", "announce", "resolve", "pull", "import"]),
    ("spread", &["publishers", "model", "trust", "announce", "resolve", "fetch", "health", "pull"]),
    ("serve", &["publishers", "model", "trust", "catalogue", "announce", "fetch", "spread"]),
    ("upstream", &["policy", "model", "fetch", "read", "import"]),
    ("archive", &["publishers", "model", "resolve", "pull"]),
    ("follow", &["publishers", "model", "trust", "resolve", "pull"]),
    ("donate", &["model", "trust", "catalogue", "resolve", "health", "pull", "serve"]),
    (
        "local",
        &["publishers", "model", "trust", "catalogue", "announce", "resolve", "fetch", "health", "pull"],
    ),
];

/// Modules beside the rooms that every room may use.
const OPEN: [&str; 3] = ["limits", "deadline", "chance"];

/// Files of `node/src/registry` outside its rooms.
const BESIDE_ROOMS_MAX: usize = 6;

/// Walls that are broken today: this list may only shrink, and is empty.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Fields of a struct of the registry or of its interface without a line that says why it needs them.
const FIELDS_MAX: usize = 14;

/// The names that stand behind `prefix` in a source, such as the modules in `crate::module`.
fn named(text: &str, prefix: &str) -> Vec<String> {
    let code = code(text);
    let uses = code.match_indices(prefix).filter(|(at, _)| !code[..*at].ends_with("pub(in "));
    uses.map(|(at, word)| {
        code[at + word.len()..].chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
    })
    .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).expect("inside").to_string_lossy().replace('\\', "/")
}

#[test]
fn crates_depend_downwards_only() {
    for (folder, name, may_use) in CRATES {
        let text = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        assert_eq!(manifest["package"]["name"].as_str(), Some(name), "{folder}");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named =
                manifest.get(table).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
            for used in named.filter(|it| it.starts_with("reg-")) {
                assert!(
                    may_use.contains(&used.as_str()),
                    "{folder} uses {used}: it may use {may_use:?} only"
                );
            }
        }
    }
    let text = fs::read_to_string(workspace().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members").len();
    assert_eq!(members, CRATES.len(), "a crate is in the workspace and not in this table");
}

#[test]
fn modules_of_the_node_depend_downwards_only() {
    let allowed: BTreeMap<&str, &[&str]> = MODULES.into_iter().collect();
    for (module, may_use) in MODULES {
        let at = workspace().join("node/src").join(module);
        let file = at.with_extension("rs");
        let of_module = if at.is_dir() {
            sources(&at)
        } else {
            vec![(file.clone(), fs::read_to_string(&file).expect("a source"))]
        };
        for (path, text) in of_module {
            for name in named(&text, "crate::") {
                let fine = name == module
                    || may_use.contains(&name.as_str())
                    || !allowed.contains_key(name.as_str());
                assert!(fine, "{} uses {name}: {module} may use {may_use:?} only", shown(&path));
            }
        }
    }
    assert_eq!(named("use crate::net::Network;\n// crate::x", "crate::"), ["net"]);
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let registry = workspace().join("node/src/registry");
    let mut broken = Vec::new();
    for (place, (room, may_use)) in ROOMS.iter().enumerate() {
        let lower: Vec<&str> = ROOMS[..place].iter().map(|(it, _)| *it).collect();
        assert!(
            may_use.iter().all(|it| lower.contains(it)),
            "{room} may use rooms above itself: {may_use:?}"
        );
        for (path, text) in sources(&registry.join(room)) {
            for name in named(&text, "crate::registry::") {
                let fine = name == *room || may_use.contains(&name.as_str()) || OPEN.contains(&name.as_str());
                if !fine {
                    broken.push((shown(&path), name));
                }
            }
        }
    }
    let expected: Vec<(String, String)> =
        EXCEPTIONS.iter().map(|(file, name)| ((*file).to_owned(), (*name).to_owned())).collect();
    assert_eq!(broken, expected, "files that use a room above their own, or the front door");
}

#[test]
fn the_registry_is_its_rooms_and_a_front_door() {
    let registry = workspace().join("node/src/registry");
    let (mut rooms, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&registry).expect("the registry").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            rooms.push(name);
        } else {
            files.push(name);
        }
    }
    rooms.sort_unstable();
    let mut expected: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    expected.sort_unstable();
    assert_eq!(rooms, expected, "a room is not in the table");
    assert!(files.len() <= BESIDE_ROOMS_MAX, "{files:?} beside the rooms");
    for room in rooms {
        let face = fs::read_to_string(registry.join(&room).join("mod.rs")).expect("a room has a face");
        for word in ["In:", "Out:", "Promise:"] {
            assert!(face.contains(word), "the face of {room} does not say {word}");
        }
    }
}

/// What a room gives to others stands on its face: an item is public and exported there, or stays within the room.
#[test]
fn the_face_of_a_room_says_what_leaves_it() {
    for (path, text) in sources(&workspace().join("node/src/registry")) {
        let (code, shown) = (code(&text), shown(&path));
        let room = shown.trim_start_matches("node/src/registry/").split('/').next().unwrap_or_default();
        let own_room = format!("{}crate::registry::{room})", concat!("pub(", "in "));
        let code = code.replace(&own_room, "");
        for word in [concat!("pub(", "crate)"), concat!("pub(", "in ")] {
            assert!(!code.contains(word), "{shown} has {word}: export it on the face of its room");
        }
        if path.ends_with("mod.rs") {
            assert!(!code.contains(concat!("pub(", "super)")), "{shown} shows something past its own room");
        }
    }
}

/// Tells whether a line of a struct's body is a field. A comment may follow it.
fn is_field(line: &str) -> bool {
    let before_comment = line.split("//").next().unwrap_or_default();
    before_comment.starts_with("    ")
        && !before_comment.starts_with("     ")
        && before_comment.contains(": ")
}

#[test]
fn structs_of_the_registry_and_its_interface_are_small_or_say_why_not() {
    let folders = ["node/src/registry", "node/api/src"].map(|it| sources(&workspace().join(it)));
    for (path, text) in folders.into_iter().flatten() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let name = line.strip_prefix("pub ").or(line.strip_prefix("pub(super) ")).unwrap_or(line);
            let Some(name) = name.strip_prefix("struct ").filter(|it| it.ends_with('{')) else { continue };
            let body = lines[at + 1..].iter().take_while(|line| !line.starts_with('}'));
            let fields = body.filter(|line| is_field(line)).count();
            let doc =
                lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
            let says_why = doc.into_iter().any(|line| line.contains("fields, because"));
            assert!(fields <= FIELDS_MAX || says_why, "{}: {name} has {fields} fields", shown(&path));
        }
        assert!(
            !code(&text).contains(concat!("struct ", "Inner")),
            "{} has a type named Inner",
            shown(&path)
        );
    }
    assert!(is_field("    pub size: u64,") && is_field("    size: u64, // bytes"));
    assert!(!is_field("    /// Bytes: all of them.") && !is_field("        inner: u64,"));
}

/// Words that only some folders may name.
const FENCED: [(&str, &[&str]); 12] = [
    ("reqwest", &["node/src/endpoint", "node/src/webhook", "node/src/webseed", "node/src/well_known"]),
    ("hickory_resolver", &["node/src/well_known"]),
    ("sled", &["node/src/store/index.rs", "node/src/store/index/trees.rs"]),
    ("prometheus_client", &["node/src/metrics"]),
    ("tantivy", &["node/catalogue/src"]),
    ("libp2p", &["node/src/net", "testnet/src/sybil.rs"]),
    (
        "mainline",
        &["node/src/net/rendezvous", "node/tests/net/rendezvous.rs", "testnet/tests/job/strangers.rs"],
    ),
    ("axum", &["node/src/gateway", "node/src/daemon/node.rs", "cli/src/client.rs"]),
    ("clap", &["cli", "node/transfer/simulator/src/bin", "testnet/src/bin"]),
    ("reg_keys::publisher_key", HANDS),
    ("reg_keys::keyring", HANDS),
    ("reg_keys::secret_key", HANDS),
];

/// Where a key may be: no room of the registry is given one.
const HANDS: &[&str] = &["node/src/gateway/signer.rs", "node/src/daemon", "cli", "testnet"];

/// Tells whether a source uses a crate, or a module of a crate, also one in a list of imports.
fn uses(text: &str, word: &str) -> bool {
    let (krate, module) = word.split_once("::").map_or((word, None), |(krate, module)| (krate, Some(module)));
    let prefix = format!("{krate}::");
    let Some(module) = module else { return code(text).contains(&prefix) };
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    code(text).split(&prefix).skip(1).any(|rest| {
        let mut words = rest.split(';').next().unwrap_or_default().split(|it| !is_word(it));
        if rest.starts_with('{') { words.any(|it| it == module) } else { words.next() == Some(module) }
    })
}

#[test]
fn heavy_dependencies_and_keys_stay_behind_their_fences() {
    for (path, text) in all() {
        let shown = shown(&path);
        for (word, homes) in FENCED {
            let fine = !uses(&text, word) || homes.iter().any(|home| shown.starts_with(home));
            assert!(fine, "{shown} names {word}, which belongs to {homes:?}");
        }
    }
    for text in ["use a_b::c::D;", "use a_b::{\n    c, d,\n};", "use a_b::c;", "a_b::c::d(a_b::e)"] {
        assert!(uses(text, "a_b::c"), "{text}");
    }
    for text in ["use a_b::cc::D;", "use a_b::d::{c};", "// a_b::c::D", "use a_b::{cc}; c()"] {
        assert!(!uses(text, "a_b::c"), "{text}");
    }
}

/// Crates that are built and tested without the heavy ones, and the crates that their code may not reach.
const LIGHT: [(&str, &[&str]); 7] = [
    ("reg-proto", &["tokio", "mio", "hyper", "reqwest", "rustix"]),
    ("reg-transfer", &["tokio", "mio", "hyper", "reqwest", "rustix"]),
    ("reg-commons", &["tokio", "mio", "hyper", "reqwest", "rustix"]),
    ("reg-simulator", &["tokio", "mio", "hyper", "reqwest"]),
    ("reg-api", &["mio", "hyper", "reqwest"]),
    ("reg-keys", &["mio", "hyper", "reqwest"]),
    ("reg-catalogue", &["tokio", "mio", "hyper", "reqwest"]),
];

/// What neither the code nor the tests of a light crate reach.
const HEAVY: [&str; 3] = ["libp2p", "sled", "axum"];

/// Returns the names of the crates that a package reaches by edges of these kinds.
fn reached(package: &str, edges: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(&cargo)
        .args(["tree", "--offline", "--package", package, "--edges", edges, "--prefix", "none"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("sha2"), "{tree}");
    tree.lines().filter_map(|line| line.split(' ').next()).map(ToOwned::to_owned).collect()
}

#[test]
fn light_crates_reach_nothing_heavy() {
    let is = |found: &str, name: &str| found == name || found.starts_with(&format!("{name}-"));
    for (package, banned) in LIGHT {
        for (edges, names) in [("normal", banned), ("normal,build,dev", &HEAVY[..])] {
            for found in reached(package, edges) {
                let hit = names.iter().find(|name| is(&found, name));
                assert!(hit.is_none(), "{package} reaches {found} by {edges} dependencies");
            }
        }
    }
}
