//! Tests the pages of the Hub beside models' files: searches, commits, people, and what this node does not have.

use std::fs;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::{Value, json};

use crate::hf::{client, hf, ok};

const MIB: u64 = 1 << 20;

/// Four models: three whole ones, of which one is GGUF, and one that another node has in part.
struct Library {
    home: Home,
    daemon: Daemon,
    publisher: String,
}

impl Library {
    fn start() -> Self {
        let home = Home::new("A");
        let publisher = home.key("me");
        for (name, card) in [
            ("alpha-bert", "license: mit\npipeline_tag: fill-mask\nlibrary_name: transformers\ntags: [tiny]"),
            ("beta-llama", "license: apache-2.0\npipeline_tag: text-generation"),
            ("gamma-bert", "license: mit\npipeline_tag: fill-mask\nlanguage: de"),
        ] {
            let dir = home.path().join(name);
            model::generate(&dir, MIB / 4, name.len() as u64);
            fs::write(dir.join("README.md"), format!("---\n{card}\n---\n# {name}\n")).expect("written");
            home.publish(&dir, name, "me");
        }
        let dir = home.path().join("delta-gguf");
        fs::create_dir_all(&dir).expect("a folder");
        model::gguf(&dir.join("delta-Q4_K_M.gguf"), MIB);
        model::gguf(&dir.join("delta-Q8_0.gguf"), 2 * MIB);
        fs::write(dir.join("README.md"), "---\nlicense: mit\npipeline_tag: text-generation\n---\n")
            .expect("written");
        home.publish(&dir, "delta-gguf", "me");
        let daemon = Daemon::start(&home, [""; 0]);
        Self { home, daemon, publisher }
    }

    fn get(&self, path: &str) -> http::Served {
        http::get(&format!("{}{path}", http::base(&self.daemon)), &[])
    }

    /// Returns the names of the models that a search finds, in their order.
    fn found(&self, query: &str) -> Vec<String> {
        let listed = self.get(&format!("/api/models?{query}")).json();
        let names = listed.as_array().unwrap_or_else(|| panic!("{query}: {listed}")).iter();
        names.map(|it| text(&it["id"]).rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn models_are_searched_filtered_sorted_and_paged() {
    let library = Library::start();
    let all = ["alpha-bert", "beta-llama", "delta-gguf", "gamma-bert"];
    let publisher = &library.publisher;
    for (query, names) in [
        ("", &all[..]),
        ("search=BERT", &["alpha-bert", "gamma-bert"]),
        ("search=bert%20gamma", &["gamma-bert"]),
        ("search=absent", &[]),
        ("pipeline_tag=fill-mask", &["alpha-bert", "gamma-bert"]),
        ("pipeline_tag=text-generation&search=llama", &["beta-llama"]),
        ("library=gguf", &["delta-gguf"]),
        ("library=transformers", &["alpha-bert"]),
        ("filter=license:mit&filter=safetensors", &["alpha-bert", "gamma-bert"]),
        ("filter=license:mit,gguf", &["delta-gguf"]),
        (&format!("author={publisher}"), &all[..]),
        ("author=else", &[]),
        ("sort=id&direction=1", &all[..]),
        ("sort=id&direction=-1", &["gamma-bert", "delta-gguf", "beta-llama", "alpha-bert"]),
        ("gated=true", &[]),
        ("limit=2", &all[..2]),
        ("limit=0", &[]),
    ] {
        assert_eq!(library.found(query), names, "{query}");
    }
    let newest = library.get("/api/models?sort=lastModified").json();
    let times: Vec<String> =
        newest.as_array().into_iter().flatten().map(|it| text(&it["lastModified"])).collect();
    assert!(times.len() == 4 && times.is_sorted_by(|one, next| one >= next), "{times:?}");

    // Page by page, by the link.
    let (mut url, mut names) =
        (format!("{}/api/models?limit=1&filter=license:mit&full=true", http::base(&library.daemon)), vec![]);
    for _ in 0..4 {
        let page = http::get(&url, &[]);
        let listed = page.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{url}: {listed}");
        assert!(listed[0]["siblings"].as_array().is_some_and(|it| !it.is_empty()), "{listed}");
        names.push(text(&listed[0]["id"]));
        match page.header("link") {
            Some(link) => url = link.split(['<', '>']).nth(1).expect("an address").to_owned(),
            None => break,
        }
    }
    assert_eq!(names.len(), 3, "{names:?}");
    let odd = library.get("/api/models?limit=many");
    assert!(odd.status == 400 && odd.text().contains("limit"), "{}", odd.text());
}

#[test]
fn a_model_that_is_partly_here_is_described_by_what_is_here() {
    let library = Library::start();
    let part = Home::new("B");
    let daemon = Daemon::start(&part, ["--bootstrap", &library.daemon.address()]);
    let repo = format!("{}/delta-gguf", library.publisher);
    part.run(["pull", &repo, "--quant", "Q4_K_M"]).ok();
    let info = http::get(&format!("{}/api/models/{repo}", http::base(&daemon)), &[]).json();
    let has = |tag: &str| info["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
    assert!(has("gguf") && has("license:mit") && has("text-generation"), "{info}");
    assert_eq!(info["gguf"]["architecture"], "llama", "{info}");
    assert!(info["gguf"]["total"].as_u64().is_some_and(|it| it > 0), "{info}");
    let listed = http::get(&format!("{}/api/models?library=gguf", http::base(&daemon)), &[]).json();
    assert_eq!(listed[0]["id"], json!(repo), "{listed}");
    assert_eq!(listed[0]["gguf"]["context_length"], 2048, "{listed}");
}

const PAGES: &str = r#"
import sys
from huggingface_hub import HfApi
owner = sys.argv[1]
api = HfApi()
repo = owner + "/alpha-bert"
assert [c.title for c in api.list_repo_commits(repo)] == ["published"]
api.auth_check(repo)
assert [f.filename for f in api.list_lfs_files(repo)] == ["model.safetensors"]
assert "pipeline_tag" in api.get_model_tags()
assert api.get_user_overview(owner).num_models == 4
assert list(api.list_user_followers(owner)) == [] and list(api.list_organization_members("x")) == []
assert list(api.list_datasets()) == [] and list(api.list_spaces()) == [] and list(api.list_collections()) == []
assert list(api.get_repo_discussions(repo)) == []
assert len(list(api.list_models(pipeline_tag="fill-mask", limit=1))) == 1
assert len(list(api.list_models(filter="gguf", sort="last_modified"))) == 1
for call, name in [
    (lambda: api.auth_check(owner + "/none"), "RepositoryNotFoundError"),
    (lambda: api.dataset_info("a/b"), "RepositoryNotFoundError"),
    (lambda: api.space_info("a/b"), "RepositoryNotFoundError"),
    (lambda: api.hf_hub_download("a/b", "x", repo_type="dataset"), "RepositoryNotFoundError"),
    (lambda: api.get_user_overview("stranger"), "HfHubHTTPError"),
    (lambda: api.get_organization_overview("x"), "HfHubHTTPError"),
]:
    try:
        call()
        raise SystemExit(name + " is missing")
    except Exception as error:
        assert type(error).__name__ == name, repr(error)
"#;

#[test]
fn every_page_of_the_hub_is_answered_as_its_clients_expect() {
    let Some(python) = client() else { return };
    let library = Library::start();
    let seen = Home::new("B");
    let mut pages = hf(&python, "python", &library.daemon, &library.home.path().join("cache"));
    // A name that no peer has is not found: some peer must be there to say so.
    let _peer = Daemon::start(&seen, ["--bootstrap", &library.daemon.address()]);
    until("a peer connects", || library.home.json(["status"])["peers"].as_u64() > Some(0));
    ok(&pages.args(["-c", PAGES, &library.publisher]).output().expect("python runs"));
    for (method, path) in [
        ("GET", "/api/nothing"),
        ("GET", "/nothing"),
        ("GET", "/a/b/c/d/e"),
        ("GET", "/api/datasets/a/b"),
        ("GET", "/datasets/a/b/resolve/main/x"),
        ("GET", "/api/models/a/b/c/d"),
        ("POST", "/api/collections"),
        ("DELETE", "/api/models"),
        ("GET", "/v2/nothing"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/status"),
        ("POST", "/"),
    ] {
        let served = http::send(method, &format!("{}{path}", http::base(&library.daemon)), &[], &[]);
        assert!(matches!(served.status, 404 | 405 | 401), "{method} {path}: {}", served.status);
        let said: Value =
            serde_json::from_slice(&served.bytes).unwrap_or_else(|_| panic!("{method} {path} is bare"));
        assert!(said.as_object().is_some_and(|it| !it.is_empty()), "{method} {path}: {said}");
        let is_hub = !path.starts_with("/v");
        assert_eq!(served.header("x-error-code").is_some(), is_hub, "{method} {path}");
    }
}
