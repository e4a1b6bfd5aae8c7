//! Models elsewhere in the lists of gateways: after those in the store, page by page, each once, and never what is denied, not
//! taken or unlisted. Hugging Face's own client finds and downloads one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::tree;
use serde_json::{Value, json};

use crate::hf::{client, hf, ok};

const QUIET: [&str; 2] = ["--dht", "off"];

/// Writes a small model with a card, and returns its directory.
fn written(home: &Home, name: &str, card: &str) -> PathBuf {
    let dir = home.path().join(name);
    let seed = name.bytes().map(u64::from).sum();
    model::generate(&dir, 4000, seed);
    fs::write(dir.join("README.md"), format!("---\n{card}\n---\n\n{name}\n")).expect("written");
    dir
}

fn publish(home: &Home, name: &str, card: &str) {
    home.publish(&written(home, name, card), name, "me");
}

fn ids(served: &Served) -> Vec<String> {
    served.json().as_array().into_iter().flatten().map(|it| text(&it["id"])).collect()
}

fn models(daemon: &Daemon, query: &str) -> Served {
    http::get(&format!("{}/api/models?{query}", http::base(daemon)), &[])
}

fn found(daemon: &Daemon, query: &str) -> Vec<String> {
    ids(&models(daemon, query))
}

/// Follows the links to the next pages; returns the pages.
fn pages(daemon: &Daemon, path: &str, names: impl Fn(&Served) -> Vec<String>) -> Vec<Vec<String>> {
    let mut url = format!("{}{path}", http::base(daemon));
    let mut pages = Vec::new();
    loop {
        let page = http::get(&url, &[]);
        pages.push(names(&page));
        assert!(pages.len() < 50, "{pages:?}");
        let Some(link) = page.header("link") else { return pages };
        let (next, rest) = link.trim_start_matches('<').split_once('>').expect("a link");
        assert_eq!(rest, "; rel=\"next\"");
        url = if next.starts_with('/') { format!("{}{next}", http::base(daemon)) } else { next.to_owned() };
    }
}

fn repositories(served: &Served) -> Vec<String> {
    served.json()["repositories"].as_array().into_iter().flatten().map(text).collect()
}

/// Two nodes: the publisher `acme` with five models, and one that calls it so, with two models of its own, `mine`.
struct World {
    a: Home,
    b: Home,
    server: Daemon,
    daemon: Daemon,
    acme: String,
}

impl World {
    fn new() -> Self {
        let [a, b] = ["A", "B"].map(Home::new);
        let (acme, own) = (a.key("me"), b.key("me"));
        let server = Daemon::start(&a, QUIET);
        publish(&a, "alpha", "license: mit\nlanguage: en\npipeline_tag: text-generation");
        publish(&a, "beta", "license: apache-2.0\nlanguage: [de, fr]\npipeline_tag: text-generation");
        publish(&a, "gamma", "license: mit\nbase_model: acme/alpha");
        publish(&a, "Delta", "license: mit\npipeline_tag: fill-mask");
        a.publish(&written(&a, "epsilon", "license: mit"), "epsilon:v1", "me");
        let daemon = Daemon::start(&b, [&QUIET[..], &["--bootstrap", &server.address()]].concat());
        publish(&b, "zeta", "license: mit\nlanguage: en");
        publish(&b, "alpha", "license: gpl-3.0");
        b.run(["trust", "add", "acme", &acme]).ok();
        b.run(["trust", "add", "mine", &own]).ok();
        Self { a, b, server, daemon, acme }
    }

    fn until_found(&self, query: &str, expected: &[&str]) {
        let mut last = Vec::new();
        until(&format!("{query} finds {expected:?}, and not {last:?}"), || {
            last = found(&self.daemon, query);
            last == expected
        });
    }
}

#[test]
fn models_elsewhere_follow_those_in_the_store_on_every_page_and_are_each_there_once() {
    let world = World::new();
    let daemon = &world.daemon;
    let all = ["mine/alpha", "mine/zeta", "acme/alpha", "acme/beta", "acme/Delta", "acme/gamma"];
    let sorted = |query: &str| {
        let mut found = found(daemon, query);
        found[2..].sort_by_key(|it| it.to_lowercase());
        found
    };
    until("the catalogue has all of them", || found(daemon, "").len() == all.len());
    assert_eq!(sorted(""), all, "`epsilon` has no branch main");
    assert_eq!(models(daemon, "").header("x-total-count"), Some("6".to_owned()));
    for limit in 1..=7 {
        let pages = pages(daemon, &format!("/api/models?sort=id&direction=1&limit={limit}"), ids);
        assert_eq!(pages.concat(), all, "{limit}");
        assert!(pages.iter().all(|it| it.len() <= limit));
    }
    assert_eq!(
        models(daemon, "limit=1&cursor=5").json()[0]["id"],
        found(daemon, "")[5],
        "a cursor counts both"
    );

    // What is in the store is described as before; of the others it is said that their files are not known.
    let full = models(daemon, "full=true").json();
    let has_files: Vec<bool> =
        full.as_array().into_iter().flatten().map(|it| it.get("siblings").is_some()).collect();
    assert_eq!(has_files, [true, true, false, false, false, false]);
    let is_elsewhere = |it: &Value| it.get("inStore") == Some(&json!(false));
    assert_eq!(full.as_array().expect("a list").iter().filter(|it| is_elsewhere(it)).count(), 4);
    let beta = &models(daemon, "search=beta").json()[0];
    assert_eq!(beta["tags"], json!(["text-generation", "de", "fr", "safetensors", "license:apache-2.0"]));
    let card =
        json!({ "license": "apache-2.0", "language": ["de", "fr"], "pipeline_tag": "text-generation" });
    assert_eq!((&beta["pipeline_tag"], &beta["cardData"]), (&json!("text-generation"), &card));

    // Every filter that the catalogue can answer finds in both.
    let acme = &world.acme;
    let table: [(&str, &[&str]); 16] = [
        ("search=alpha&filter=license:mit", &["acme/alpha", "acme/gamma"]),
        ("search=alpha&sort=id&direction=1", &["mine/alpha", "acme/alpha", "acme/gamma"]),
        ("search=alpha+nothing", &[]),
        ("search=---", &[]),
        ("author=acme&sort=id&direction=1", &["acme/alpha", "acme/beta", "acme/Delta", "acme/gamma"]),
        (&format!("author={acme}&search=BET"), &["acme/beta"]),
        ("author=nobody", &[]),
        ("pipeline_tag=fill-mask", &["acme/Delta"]),
        ("filter=license:apache-2.0", &["acme/beta"]),
        ("filter=language:de&filter=text-generation", &["acme/beta"]),
        ("filter=en&sort=id&direction=1", &["mine/zeta", "acme/alpha"]),
        ("language=fr", &["acme/beta"]),
        ("filter=base_model:acme/alpha", &["acme/gamma"]),
        ("library=gguf", &[]),
        ("gated=true", &[]),
        ("filter=safetensors,license:mit&search=gamma", &["acme/gamma"]),
    ];
    for (query, expected) in table {
        assert_eq!(found(daemon, query), expected, "{query}");
    }
    let overview = |user: &str| {
        let url = format!("{}/api/users/{user}/overview", http::base(daemon));
        http::get(&url, &[]).json()["numModels"].clone()
    };
    assert_eq!((overview("acme"), overview("mine")), (json!(4), json!(2)));

    // A look at a model, or a file of it, does not take it out of the list.
    for path in ["api/models/acme/gamma", "acme/gamma/resolve/main/config.json"] {
        assert_eq!(http::get(&format!("{}/{path}", http::base(daemon)), &[]).status, 200);
        let names = found(daemon, "search=gamma");
        assert_eq!(names, ["acme/gamma"], "after {path}");
    }

    // What is pulled is in the store from then on, and there once.
    world.b.pull(&format!("{acme}/beta"), &[], &[]).ok();
    let now = found(daemon, "sort=id&direction=1");
    let expected = ["acme/beta", "mine/alpha", "mine/zeta", "acme/alpha", "acme/Delta", "acme/gamma"];
    assert_eq!(now, expected);
    assert!(!is_elsewhere(&models(daemon, "search=beta").json()[0]));
}

#[test]
fn the_catalog_of_oci_has_one_order_over_both() {
    let world = World::new();
    let daemon = &world.daemon;
    let catalog = |query: &str| http::get(&format!("{}/v2/_catalog{query}", http::base(daemon)), &[]);
    let all =
        ["acme/alpha", "acme/beta", "acme/delta", "acme/epsilon", "acme/gamma", "mine/alpha", "mine/zeta"];
    until("the catalogue has all of them", || repositories(&catalog("")).len() == all.len());
    assert_eq!(repositories(&catalog("")), all);
    for n in 1..=8 {
        let pages = pages(daemon, &format!("/v2/_catalog?n={n}"), repositories);
        assert_eq!(pages.concat(), all, "{n}");
        assert!(pages.iter().all(|it| it.len() <= n));
    }
    for (last, expected) in [("acme/d", &all[2..]), ("acme/epsilon", &all[4..]), ("b", &all[5..]), ("z", &[])]
    {
        assert_eq!(repositories(&catalog(&format!("?last={last}"))), expected, "{last}");
    }
    assert!(repositories(&catalog("?n=0")).is_empty());
    // A client that takes a name from the list gets the model, which the node pulls meanwhile.
    let url = format!("{}/v2/acme/epsilon/manifests/v1", http::base(daemon));
    assert_eq!(http::get(&url, &[]).status, 200);
}

#[test]
fn what_is_denied_or_not_taken_is_in_no_list() {
    let world = World::new();
    let World { a, b, daemon, acme, .. } = &world;
    until("the catalogue has all of them", || found(daemon, "").len() == 6);
    let watcher = a.key("watcher");
    b.run(["trust", "add", "watcher", &watcher]).ok();
    let list = a.path().join("list");
    fs::create_dir_all(&list).expect("a folder");
    let deny = |what: &Value| {
        let entries = json!([{ "deny": what, "reason": "a test" }]);
        let text = json!({ "version": 1, "expires": 4_000_000_000_u64, "entries": entries }).to_string();
        fs::write(list.join("denylist.json"), text).expect("written");
        a.publish(&list, "warnings", "watcher");
        b.run(["trust", "subscribe", "watcher/warnings"]).ok();
    };
    let names = || -> BTreeSet<String> {
        let served = http::get(&format!("{}/v2/_catalog", http::base(daemon)), &[]);
        let catalog = repositories(&served);
        let both = found(daemon, "").into_iter().map(|it| it.to_lowercase()).chain(catalog);
        both.filter(|it| it.starts_with("acme/")).collect()
    };
    deny(&json!(text(&a.json(["info", &format!("{acme}/beta")])["summary"]["manifest"])));
    let rest = ["acme/alpha", "acme/delta", "acme/epsilon", "acme/gamma"];
    until("the denied model is in no list", || names() == rest.map(str::to_owned).into());
    b.run(["trust", "unsubscribe", "watcher/warnings"]).ok();
    until("it is listed again", || names().contains("acme/beta"));
    deny(&json!(acme));
    until("no model of a denied publisher is in a list", || names().is_empty());
    let hits = b.json(["search", "alpha"]);
    assert!(!hits.to_string().contains(acme.as_str()), "{hits}");

    // A node that takes models of others only lists none of it, although its catalogue had them.
    b.run(["trust", "unsubscribe", "watcher/warnings"]).ok();
    until("it is listed again", || names().contains("acme/beta"));
    let World { b, daemon, .. } = world;
    daemon.stop();
    let own = text(&b.json(["key", "show", "me"])["publisher"]);
    fs::write(b.path().join("config.toml"), format!("[swarm]\npublishers = ['{own}']\n")).expect("written");
    let daemon = Daemon::start(&b, QUIET);
    assert_eq!(found(&daemon, "sort=id&direction=1"), ["mine/alpha", "mine/zeta"]);
}

const FIND: &str = r#"
import sys
from huggingface_hub import HfApi
api = HfApi()
def ids(**wanted): return [m.id for m in api.list_models(**wanted)]
assert ids(search="beta") == ["acme/beta"], ids(search="beta")
assert sorted(ids(author="acme")) == ["acme/Delta", "acme/alpha", "acme/beta", "acme/gamma"]
assert ids(filter="license:apache-2.0") == ["acme/beta"]
assert ids(filter=["text-generation", "de"]) == ["acme/beta"]
assert ids(pipeline_tag="fill-mask") == ["acme/Delta"]
assert len(ids(limit=5)) == 5 and len(ids()) == 6
[beta] = api.list_models(search="beta", full=True)
assert beta.siblings is None and beta.pipeline_tag == "text-generation" and beta.card_data.license == "apache-2.0"
assert beta.sha == api.model_info("acme/beta").sha
"#;

#[test]
fn the_hubs_own_client_finds_a_model_elsewhere_and_downloads_it() {
    let Some(python) = client() else { return };
    let world = World::new();
    let daemon = &world.daemon;
    world.until_found("search=beta", &["acme/beta"]);
    until("the catalogue has all of them", || found(daemon, "").len() == 6);
    let home = world.b.path().join("home");
    ok(&hf(&python, "python", daemon, &home).args(["-c", FIND]).output().expect("python runs"));
    let said = ok(&hf(&python, "hf", daemon, &home)
        .args(["models", "ls", "--search", "beta", "--format", "json"])
        .output()
        .expect("hf runs"));
    assert!(said.contains("acme/beta"), "{said}");
    let out = world.b.path().join("fetched");
    ok(&hf(&python, "hf", daemon, &home)
        .args(["download", "acme/beta", "--local-dir"])
        .arg(&out)
        .output()
        .expect("hf runs"));
    assert_same(&world.a.path().join("beta"), &out);
    drop(world.server);
}

fn assert_same(model: &Path, fetched: &Path) {
    let mut found = tree::digests(fetched);
    found.retain(|name, _| !name.starts_with(".cache/"));
    assert_eq!(tree::digests(model), found);
}
