//! Tests that other OCI tools read the archives of `reg export`: skopeo, oras and tar. What a node imports from one they carry on.

use std::path::Path;
use std::process::Command;

use reg_proto::digest::Digest;
use reg_testnet::clients;
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::tree;

use crate::oci::{carry, host, skopeo};

const MIB: u64 = 1 << 20;

/// Checks a layout with oras, lists the blobs of a tag, and pushes them to a registry.
const ORAS: &str = r#"
import oras.client, oras.layout
layout = oras.layout.NewLayout("@LAYOUT@")
blobs = layout.get_ordered_blobs("v1")
assert blobs[-1] == "@MANIFEST@", blobs
assert all(layout.blob_exists(it) for it in blobs)
into = oras.client.OrasClient(insecure=True, tls_verify=False)
into.auth.set_basic_auth("reg", "@TOKEN@")
layout.push_to_registry(into, "@TO@", tag="v1")
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn skopeo_oras_and_tar_read_an_archive_and_what_they_carry_is_the_model() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let dir = a.path().join("model");
    model::generate(&dir, 5 * MIB, 51);
    [&a, &c].iter().for_each(|home| drop(home.key("me")));
    let reference = a.publish(&dir, "Boxed:v1", "me");
    let [tar, layout, unpacked] = ["boxed.tar", "layout", "unpacked"].map(|it| a.path().join(it));
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let exported = a.json(["export", &reference, "-o", &shown(&tar)]);
    let manifest = text(&exported["models"][0]["manifest"]);
    a.run(["export", &reference, "-o", &shown(&layout)]).ok();
    // tar lists it, and a layout that it has unpacked and packed again is imported: its entries stand in another order.
    let listed = run(Command::new("tar").arg("-tf").arg(&tar));
    assert!(listed.starts_with("oci-layout\nindex.json\nblobs/sha256/"), "{listed}");
    std::fs::create_dir(&unpacked).expect("a folder");
    run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&unpacked));
    assert_eq!(tree::digests(&unpacked), tree::digests(&layout), "both forms have the same files");
    let again = a.path().join("again.tar");
    run(Command::new("tar").args(["--format=pax", "-cf"]).arg(&again).arg("-C").arg(&unpacked).arg("."));
    assert_eq!(b.json(["import", &shown(&again)])["models"][0]["manifest"], manifest.as_str());

    let third = Daemon::start(&c, ["--publish-key", "me"]);
    let (token, publisher) = (http::token(&c), text(&c.json(["key", "show", "me"])["publisher"]));
    let pushed =
        |name: &str| text(&c.json(["info", &format!("{publisher}/{name}:v1")])["summary"]["manifest"]);
    if let Some(skopeo) = skopeo() {
        for from in [format!("oci-archive:{}:v1", tar.display()), format!("oci:{}:v1", layout.display())] {
            let raw = run(skopeo.command("skopeo").args(["inspect", "--raw", &from]));
            assert_eq!(Digest::of(raw.as_bytes()).to_string(), manifest, "{raw}");
            let config = run(skopeo.command("skopeo").args(["inspect", "--config", "--raw", &from]));
            assert!(config.contains("modelfs"), "{config}");
            let to = format!("docker://{}/me/carried:v1", host(&third));
            carry(&skopeo, &from, &to, Some(&token), &[]);
            assert_eq!(pushed("carried"), manifest);
        }
    }
    let oras = clients::python("oras", &clients::ORAS);
    if clients::is_left_out(&oras) {
        return;
    }
    let script = ORAS
        .replace("@LAYOUT@", &shown(&layout))
        .replace("@MANIFEST@", &manifest)
        .replace("@TOKEN@", &token)
        .replace("@TO@", &format!("{}/me/by-oras:v1", host(&third)));
    let oras = oras.expect("oras is installed");
    run(Command::new(oras.program("python")).args(["-c", &script]));
    assert_eq!(pushed("by-oras"), manifest);
}
