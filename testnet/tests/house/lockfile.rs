//! Checks the minimum versions of the crates that a peer's bytes reach. Some of the advisories are in no database that a
//! tool would ask.

use reg_testnet::process::workspace;
use toml::Value;

/// Crate, first version without the known flaws, and which they are.
const MINIMA: [(&str, &str, &str); 14] = [
    ("libp2p", "0.57.0", "RUSTSEC-2022-0084 and what followed"),
    ("libp2p-core", "0.31.1", "RUSTSEC-2022-0009"),
    (
        "libp2p-gossipsub",
        "0.50.1",
        "CVE-2026-33040, CVE-2026-34219, GHSA-g3g5-x568-qvqx, GHSA-vrx6-jcp8-vm7m",
    ),
    ("yamux", "0.13.10", "CVE-2026-31814, CVE-2026-32314"),
    ("snow", "0.9.5", "CVE-2024-58265"),
    ("quinn-proto", "0.11.15", "CVE-2024-45311, CVE-2026-31812, CVE-2026-25800"),
    ("libp2p-quic", "0.13.1", "GHSA-5hq8-qhww-jm7q"),
    ("rustls", "0.23.18", "CVE-2024-32650, CVE-2024-11738"),
    ("rustls-webpki", "0.103.13", "RUSTSEC-2026-0049, -0098, -0099, -0104"),
    ("hickory-proto", "0.26.1", "RUSTSEC-2026-0118"),
    ("ed25519-dalek", "2.0.0", "RUSTSEC-2022-0093"),
    ("h2", "0.4.4", "RUSTSEC-2024-0332"),
    ("hyper", "1.0.0", "HTTP/1 request smuggling of 0.14"),
    ("tokio", "1.43.1", "RUSTSEC-2025-0023"),
];

fn version(text: &str) -> Vec<u64> {
    let numbers = text.split(['-', '+']).next().unwrap_or(text);
    numbers.split('.').filter_map(|number| number.parse().ok()).collect()
}

fn packages() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(workspace().join("Cargo.lock")).expect("a lock file");
    let lock: Value = toml::from_str(&text).expect("TOML");
    let packages = lock["package"].as_array().expect("packages").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages.map(|package| (text(&package["name"]), text(&package["version"]))).collect()
}

#[test]
fn no_copy_of_a_crate_is_older_than_its_last_known_flaw() {
    let packages = packages();
    for (name, minimum, why) in MINIMA {
        for (_, found) in packages.iter().filter(|(package, _)| package == name) {
            assert!(version(found) >= version(minimum), "{name} {found} has {why}: {minimum} is needed");
        }
    }
    for needed in ["libp2p-gossipsub", "yamux", "quinn-proto", "rustls", "snow"] {
        assert!(
            packages.iter().any(|(package, _)| package == needed),
            "{needed} is not in the lock file any more"
        );
    }
    assert!(version("0.9.4") < version("0.9.5") && version("0.13.10") > version("0.13.9"));
}
