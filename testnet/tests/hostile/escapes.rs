//! Tests that text of strangers steers no terminal: names, fields and messages with escape sequences, through every command
//! that shows them. Some terminals write the clipboard for OSC 52.

use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::name::Tag;
use reg_proto::tag::TAG_RECORD_TYPE;
use reg_proto::wire::{Records, Request, Response};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home, Ran};
use serde_json::json;

/// Texts that steer a terminal: the clipboard, the screen, the title, the cursor, the direction of writing.
const TEXTS: [&str; 8] = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J\x1b[H",
    "\u{9b}31m",
    "\u{9d}0;x\u{9c}",
    "a\rerror",
    "a\x08\x7f\0b",
    "\u{202e}cba",
    "\x1bP+q544e\x1b\\",
];

fn is_tame(text: &str) -> bool {
    !text.contains(|it: char| (it.is_control() && it != '\n') || ('\u{202a}'..='\u{202e}').contains(&it))
}

/// Checks both outputs of a command, and returns them.
fn tame(ran: &Ran) -> String {
    let said = format!("{}{}", ran.stdout(), ran.stderr());
    assert!(is_tame(&said), "{said:?}");
    said
}

/// Returns a text as an argument: no process takes a zero byte.
fn argument(text: &str) -> String {
    text.replace('\0', "")
}

#[test]
fn a_field_of_a_record_that_nobody_has_signed_is_not_printed_raw() {
    let key = SigningKey::from_bytes(&[91; 32]);
    let first = KeyDocument::first(PublicKey::of(&key));
    let publisher = publisher_id(&first.to_payload());
    std::thread::scope(|scope| {
        for (number, text) in TEXTS.iter().enumerate() {
            let (key, first) = (&key, &first);
            scope.spawn(move || {
                let record = json!({ "publisher": publisher.to_string(), *text: *text });
                // Every second one is not even an envelope.
                let tag = match number % 2 {
                    0 => Envelope::sign(TAG_RECORD_TYPE, record.to_string().into_bytes(), &[key]).to_json(),
                    _ => json!({ "payloadType": TAG_RECORD_TYPE, *text: 1 }).to_string(),
                };
                let records = Records {
                    key_documents: Bounded::first_of([first.clone().sign(key).to_json()]),
                    tags: Bounded::first_of([tag]),
                    ..Records::default()
                };
                let mut script = Script::default();
                for tag in [Some(Tag::latest()), None] {
                    let model = Some("tale".parse().expect("a name"));
                    script.answer(
                        &Request::GetRecords { publisher, model, tag, documents: None },
                        Response::Records(records.clone()),
                    );
                }
                let mut liars = Liars::default();
                let address = liars.tell(script);
                let home = Home::new("P");
                let reference = format!("{publisher}/tale");
                let out = home.path().join("out").to_string_lossy().into_owned();
                let flags = ["--from", &address, "--no-mdns", "--dht", "off", "--no-gossip", "--explain"];
                let mut command = home.command(["pull", &reference, &out].into_iter().chain(flags));
                let ran = home.ran(command.env("REG_LOG", "debug"));
                assert_ne!(ran.code(), 0);
                tame(&ran);
            });
        }
    });
}

/// Writes a model with hostile text in its card and weights.
fn write_model(dir: &Path, text: &str) {
    fs::create_dir_all(dir).expect("a folder");
    let quoted = serde_json::to_string(text).expect("JSON");
    let card = format!(
        "---\nlicense: {quoted}\nlanguage: [{quoted}]\ntags: [{quoted}]\nbase_model: {quoted}\n---\n# {text}\n"
    );
    fs::write(dir.join("README.md"), card).expect("written");
    let config = json!({ "model_type": text, "architectures": [text], text: text, "torch_dtype": text });
    fs::write(dir.join("config.json"), config.to_string()).expect("written");
    let header = json!({ "__metadata__": { text: text }, text: { "dtype": "U8", "shape": [8], "data_offsets": [0, 8] } });
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([1; 8]);
    fs::write(dir.join("model.safetensors"), bytes).expect("written");
}

#[test]
fn what_a_model_claims_is_not_printed_raw_by_any_command_or_gateway() {
    let home = Home::new("A");
    let publisher = home.key("me");
    let _daemon = Daemon::start(&home, ["--offline"]);
    for (number, text) in TEXTS.iter().enumerate() {
        let argument = &argument(text);
        let (dir, name) = (home.path().join(format!("model-{number}")), format!("m{number}"));
        write_model(&dir, text);
        let reference = format!("{publisher}/{name}");
        let path = dir.to_string_lossy().into_owned();
        let publish = ["publish", &path, &name, "--key", "me", "--allow-unsafe"];
        tame(&home.run(publish.into_iter().chain(["--dry-run"])));
        tame(&home.run(publish));
        let out = home.path().join(format!("out-{number}")).to_string_lossy().into_owned();
        for command in [
            &["info", &reference][..],
            &["info", &reference, "--json"],
            &["files", &reference],
            &["ls"],
            &["log", &reference],
            &["pull", &reference, &out, "--explain"],
            &["pull", &reference, &out, "--include", argument],
            &["diff", &reference, &format!("{publisher}/m0")],
            &[
                "attest", &reference, "--key", "me", "--kind", "review", "--result", "pass", "--note",
                argument,
            ],
            &["info", &reference],
        ] {
            tame(&home.run(command));
        }
    }
}

#[test]
fn a_bundle_and_a_command_line_are_not_printed_raw() {
    let home = Home::new("A");
    let dir = home.path().join("model");
    write_model(&dir, "plain");
    let dir = dir.to_string_lossy().into_owned();
    let key = home.path().join("key.pem").to_string_lossy().into_owned();
    fs::write(&key, "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n")
        .expect("written");
    for text in TEXTS {
        let statement =
            json!({ "_type": text, "subject": [{ "name": text, "digest": { "sha256": text } }], text: text });
        let payload = data_encoding::BASE64.encode(statement.to_string().as_bytes());
        let envelope = json!({ "payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{ "sig": "AA==", "keyid": text }] });
        for bundle in [
            json!({ text: 1 }),
            json!({ "mediaType": text }),
            json!({ "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", text: 1 }),
            json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": { "publicKey": { "hint": text }, "tlogEntries": [] },
                "dsseEnvelope": envelope,
            }),
            json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": { text: { "hint": text } },
                "dsseEnvelope": { "payloadType": text, "payload": payload },
            }),
        ] {
            let file = home.path().join("bundle.json").to_string_lossy().into_owned();
            fs::write(&file, bundle.to_string()).expect("written");
            for more in [
                &["--key", &key][..],
                &["--ca", &key],
                &["--ca", &key, "--json"],
                &["--key", &key, "--unsigned", &argument(text)],
            ] {
                let args = ["verify", &dir, "--bundle", &file];
                let ran = home.run(args.into_iter().chain(more.iter().copied()));
                assert_ne!(ran.code(), 0);
                tame(&ran);
            }
        }
        let text = argument(text);
        let unsigned = home.path().join(&text);
        fs::write(&unsigned, text.as_bytes()).or_else(|_| fs::create_dir_all(&unsigned)).expect("written");
        for args in [
            &["info", &text][..],
            &["pull", &text],
            &["pull", &text, "--json"],
            &["info", "me/x", &text],
            &[&text],
            &["verify", &unsigned.to_string_lossy()],
            &["publish", &unsigned.to_string_lossy(), "x", "--key", "me"],
            &["sign", &unsigned.to_string_lossy(), "--key", &text],
            &["key", "new", &text],
            &["trust", "alias", &text, &text],
            &["config", "show", "--home", &unsigned.to_string_lossy()],
        ] {
            tame(&home.run(args));
        }
        let config = home.path().join("config.toml");
        fs::write(&config, format!("[node]\ndht = {}\n", json!(text))).expect("written");
        tame(&home.run(["status"]));
        fs::write(&config, format!("{} = 1\n", json!(text))).expect("written");
        tame(&home.run(["status"]));
        fs::remove_file(&config).expect("removed");
    }
}

/// Clients of the gateways print the messages of their answers.
#[test]
fn no_message_of_a_gateway_steers_the_terminal_of_a_client() {
    let home = Home::new("A");
    let publisher = home.key("me");
    let daemon = Daemon::start(&home, ["--offline"]);
    for text in TEXTS {
        let name: String = text.bytes().map(|it| format!("%{it:02X}")).collect();
        for path in [
            format!("/api/models/{publisher}/{name}"),
            format!("/api/models/{name}/x"),
            format!("/api/models/{publisher}/x/revision/{name}"),
            format!("/{publisher}/x/resolve/main/{name}"),
            format!("/v2/{publisher}/x/manifests/{name}"),
            format!("/v2/{name}/x/blobs/{name}"),
            format!("/v1/info?reference={name}"),
            format!("/uploads/{name}"),
        ] {
            let answer = http::get(&format!("{}{path}", http::base(&daemon)), &[]);
            let mut texts: Vec<String> = answer.headers.into_iter().map(|(_, value)| value).collect();
            if let Ok(value) = serde_json::from_slice(&answer.bytes) {
                strings(&value, &mut texts);
            }
            for said in texts {
                assert!(is_tame(&said), "{path}: {said:?}");
            }
        }
    }
    assert!(is_tame(&daemon.log()), "{:?}", daemon.log());
}

/// Collects the texts of a document, as a client decodes them.
fn strings(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|it| strings(it, found)),
        serde_json::Value::Object(entries) => entries.values().for_each(|it| strings(it, found)),
        _ => {}
    }
}
