//! Tests programs that load GGUF files and fetch them by a quantisation: node-llama-cpp, which also computes with one,
//! llama-server and ramalama.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::clients;
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home};
use reg_testnet::tree;

use crate::hf::ok;

/// Writes a llama of one layer and a vocabulary of bytes, with random weights: enough to load it and to compute.
const TINY: &str = r#"
import sys
import numpy as np
from gguf import GGUFWriter, TokenType
EMBED, FEED, HEADS, CONTEXT = 32, 64, 2, 256
tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581"]
kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256 + [TokenType.NORMAL]
rng = np.random.default_rng(int(sys.argv[2]))
out = GGUFWriter(sys.argv[1], "llama")
out.add_name("tiny"); out.add_context_length(CONTEXT); out.add_embedding_length(EMBED); out.add_block_count(1)
out.add_feed_forward_length(FEED); out.add_head_count(HEADS); out.add_head_count_kv(HEADS); out.add_file_type(0)
out.add_layer_norm_rms_eps(1e-5); out.add_rope_dimension_count(EMBED // HEADS); out.add_vocab_size(len(tokens))
out.add_tokenizer_model("llama"); out.add_token_list(tokens); out.add_token_scores([0.0] * len(tokens)); out.add_token_types(kinds)
out.add_bos_token_id(1); out.add_eos_token_id(2); out.add_unk_token_id(0); out.add_add_bos_token(True)
def tensor(name, *shape): out.add_tensor(name, (rng.standard_normal(shape) * 0.2).astype(np.float32))
tensor("token_embd.weight", len(tokens), EMBED); tensor("output.weight", len(tokens), EMBED); tensor("output_norm.weight", EMBED)
for name, shape in {"attn_norm": (EMBED,), "attn_q": (EMBED, EMBED), "attn_k": (EMBED, EMBED), "attn_v": (EMBED, EMBED),
                    "attn_output": (EMBED, EMBED), "ffn_norm": (EMBED,), "ffn_gate": (FEED, EMBED), "ffn_up": (FEED, EMBED), "ffn_down": (EMBED, FEED)}.items():
    tensor(f"blk.0.{name}.weight", *shape)
out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()
"#;

/// A node that has fetched nothing yet, beside one that has a llama in three quantisations.
struct Llamas {
    dir: PathBuf,
    repo: String,
    own: Home,
    daemon: Daemon,
    _seed: (Home, Daemon),
}

impl Llamas {
    fn start() -> Option<Self> {
        let python = clients::python("gguf", &clients::GGUF);
        if clients::is_left_out(&python) {
            return None;
        }
        let python = python.expect("gguf is installed");
        let [a, own] = ["A", "B"].map(Home::new);
        a.key("me");
        let dir = a.path().join("model");
        fs::create_dir_all(&dir).expect("a folder");
        for (seed, name) in
            ["tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf", "tiny-UD-Q4_K_XL.gguf"].into_iter().enumerate()
        {
            let mut writer = Command::new(python.program("python"));
            ok(&writer
                .args(["-c", TINY])
                .arg(dir.join(name))
                .arg(seed.to_string())
                .output()
                .expect("python runs"));
        }
        let seed = Daemon::start(&a, [""; 0]);
        let reference = a.publish(&dir, "tiny", "me");
        let daemon = Daemon::start(&own, ["--bootstrap", &seed.address()]);
        let repo = reference.trim_end_matches(":latest").to_owned();
        Some(Self { dir, repo, own, daemon, _seed: (a, seed) })
    }

    /// Checks that a file with the bytes of one quantisation lies below a folder, and of no other.
    fn assert_only(&self, folder: &Path, name: &str) {
        let wanted = tree::digest(&self.dir.join(name));
        let mut found: Vec<_> = tree::digests(folder).into_values().collect();
        found.retain(|it| tree::digests(&self.dir).values().any(|own| own == it));
        found.dedup();
        assert_eq!(found, [wanted], "{}", folder.display());
    }
}

const NODE_LLAMA_CPP: &str = r#"
import { createModelDownloader, getLlama, LlamaCompletion } from "node-llama-cpp";
const [endpoint, repo, dirPath] = process.argv.slice(2);
const endpoints = { huggingFace: endpoint + "/" };
const fetched = async (tag) => {
  const downloader = await createModelDownloader({ modelUri: `hf:${repo}${tag}`, dirPath, endpoints, showCliProgress: false });
  return await downloader.download();
};
const paths = {};
for (const tag of ["", ":Q8_0", ":UD-Q4_K_XL"]) paths[tag] = await fetched(tag);
try { await fetched(":Q2_K"); throw new Error("taken"); }
catch (error) { if (!error.message.includes("Cannot get quantization")) throw error; }
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false });
const model = await llama.loadModel({ modelPath: paths[""] });
const context = await model.createContext({ contextSize: 64 });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const text = await completion.generateCompletion("hello", { maxTokens: 8, temperature: 0 });
if (text.length === 0) throw new Error("no text");
console.log("@" + JSON.stringify(paths));
process.exit(0);
"#;

#[test]
fn node_llama_cpp_fetches_a_quantisation_and_computes_with_it() {
    let client = clients::node_llama_cpp();
    if clients::is_left_out(&client) {
        return;
    }
    let (modules, node) = client.expect("node-llama-cpp is installed");
    let Some(llamas) = Llamas::start() else { return };
    let out = llamas.own.path().join("models");
    fs::write(modules.join("run.mjs"), NODE_LLAMA_CPP).expect("written");
    let mut script = Command::new(node);
    script.arg(modules.join("run.mjs")).args([&http::base(&llamas.daemon), &llamas.repo]).arg(&out);
    let said = ok(&script.output().expect("node runs"));
    let paths = said.lines().find_map(|it| it.strip_prefix('@')).expect("paths");
    let paths: serde_json::Value = serde_json::from_str(paths).expect("JSON");
    for (tag, name) in
        [("", "tiny-Q4_K_M.gguf"), (":Q8_0", "tiny-Q8_0.gguf"), (":UD-Q4_K_XL", "tiny-UD-Q4_K_XL.gguf")]
    {
        let path = Path::new(paths[tag].as_str().expect("a path"));
        assert_eq!(tree::digest(path), tree::digest(&llamas.dir.join(name)), "{tag}");
    }
}

#[test]
fn llama_server_fetches_a_quantisation() {
    let client = clients::llama_server();
    if clients::is_left_out(&client) {
        return;
    }
    let (program, libraries) = client.expect("llama-server is installed");
    let Some(llamas) = Llamas::start() else { return };
    for (tag, name) in
        [("", "tiny-Q4_K_M.gguf"), (":Q8_0", "tiny-Q8_0.gguf"), (":UD-Q4_K_XL", "tiny-UD-Q4_K_XL.gguf")]
    {
        let cache = llamas.own.path().join(format!("cache-{name}"));
        let log = fs::File::create(llamas.own.path().join("server.log")).expect("a file");
        let mut server = Command::new(&program)
            .args(["-hf", &format!("{}{tag}", llamas.repo), "--port", "0", "-ngl", "0"])
            .env("LD_LIBRARY_PATH", &libraries)
            .env("HF_ENDPOINT", http::base(&llamas.daemon))
            .env("HF_HOME", &cache)
            .env("LLAMA_CACHE", &cache)
            .env_remove("HF_TOKEN")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("llama-server starts");
        // It loads the model once the file is there, if it was built for this machine's processor.
        let start = Instant::now();
        let is_there = || {
            let there = if cache.is_dir() { tree::digests(&cache) } else { BTreeMap::new() };
            there.values().any(|it| *it == tree::digest(&llamas.dir.join(name)))
        };
        while !is_there() {
            let log = || fs::read_to_string(llamas.own.path().join("server.log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(120), "{tag}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server.kill().ok();
        server.wait().expect("ended");
        llamas.assert_only(&cache, name);
    }
}

#[test]
fn ramalama_fetches_a_quantisation_and_verifies_it() {
    let client = clients::python("ramalama", &clients::RAMALAMA);
    if clients::is_left_out(&client) {
        return;
    }
    let python = client.expect("ramalama is installed");
    let Some(llamas) = Llamas::start() else { return };
    for (tag, name) in [("", "tiny-Q4_K_M.gguf"), (":UD-Q4_K_XL", "tiny-UD-Q4_K_XL.gguf")] {
        let store = llamas.own.path().join(format!("store-{name}"));
        let mut pull = Command::new(python.program("ramalama"));
        pull.env("HF_ENDPOINT", http::base(&llamas.daemon)).env("HOME", &store).env_remove("HF_TOKEN");
        pull.args(["--nocontainer", "--store"])
            .arg(&store)
            .args(["pull", &format!("hf://{}{tag}", llamas.repo)]);
        ok(&pull.output().expect("ramalama runs"));
        llamas.assert_only(&store, name);
    }
}
