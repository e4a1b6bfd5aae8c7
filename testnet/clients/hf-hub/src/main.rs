//! Runs hf-hub 1.0 against the endpoint of `HF_ENDPOINT`: downloads a repository, or uploads a folder and reads it back.
//!
//! `download OWNER NAME DIR` prints the folder of the snapshot. `upload OWNER NAME DIR` prints the commit.

use std::error::Error;

use hf_hub::HFClientSync;
use hf_hub::repository::{CommitOperation, RepoTypeModel};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, owner, name, dir] = args.as_slice() else { return Err("WHAT OWNER NAME DIR".into()) };
    let client = HFClientSync::new()?;
    match what.as_str() {
        "download" => download(&client, owner, name, dir),
        "upload" => upload(&client, owner, name, dir),
        _ => Err("neither download nor upload".into()),
    }
}

fn download(client: &HFClientSync, owner: &str, name: &str, dir: &str) -> Outcome {
    let model = client.model(owner, name);
    let info = model.info().send()?;
    if !model.exists().send()? || info.sha.is_none() || client.model(owner, "none").exists().send()? {
        return Err("whether a repository exists".into());
    }
    if model.file_exists().filename("none.bin").send()? {
        return Err("a file that is not there".into());
    }
    let tree = model.list_tree().recursive(true).send()?;
    let siblings = info.siblings.map_or(0, |it| it.len());
    println!("siblings {siblings}");
    println!("entries {}", tree.len());
    let config = model.download_file_to_bytes().filename("config.json").range(0..1).send()?;
    if config.as_ref() != b"{" {
        return Err(format!("a range of config.json is {config:?}").into());
    }
    model.snapshot_download().local_dir(dir).send()?;
    println!("snapshot {}", model.snapshot_download().send()?.display());
    Ok(())
}

fn upload(client: &HFClientSync, owner: &str, name: &str, dir: &str) -> Outcome {
    let id = format!("{owner}/{name}");
    let create = |private| {
        let call = client.create_repository().repo_id(&id).repo_type(RepoTypeModel);
        call.maybe_private(private).exist_ok(true).send()
    };
    refused(create(Some(true)).map(drop), "private")?;
    create(None)?;
    let model = client.model(owner, name);
    refused(model.upload_folder().folder_path(dir).create_pr(true).send().map(drop), "no pull requests")?;
    let commit = model.upload_folder().folder_path(dir).commit_message("first").send()?;
    println!("commit {}", commit.commit_oid.ok_or("no commit id")?);
    let operations = vec![CommitOperation::add_bytes("notes/more.txt", "more\n")];
    let commit = model.create_commit().operations(operations).commit_message("second").send()?;
    println!("commit {}", commit.commit_oid.ok_or("no commit id")?);
    model.create_branch().branch("dev").send()?;
    let refs = model.list_refs().send()?;
    println!("branches {}", refs.branches.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Checks that a call was refused with this reason.
fn refused(result: Result<(), hf_hub::HFError>, why: &str) -> Outcome {
    match result {
        Ok(()) => Err(format!("{why}: it was taken").into()),
        Err(error) if format!("{error} {error:?}").contains(why) => Ok(()),
        Err(error) => Err(format!("{why} is not in: {error:?}").into()),
    }
}
