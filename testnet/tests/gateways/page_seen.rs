//! Looks at the page with a real browser: every view, at two widths and in both themes, and what a user does in each.
//!
//! `REG_PAGE_PICTURES=docs/pictures` writes the pictures of the documents there; with `REG_FULL=1`, of every view.

use std::path::{Path, PathBuf};

use reg_testnet::browser::{Browser, Theme, browser};
use reg_testnet::clients;
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, is_full, text, until};
use serde_json::{Value, json};

/// Widths of a telephone and of a desk.
const WIDTHS: [(u32, u32); 2] = [(400, 860), (1280, 860)];
/// The pictures that the documents show.
const SHOWN: [&str; 3] = ["transfers-1280-light", "model-1280-light", "trust-400-dark"];
/// Seconds of audits in a second: a model is endangered within the test.
const PACE: u32 = 36_000;

struct Seen {
    browser: Browser,
    base: String,
    axe: Option<String>,
    pictures: Option<PathBuf>,
    checked: usize,
}

impl Seen {
    fn go(&self, view: &str) {
        self.browser.run("location.hash = arguments[0];", &[json!(format!("#/{view}"))]);
        let name = view.split('/').next().unwrap_or_default();
        self.browser.until(
            view,
            &format!("location.hash.startsWith('#/{name}') && document.querySelector('main h1') !== null"),
        );
    }

    /// Looks at a view as it is: whether it can be used by all, fits its width, and has logged no error.
    fn look(&mut self, name: &str) {
        for (width, height) in WIDTHS {
            self.browser.resize(width, height);
            for theme in [Theme::Light, Theme::Dark] {
                self.browser.theme(theme);
                self.browser.until("it fits", "document.documentElement.scrollWidth <= innerWidth");
                let shown = format!("{name}-{width}-{}", theme.name());
                if let Some(dir) = &self.pictures
                    && (is_full() || SHOWN.contains(&shown.as_str()))
                {
                    self.browser.picture(&dir.join(format!("page-{shown}.png")));
                }
                self.check(&format!("{name} at {width} in the {} theme", theme.name()));
            }
        }
        self.browser.theme(Theme::Light);
        let errors: Vec<Value> =
            self.browser.log("browser").into_iter().filter(|it| it["level"] == "SEVERE").collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let elsewhere: Vec<String> = self
            .browser
            .asked()
            .into_iter()
            .filter(|url| {
                !url.starts_with(&self.base) && !url.starts_with("data:") && !url.starts_with("chrome")
            })
            .collect();
        assert!(elsewhere.is_empty(), "{name} asks other hosts: {elsewhere:?}");
    }

    /// Fails on what axe-core calls serious or critical.
    fn check(&mut self, what: &str) {
        let Some(axe) = &self.axe else { return };
        self.browser.run(&format!("if (!window.axe) {{ {axe} }}"), &[]);
        let found = self.browser.run(
            "return axe.run(document, { resultTypes: ['violations'] }).then((it) => it.violations \
             .filter((one) => ['serious', 'critical'].includes(one.impact)) \
             .map((one) => [one.id, one.impact, one.nodes.map((node) => [node.html, node.any.map((it) => it.message)])]));",
            &[],
        );
        assert_eq!(found, json!([]), "{what}: {found:#}");
        self.checked += 1;
    }
}

fn health(home: &Home) {
    let file = format!("[health]\npace = {PACE}\naudit = '1 TiB/h'\ntarget = 2\n");
    std::fs::write(home.path().join("config.toml"), file).expect("written");
}

/// A model with weights, a config and a card.
fn make(dir: &Path, bytes: u64, seed: u64) {
    model::generate(dir, bytes, seed);
    let card = "---\nlicense: apache-2.0\npipeline_tag: text-generation\nlanguage: en\nbase_model: acme/base\n---\n# A small model\n\n<script>alert(1)</script><img src=x onerror=alert(1)>\n";
    std::fs::write(dir.join("README.md"), card).expect("written");
}

/// One long story, as a user has it, because each step needs the one before.
#[test]
fn a_browser_shows_every_view_and_does_what_a_user_asks() {
    let Some(browser) = browser("the page in a browser", &[]) else { return };
    let axe = clients::axe();
    let axe = (!clients::is_left_out(&axe)).then(|| axe.unwrap_or_else(|error| panic!("{error}")));
    let axe = axe.map(|path| std::fs::read_to_string(path).expect("axe-core"));
    let pictures =
        std::env::var_os("REG_PAGE_PICTURES").map(|dir| reg_testnet::process::workspace().join(dir));
    pictures.iter().for_each(|dir| std::fs::create_dir_all(dir).expect("a folder"));

    let [a, b] = ["A", "B"].map(Home::remembering);
    let publisher = a.key("acme");
    b.key("me");
    health(&b);
    let [theirs, own] = [(&a, "model"), (&b, "model")].map(|(home, name)| home.path().join(name));
    make(&theirs, 48 << 20, 71);
    make(&own, 2 << 20, 72);
    let seed = Daemon::start(&a, ["--dht", "off", "--limit-up", "800k", "--limit-local"]);
    a.publish(&theirs, "small-model:v1", "acme");
    let daemon = Daemon::start(&b, ["--dht", "off", "--bootstrap", &seed.address()]);
    let base = http::base(&daemon);
    let mut seen = Seen { browser, base: base.clone(), axe, pictures, checked: 0 };

    // Without a code the page only shows, and says so.
    seen.browser.resize(1280, 860);
    seen.browser.open(&base);
    seen.browser.sees("This node has no model yet.");
    seen.browser.sees("only shows");
    seen.look("empty");
    seen.go("node");
    seen.browser.sees("This tab only shows.");

    // With it, the tab may change things, and the code stands in no history.
    seen.browser.open("about:blank");
    seen.browser.open(&text(&b.json(["page"])["url"]));
    seen.browser.sees("Lock");
    assert_eq!(seen.browser.value("location.hash"), "#/models");
    assert_eq!(seen.browser.value("document.cookie + Object.keys(window['local' + 'Storage']).length"), "0");

    // A publication appears by itself.
    b.publish(&own, "own-model:v1", "me");
    seen.browser.sees("own-model");
    seen.browser.sees("published");
    seen.look("models");

    // By keyboard alone: past the link to the content, to the views, and into one of them.
    seen.browser.open("about:blank");
    seen.browser.open(&format!("{base}/#/models"));
    seen.browser.sees("own-model");
    let mut reached = Vec::new();
    loop {
        seen.browser.key("\u{e004}");
        let focused = "(() => { const it = document.activeElement; const s = getComputedStyle(it); \
                       return [it.tagName, it.textContent.trim() || it.name || '', s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0]; })()";
        let focused = seen.browser.value(focused);
        let (tag, it) = (text(&focused[0]), text(&focused[1]));
        assert_eq!(focused[2], true, "the focus is not seen on {tag} {it:?}");
        let is_link = tag == "A" && it.contains("own-model");
        reached.push(it);
        if is_link {
            break;
        }
        assert!(reached.len() < 60, "the model is not reached by Tab: {reached:?}");
    }
    for wanted in ["Skip to the content", "Models", "Transfers", "Node", "text"] {
        assert!(reached.iter().any(|it| it == wanted), "{wanted} is not reached by Tab: {reached:?}");
    }
    seen.browser.key("\u{e007}");
    seen.browser.sees("Chain of proof");

    // What the files say is shown apart from what is claimed, as text.
    seen.browser.sees("Computed from the files");
    seen.browser.sees("Claimed by its publisher");
    seen.browser.sees("apache-2.0");
    assert_eq!(seen.browser.value("document.querySelectorAll('main script, main img').length"), 0);
    seen.look("model");

    // Find, see the cost, pull from a slow peer, and see why it is slow.
    until("the catalogue has the model", || {
        http::get(&format!("{base}/v1/page/search?words=small-model"), &[]).json()["found"].as_u64() > Some(0)
    });
    seen.go("find");
    seen.browser.type_into("input[name=words]", "small model");
    seen.browser.sees("small-model");
    seen.look("find");
    seen.browser.press("Pull");
    seen.browser.sees("To fetch");
    seen.browser.sees(&format!("reg pull {publisher}/small-model:v1"));
    seen.check("the dialog of a pull");
    seen.browser.press("Pull");
    seen.browser.sees("Why it is not faster: the one connected source sends no faster.");
    seen.browser.until(
        "pieces have the colour of their source",
        "document.querySelector('.legend')?.innerText.includes('from …')",
    );
    seen.look("transfers");
    seen.browser.press("Pause");
    seen.browser.sees("Why it is not faster: it is paused.");
    seen.browser.sees("reg pause");
    seen.browser.press("Resume");
    seen.browser.until("it goes on", "document.querySelector('[data-reason=sources]') !== null");
    seen.browser.press("High priority");
    seen.browser.sees("high priority");

    seen.go("peers");
    seen.browser.sees("directly");
    seen.browser.sees("small-model");
    seen.look("peers");

    // Name its publisher, follow it, and set a rule: each with the command that does the same.
    seen.go("trust");
    seen.browser.sees("You have named no publisher.");
    seen.browser.press("Name a publisher");
    seen.browser.type_into("dialog[open] input[name=petname]", "acme");
    seen.browser.type_into("dialog[open] input[name=publisher]", &publisher);
    seen.browser.sees(&format!("reg trust add acme {publisher}"));
    seen.browser.press("Give the name");
    seen.browser
        .until("the name is listed", "document.querySelector('main table')?.innerText.includes('acme')");
    seen.browser.press("Follow a publisher");
    seen.browser.type_into("dialog[open] input[name=publisher]", "acme");
    seen.browser.sees("reg follow acme --keep 2 --delay 1d");
    seen.browser.press("Follow");
    seen.browser.sees("acme/*");
    assert_eq!(text(&b.json(["follow", "ls"])[0]["petname"]), "acme");
    seen.browser.press("Set a rule");
    seen.browser.type_into("dialog[open] input[name=models]", "acme/*");
    seen.browser.type_into("dialog[open] input[name=licenses]", "apache-2.0");
    seen.browser.sees("reg trust require 'acme/*' --license apache-2.0");
    seen.browser.press("Set the rule");
    seen.browser.sees("licences among apache-2.0");
    assert_eq!(text(&b.json(["trust", "show"])["rules"][0]["models"]), "acme/*");
    seen.look("trust");
    seen.browser.run("[...document.querySelectorAll('main li.card button')].find((it) => it.textContent === 'Remove').click();", &[]);
    seen.browser.sees("reg trust waive 'acme/*'");
    seen.browser.press("Remove");
    seen.browser.sees("You have set no rule");
    assert_eq!(b.json(["trust", "show"])["rules"], json!([]));

    // Nobody else holds what was published here.
    seen.go("models");
    until("it is endangered", || {
        http::get(&format!("{base}/v1/page/health"), &[]).json()["endangered"].as_u64() > Some(0)
    });
    seen.go("health");
    seen.browser.sees("Endangered: ");
    seen.browser
        .until("it is named", "document.querySelector('main table')?.innerText.includes('own-model')");
    seen.look("health");

    seen.go("node");
    seen.browser.sees("Reachability");
    seen.browser.sees("Sends at most");
    seen.browser.press("Pause everything");
    seen.browser.sees("Everything is paused");
    seen.browser.press("Resume everything");
    seen.look("node");

    // A pull that was cancelled leaves its pieces. The rest is pulled, and the model is listed and proven.
    seen.go("transfers");
    seen.browser.press("Cancel");
    seen.browser.sees("what was fetched is kept");
    seed.stop();
    let seed = Daemon::start(&a, ["--dht", "off"]);
    b.run(["peers", "add", &seed.address()]).ok();
    seen.go(&format!("model/{publisher}%2Fsmall-model%3Av1"));
    seen.browser.until(
        "its pieces are drawn",
        "document.querySelector('main canvas.pieces')?.getAttribute('aria-label')?.includes('are here')",
    );
    seen.browser.press("Pull the rest");
    seen.browser.sees("To fetch");
    seen.browser.press("Pull");
    until("it is here", || {
        let page = http::get(&format!("{base}/v1/page/models?kind=here&text=small"), &[]).json();
        page["models"].as_array().is_some_and(|it| it.len() == 1)
    });
    seen.go("models");
    seen.browser.sees("small-model");

    // A tab only shows once its right to change things was given back.
    seen.browser.press("Lock");
    seen.browser.sees("only shows");
    assert_eq!(seen.browser.value("sessionStorage.length"), 0);
    println!("{} checks by axe-core", seen.checked);
    assert!(seen.axe.is_none() || seen.checked > 30);
    drop(daemon);
}
