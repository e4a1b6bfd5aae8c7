//! What `reg info` says of the descent of models: what publishers claim, what this node has computed, and never the one as the other.

use std::fs;
use std::path::Path;

use reg_testnet::model::{self, Made};
use reg_testnet::process::{Daemon, Home, text, until};

const MIB: u64 = 1 << 20;

/// Writes a model with four tensors, of which the last has this seed, and with a card.
fn written(dir: &Path, last: u64, card: &str) {
    fs::create_dir_all(dir).expect("a folder");
    let tensor = |(number, seed)| Made { name: format!("layers.{number}.weight"), elements: MIB / 4, seed };
    let tensors: Vec<Made> = [1, 2, 3, last].into_iter().enumerate().map(tensor).collect();
    model::safetensors(&dir.join("model.safetensors"), &tensors);
    fs::write(dir.join("README.md"), format!("---\nlicense: mit\n{card}---\n\nGenerated.\n"))
        .expect("written");
}

/// Says what `reg info` prints of the lineage, in one line for each line.
fn lineage(home: &Home, args: &[&str]) -> String {
    let said = home.run(["info", "--full"].iter().chain(args)).ok().stdout();
    let lines = said.lines().skip_while(|it| !it.starts_with("lineage"));
    lines
        .take_while(|it| !it.starts_with("checked") && !it.starts_with("files"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn claimed_descent_is_shown_with_what_was_computed_apart_from_it() {
    let [a, b] = ["A", "B"].map(Home::new);
    let id = a.key("me");
    let server = Daemon::start(&a, ["--dht", "off"]);
    let publish = |name: &str, last: u64, base: Option<&str>| {
        let dir = a.path().join(name);
        let card = base.map_or_else(String::new, |it| format!("base_model: {it}\n"));
        written(&dir, last, &card);
        a.publish(&dir, name, "me")
    };
    let base = publish("base", 4, None);
    let name = format!("{id}/base");
    let tuned = publish("tuned", 5, Some(&name));
    publish("same", 4, Some(&name));
    publish("liar", 99, Some("Qwen/Qwen2.5-0.5B"));

    let manifest = text(&a.json(["info", &base])["summary"]["manifest"]);
    let said = lineage(&a, &[&tuned]);
    let claim = format!("derived from: {name} (its publisher's claim): {name} (in the store), {manifest}");
    assert!(said.contains(&claim), "{said}");
    assert!(said.contains("computed: not yet; `reg info"), "{said}");
    let said = lineage(&a, &[&format!("{id}/liar")]);
    assert!(said.contains("derived from: Qwen/Qwen2.5-0.5B (its publisher's claim)\n"), "{said}");
    assert!(said.contains("computed: not, because none of these models is in the store"), "{said}");
    let said = lineage(&a, &[&base]);
    assert!(said.contains("derived from: nothing that its publisher names"), "{said}");
    assert!(said.contains("derived from it, by their publishers' claims: 2 models"), "{said}");
    assert!(said.contains("/tuned (in the store)") && said.contains("/same (in the store)"), "{said}");
    assert!(!said.contains("liar"), "{said}");

    // Three of four tensors are the same, byte for byte; of the copy all are.
    let said = lineage(&a, &[&tuned, "--lineage"]);
    let line = format!(
        "with {name} (its base, as claimed): 3 of 4 tensors are the same (75.0 %; of the bytes 75.0 %)"
    );
    assert!(said.contains(&line), "{said}");
    let info = a.json(["info", &base, "--lineage"]);
    let shared = info["lineage"]["shared"].as_array().expect("a list").clone();
    let mut counted: Vec<(String, u64)> = shared
        .iter()
        .map(|it| (text(&it["with"]["model"]), it["same"].as_u64().expect("a number")))
        .collect();
    counted.sort();
    assert_eq!(counted, [("same".to_owned(), 4), ("tuned".to_owned(), 3)], "{info}");
    assert!(shared.iter().all(|it| it["tensors"] == 4 && it["bytes"] == 4 * MIB && it["is_base"] == false));
    assert!(a.json(["info", &base])["lineage"]["shared"].is_null(), "it is computed on request only");

    // A node that has neither model knows the claims, by its own name for the publisher, and says that nothing is computed.
    let _daemon = Daemon::start(&b, ["--dht", "off", "--bootstrap", &server.address()]);
    b.run(["trust", "add", "acme", &id]).ok();
    until("the catalogue has all of them", || {
        b.json(["search"])["results"].as_array().is_some_and(|it| it.len() == 4)
    });
    let said = lineage(&b, &["acme/tuned"]);
    let claim = format!("derived from: {name} (its publisher's claim): acme/base, {manifest}");
    assert!(said.contains(&claim), "{said}");
    assert!(said.contains("computed: not, because the model is not in the store"), "{said}");
    b.pull("acme/base", &[&server.address()], &[]).ok();
    let said = lineage(&b, &["acme/base"]);
    assert!(said.contains("2 models") && !said.contains("(in the store)"), "{said}");
    assert!(said.contains("computed: not, because none of these models is in the store"), "{said}");
}

#[test]
fn tensors_are_the_same_where_name_type_shape_and_bytes_are() {
    let a = Home::new("A");
    let id = a.key("me");
    let _daemon = Daemon::start(&a, ["--dht", "off"]);
    let tensor = |name: &str, elements, seed| Made { name: name.to_owned(), elements, seed };
    let publish = |name: &str, tensors: &[Made], base: &str| {
        let dir = a.path().join(name);
        fs::create_dir_all(&dir).expect("a folder");
        let (first, rest) = tensors.split_at(tensors.len() / 2);
        model::safetensors(&dir.join("one.safetensors"), first);
        model::safetensors(&dir.join("two.safetensors"), rest);
        fs::write(dir.join("README.md"), format!("---\nbase_model: {base}\n---\n")).expect("written");
        a.publish(&dir, name, "me")
    };
    let of_base = [
        tensor("a", 1000, 1),
        tensor("b", 300_000, 2),
        tensor("c", 10, 3),
        tensor("renamed", 50, 4),
        tensor("shorter", 60, 5),
        tensor("other", 700_000, 6),
    ];
    // The tensors lie elsewhere: in other files, in another order, after others.
    let of_tuned = [
        tensor("other", 700_000, 7),
        tensor("b", 300_000, 2),
        tensor("more", 5, 9),
        tensor("shorter", 59, 5),
        tensor("is-renamed", 50, 4),
        tensor("a", 1000, 1),
        tensor("c", 10, 3),
    ];
    publish("base", &of_base, "none");
    let tuned = publish("tuned", &of_tuned, &format!("{id}/base"));
    let shared = a.json(["info", &tuned, "--lineage"])["lineage"]["shared"][0].clone();
    let same_bytes = 4 * (300_000 + 1000 + 10);
    assert_eq!((&shared["tensors"], &shared["same"]), (&7.into(), &3.into()), "{shared}");
    assert_eq!((&shared["same_bytes"], &shared["left_out"]), (&same_bytes.into(), &0.into()), "{shared}");
}
