//! Rotation, theft, loss, revocation, thresholds, delegation and mirrors, by real nodes: thirty-one cases, each for a publisher
//! that committed to its next keys and for one that did not. Peers tell what the case says; `reg pull` decides.
//!
//! Key 1 signs first, key 11 comes next. The owner and the thief sign with the same functions.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use reg_proto::digest::Digest;
use reg_proto::revocation::Revoked;
use reg_testnet::evil::Liars;
use reg_testnet::identity::{Identity, Model, Offer, Signed, public};
use reg_testnet::process::{Home, is_full, left_out};

type Outcome = Result<(), String>;
type Case = (&'static str, fn(&mut Scene) -> Outcome);

/// The cases that the default run takes: every third.
const DEFAULT_STEP: usize = 3;

const CASES: [Case; 31] = [
    ("a follower takes a rotation", follower_takes_a_rotation),
    ("a newcomer takes a rotation", newcomer_takes_a_rotation),
    ("an inherited version keeps its tag", inherited_version_keeps_its_tag),
    ("what is not inherited is void for a newcomer", not_inherited_is_void),
    ("what is held and not inherited stays readable by digest", held_stays_readable_by_digest),
    ("a lower number under newer keys outranks", newer_keys_outrank),
    ("a retired key moves no tag", retired_key_moves_no_tag),
    ("a retired key makes no new model", retired_key_makes_no_model),
    ("a retired key makes no new tag", retired_key_makes_no_tag),
    ("a retired key delegates nothing", retired_key_delegates_nothing),
    ("a retired key withdraws nothing", retired_key_withdraws_nothing),
    ("a retired key revokes no newer key", retired_key_revokes_no_newer_key),
    ("a retired key revokes itself, and what is inherited stays", retired_key_revokes_itself),
    ("a thief of today's key rotates, before a follower", thief_rotates_before_a_follower),
    ("a thief of a retired key forks, before a follower", thief_forks_before_a_follower),
    ("a thief of a retired key forks, before a newcomer", thief_forks_before_a_newcomer),
    ("a thief is met first, and the user accepts the owner", thief_first_then_accept),
    ("today's key is lost", todays_key_is_lost),
    ("rotation and revocation come at once, to a follower", rotation_and_revocation_to_a_follower),
    ("rotation and revocation come at once, to a newcomer", rotation_and_revocation_to_a_newcomer),
    ("the revocation comes before the rotation", revocation_before_rotation),
    ("a manifest is revoked, and then the key", manifest_then_key),
    ("one of two signatures is not enough", one_of_two_is_not_enough),
    ("a board rotates by its threshold", board_rotates),
    ("a stolen key of a board moves nothing", stolen_key_of_a_board),
    ("an inherited delegation counts, another does not", delegations_are_inherited),
    ("a delegation is revoked by newer keys", delegation_is_revoked),
    ("a mirror serves a publisher that is gone", mirror_serves),
    ("a mirror holds the list back, another has it", list_is_held_back),
    ("two rotations in a row, from the first document on", two_rotations),
    ("a bystander tells a newcomer of a fork", bystander_tells_of_a_fork),
];

struct Scene {
    committed: bool,
    liars: Liars,
    follower: Home,
    newcomer: Home,
}

/// A publisher with version 1 of a model under its first document.
struct Owner {
    first: Identity,
    v1: Model,
    r1: Signed,
    by: Vec<u8>,
}

impl Owner {
    fn reference(&self) -> String {
        format!("{}/tale", self.first.id)
    }

    fn told(&self) -> Offer {
        self.first.offer().tag("latest", &self.r1, &self.v1)
    }

    /// Document 2, of key 11, which takes over these statements.
    fn second(&self, inherited: &[&Signed]) -> Identity {
        self.first.rotated(&[11], 1, &[12], &self.by, inherited)
    }

    /// Document 2 with version 1 taken over, and version 2 under it.
    fn moved_on(&self) -> (Identity, Model, Signed, Offer) {
        let second = self.second(&[&self.r1, &self.v1.provenance]);
        let v2 = second.model("tale", "two", 2, &[11]);
        let r2 = second.record(&v2, "latest", 2, Some(&self.r1), 2, &[11]);
        let offer = second.offer().tag("latest", &r2, &v2).model(&self.v1);
        (second, v2, r2, offer)
    }

    /// What a thief of key 1 says: another version under the first document.
    fn stolen(&self, tag: &str, name: &str, seq: u64, prev: Option<&Signed>) -> (Model, Signed) {
        let model = self.first.model(name, "thief", 1, &[1]);
        let record = self.first.record(&model, tag, seq, prev, 1, &[1]);
        (model, record)
    }
}

impl Scene {
    fn owner(&self) -> Owner {
        let (next, by): (&[u8], _) = if self.committed { (&[11], vec![11]) } else { (&[], vec![1, 11]) };
        let first = Identity::new(&[1], 1, next, 1);
        let v1 = first.model("tale", "one", 1, &[1]);
        let r1 = first.record(&v1, "latest", 1, None, 1, &[1]);
        Owner { first, v1, r1, by }
    }

    fn pull(
        &mut self,
        home: fn(&Self) -> &Home,
        reference: &str,
        offers: &[&Offer],
    ) -> (i32, String, String) {
        let from: Vec<String> = offers.iter().map(|offer| self.liars.tell(offer.script())).collect();
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        let ran = home(self).pull(reference, &from, &["--dht", "off", "--no-gossip", "--overwrite"]);
        let manifest = if ran.code() == 0 { ran.json()["manifest"].to_string() } else { String::new() };
        (ran.code(), manifest, ran.stderr())
    }

    fn gets(
        &mut self,
        home: fn(&Self) -> &Home,
        reference: &str,
        offers: &[&Offer],
        digest: Digest,
    ) -> Outcome {
        let (code, manifest, said) = self.pull(home, reference, offers);
        if code == 0 && manifest.contains(&digest.to_string()) {
            return Ok(());
        }
        Err(format!("exit {code}, {manifest} in place of {digest}: {said}"))
    }

    fn is_refused(
        &mut self,
        home: fn(&Self) -> &Home,
        reference: &str,
        offers: &[&Offer],
        what: &str,
    ) -> Outcome {
        let (code, manifest, said) = self.pull(home, reference, offers);
        if code != 0 && said.contains(what) {
            return Ok(());
        }
        Err(format!("exit {code}, {manifest}; {what:?} is not in: {said}"))
    }
}

fn follower(scene: &Scene) -> &Home {
    &scene.follower
}

fn newcomer(scene: &Scene) -> &Home {
    &scene.newcomer
}

fn follower_takes_a_rotation(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let (_, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)
}

fn newcomer_takes_a_rotation(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (_, v2, _, offer) = owner.moved_on();
    scene.gets(newcomer, &owner.reference(), &[&offer], v2.digest)
}

fn inherited_version_keeps_its_tag(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let second = owner.second(&[&owner.r1, &owner.v1.provenance]);
    let offer = second.offer().tag("latest", &owner.r1, &owner.v1);
    scene.gets(newcomer, &owner.reference(), &[&offer], owner.v1.digest)?;
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    scene.gets(follower, &owner.reference(), &[&offer], owner.v1.digest)
}

fn not_inherited_is_void(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let offer = owner.second(&[]).offer().tag("latest", &owner.r1, &owner.v1);
    scene.is_refused(newcomer, &owner.reference(), &[&offer], "retired")
}

fn held_stays_readable_by_digest(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let second = owner.second(&[]);
    let v2 = second.model("tale", "two", 2, &[11]);
    let r2 = second.record(&v2, "latest", 2, None, 2, &[11]);
    scene.gets(follower, &owner.reference(), &[&second.offer().tag("latest", &r2, &v2)], v2.digest)?;
    let by_digest = format!("{}@{}", owner.reference(), owner.v1.digest);
    scene.gets(follower, &by_digest, &[], owner.v1.digest)
}

fn newer_keys_outrank(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let nine = owner.first.record(&owner.v1, "latest", 9, None, 1, &[1]);
    let offer = owner.first.offer().tag("latest", &nine, &owner.v1);
    scene.gets(follower, &owner.reference(), &[&offer], owner.v1.digest)?;
    let second = owner.second(&[&nine, &owner.v1.provenance]);
    let v2 = second.model("tale", "two", 2, &[11]);
    let r2 = second.record(&v2, "latest", 1, None, 2, &[11]);
    let offer = second.offer().tag("latest", &r2, &v2);
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)
}

fn retired_key_moves_no_tag(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    for seq in [2, 3, 1000] {
        let (model, record) = owner.stolen("latest", "tale", seq, Some(&owner.r1));
        let thief = second.offer().tag("latest", &record, &model);
        scene.gets(follower, &owner.reference(), &[&thief], v2.digest)?;
        let old = owner.first.offer().tag("latest", &record, &model);
        scene.gets(follower, &owner.reference(), &[&old], v2.digest)?;
    }
    Ok(())
}

fn retired_key_makes_no_model(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let (model, record) = owner.stolen("latest", "other", 1, None);
    let reference = format!("{}/other", owner.first.id);
    let thief = second.offer().tag("latest", &record, &model);
    scene.is_refused(follower, &reference, &[&thief], "retired")?;
    let by_digest = format!("{reference}@{}", model.digest);
    scene.is_refused(follower, &by_digest, &[&thief], "")?;
    scene.is_refused(newcomer, &reference, &[&thief], "retired")
}

fn retired_key_makes_no_tag(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let (model, record) = owner.stolen("v9", "tale", 1, None);
    let thief = second.offer().tag("v9", &record, &model);
    scene.is_refused(follower, &format!("{}:v9", owner.reference()), &[&thief], "retired")
}

fn retired_key_delegates_nothing(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let stranger = Identity::new(&[66], 1, &[], 1);
    let theirs = stranger.model("llama", "theirs", 1, &[66]);
    let record = stranger.record(&theirs, "latest", 1, None, 1, &[66]);
    let lent = owner.first.delegate("*", stranger.id, 1, &[1]);
    let thief = second.offer().delegated("llama", &lent);
    let helper = stranger.offer().tag("latest", &record, &theirs);
    scene.is_refused(follower, &format!("{}/llama", owner.first.id), &[&thief, &helper], "")
}

fn retired_key_withdraws_nothing(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, r2, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    for document in [1, 2] {
        let withdrawn = second.revoke(Revoked::Manifest(v2.digest), document, &[1]);
        let thief = second.offer().tag("latest", &r2, &v2).revoked(&[&withdrawn]);
        scene.gets(follower, &owner.reference(), &[&thief], v2.digest)?;
    }
    Ok(())
}

fn retired_key_revokes_no_newer_key(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, r2, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    for document in [1, 2] {
        let revoked = second.revoke(Revoked::Key(public(11)), document, &[1]);
        let thief = second.offer().tag("latest", &r2, &v2).revoked(&[&revoked]);
        scene.gets(follower, &owner.reference(), &[&thief], v2.digest)?;
        scene.gets(newcomer, &owner.reference(), &[&thief], v2.digest)?;
    }
    Ok(())
}

fn retired_key_revokes_itself(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let second = owner.second(&[&owner.r1, &owner.v1.provenance]);
    let revoked = owner.first.revoke(Revoked::Key(public(1)), 1, &[1]);
    let offer = second.offer().tag("latest", &owner.r1, &owner.v1).revoked(&[&revoked]);
    scene.gets(newcomer, &owner.reference(), &[&offer], owner.v1.digest)
}

/// Returns what a thief of key 1 says that rotates to a key of its own.
fn fork(owner: &Owner) -> (Identity, Model, Offer) {
    let branch = owner.first.rotated(&[66], 1, &[67], &[1, 66], &[]);
    let model = branch.model("tale", "thief", 2, &[66]);
    let record = branch.record(&model, "latest", 5, Some(&owner.r1), 2, &[66]);
    let offer = branch.offer().tag("latest", &record, &model);
    (branch, model, offer)
}

fn thief_rotates_before_a_follower(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let (_, stolen, thief) = fork(&owner);
    if scene.committed {
        // The thief has today's key and none of the next ones: its document is not valid.
        scene.gets(follower, &owner.reference(), &[&thief], owner.v1.digest)?;
        let (_, v2, _, offer) = owner.moved_on();
        return scene.gets(follower, &owner.reference(), &[&offer, &thief], v2.digest);
    }
    // Nothing tells the thief from the owner here; this is what a commitment is for.
    scene.gets(follower, &owner.reference(), &[&thief], stolen.digest)
}

fn thief_forks_before_a_follower(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (_, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let (_, _, thief) = fork(&owner);
    scene.gets(follower, &owner.reference(), &[&thief], v2.digest)?;
    scene.gets(follower, &owner.reference(), &[&thief, &offer], v2.digest)
}

fn thief_forks_before_a_newcomer(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (_, v2, _, offer) = owner.moved_on();
    let (_, _, thief) = fork(&owner);
    if scene.committed {
        return scene.gets(newcomer, &owner.reference(), &[&thief, &offer], v2.digest);
    }
    scene.is_refused(newcomer, &owner.reference(), &[&thief, &offer], "reg trust accept")?;
    let head = owner.moved_on().0.head();
    accept(&scene.newcomer, &owner, head)?;
    scene.gets(newcomer, &owner.reference(), &[&thief, &offer], v2.digest)
}

fn accept(home: &Home, owner: &Owner, head: Digest) -> Outcome {
    let (id, head) = (owner.first.id.to_string(), head.to_string());
    let ran = home.run(["trust", "accept", &id, "--head", &head, "--yes"]);
    if ran.code() == 0 { Ok(()) } else { Err(format!("accept: {}", ran.stderr())) }
}

fn thief_first_then_accept(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    let (_, stolen, thief) = fork(&owner);
    if scene.committed {
        scene.is_refused(newcomer, &owner.reference(), &[&thief], "")?;
        return scene.gets(newcomer, &owner.reference(), &[&offer], v2.digest);
    }
    scene.gets(newcomer, &owner.reference(), &[&thief], stolen.digest)?;
    // The captured node keeps what it saw first, and says that there is another branch.
    let (code, _, said) = scene.pull(newcomer, &owner.reference(), &[&offer]);
    if !said.contains("reg trust accept") {
        return Err(format!("captured without a word: exit {code}: {said}"));
    }
    accept(&scene.newcomer, &owner, second.head())?;
    scene.gets(newcomer, &owner.reference(), &[&offer, &thief], v2.digest)
}

fn todays_key_is_lost(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let second = owner.first.rotated(&[11], 1, &[12], &[11], &[&owner.r1, &owner.v1.provenance]);
    let v2 = second.model("tale", "two", 2, &[11]);
    let r2 = second.record(&v2, "latest", 2, Some(&owner.r1), 2, &[11]);
    let offer = second.offer().tag("latest", &r2, &v2);
    if scene.committed {
        return scene.gets(follower, &owner.reference(), &[&offer], v2.digest);
    }
    // Without a commitment the lost key would have to sign. What is held stays.
    scene.gets(follower, &owner.reference(), &[&offer], owner.v1.digest)
}

fn rotation_and_revocation(scene: &mut Scene, home: fn(&Scene) -> &Home) -> Outcome {
    let owner = scene.owner();
    let (second, v2, r2, _) = owner.moved_on();
    let revoked = second.revoke(Revoked::Key(public(1)), 2, &[11]);
    let old = second.record(&owner.v1, "old", 1, None, 2, &[11]);
    let offer = second.offer().tag("latest", &r2, &v2).tag("old", &old, &owner.v1).revoked(&[&revoked]);
    scene.gets(home, &owner.reference(), &[&offer], v2.digest)?;
    scene.gets(home, &format!("{}:old", owner.reference()), &[&offer], owner.v1.digest)?;
    let by_digest = format!("{}@{}", owner.reference(), owner.v1.digest);
    scene.gets(home, &by_digest, &[&offer], owner.v1.digest)
}

fn rotation_and_revocation_to_a_follower(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    rotation_and_revocation(scene, follower)
}

fn rotation_and_revocation_to_a_newcomer(scene: &mut Scene) -> Outcome {
    rotation_and_revocation(scene, newcomer)
}

fn revocation_before_rotation(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let revoked = owner.first.revoke(Revoked::Key(public(1)), 1, &[1]);
    let told = owner.told().revoked(&[&revoked]);
    scene.is_refused(follower, &owner.reference(), &[&told], "revoked")?;
    let (second, v2, r2, _) = owner.moved_on();
    let offer = second.offer().tag("latest", &r2, &v2).revoked(&[&revoked]);
    if !scene.committed {
        // A thief of the revoked key could have signed this as well; the user decides.
        scene.is_refused(follower, &owner.reference(), &[&offer], "reg trust accept")?;
        accept(&scene.follower, &owner, second.head())?;
    }
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)
}

fn manifest_then_key(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let withdrawn = owner.first.revoke(Revoked::Manifest(owner.v1.digest), 1, &[1]);
    let told = owner.told().revoked(&[&withdrawn]);
    scene.is_refused(follower, &owner.reference(), &[&told], "withdrawn")?;
    let second = owner.second(&[&owner.r1, &owner.v1.provenance, &withdrawn]);
    let key = second.revoke(Revoked::Key(public(1)), 2, &[11]);
    let v2 = second.model("tale", "two", 2, &[11]);
    let r2 = second.record(&v2, "latest", 2, Some(&owner.r1), 2, &[11]);
    let offer = second.offer().tag("latest", &r2, &v2).model(&owner.v1).revoked(&[&withdrawn, &key]);
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let by_digest = format!("{}@{}", owner.reference(), owner.v1.digest);
    scene.is_refused(follower, &by_digest, &[&offer], "withdrawn")
}

/// A board of keys 1, 2 and 3, two of which sign; keys 11, 12 and 13 come next.
fn board(scene: &Scene) -> Identity {
    let next: &[u8] = if scene.committed { &[11, 12, 13] } else { &[] };
    Identity::new(&[1, 2, 3], 2, next, 2)
}

fn one_of_two_is_not_enough(scene: &mut Scene) -> Outcome {
    let board = board(scene);
    let reference = format!("{}/tale", board.id);
    let model = board.model("tale", "one", 1, &[1, 2]);
    let by_one = board.record(&model, "latest", 1, None, 1, &[3]);
    let by_two = board.record(&model, "latest", 1, None, 1, &[3, 1]);
    scene.is_refused(newcomer, &reference, &[&board.offer().tag("latest", &by_one, &model)], "1 of 2")?;
    scene.gets(newcomer, &reference, &[&board.offer().tag("latest", &by_two, &model)], model.digest)
}

fn board_rotates(scene: &mut Scene) -> Outcome {
    let board = board(scene);
    let reference = format!("{}/tale", board.id);
    let v1 = board.model("tale", "one", 1, &[1, 2]);
    let r1 = board.record(&v1, "latest", 1, None, 1, &[1, 2]);
    scene.gets(follower, &reference, &[&board.offer().tag("latest", &r1, &v1)], v1.digest)?;
    let old: &[u8] = if scene.committed { &[] } else { &[2, 3] };
    for (signers, is_enough) in [(vec![11], false), (vec![11, 13], true)] {
        let by = [&signers[..], old].concat();
        let second = board.rotated(&[11, 12, 13], 2, &[21, 22], &by, &[&r1, &v1.provenance]);
        let v2 = second.model("tale", "two", 2, &[11, 12]);
        let r2 = second.record(&v2, "latest", 2, Some(&r1), 2, &[12, 13]);
        let offer = second.offer().tag("latest", &r2, &v2);
        let expected = if is_enough { v2.digest } else { v1.digest };
        scene.gets(follower, &reference, &[&offer], expected)?;
    }
    Ok(())
}

fn stolen_key_of_a_board(scene: &mut Scene) -> Outcome {
    let board = board(scene);
    let reference = format!("{}/tale", board.id);
    let v1 = board.model("tale", "one", 1, &[1, 2]);
    let r1 = board.record(&v1, "latest", 1, None, 1, &[1, 2]);
    scene.gets(follower, &reference, &[&board.offer().tag("latest", &r1, &v1)], v1.digest)?;
    let stolen = board.model("tale", "thief", 1, &[3]);
    let record = board.record(&stolen, "latest", 2, Some(&r1), 1, &[3]);
    scene.gets(follower, &reference, &[&board.offer().tag("latest", &record, &stolen)], v1.digest)?;
    // The other two revoke it and go on.
    let revoked = board.revoke(Revoked::Key(public(3)), 1, &[1, 2]);
    let v2 = board.model("tale", "two", 1, &[1, 2]);
    let r2 = board.record(&v2, "latest", 2, Some(&r1), 1, &[1, 2]);
    let offer = board.offer().tag("latest", &r2, &v2).revoked(&[&revoked]);
    scene.gets(follower, &reference, &[&offer], v2.digest)
}

fn delegations_are_inherited(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let friend = Identity::new(&[55], 1, &[], 1);
    let theirs = friend.model("llama", "theirs", 1, &[55]);
    let record = friend.record(&theirs, "latest", 1, None, 1, &[55]);
    let lent = owner.first.delegate("llama*", friend.id, 1, &[1]);
    let helper = friend.offer().tag("latest", &record, &theirs);
    let reference = format!("{}/llama", owner.first.id);
    let without = owner.second(&[]).offer().delegated("llama", &lent);
    scene.is_refused(newcomer, &reference, &[&without, &helper], "")?;
    let with = owner.second(&[&lent]).offer().delegated("llama", &lent);
    scene.gets(follower, &reference, &[&with, &helper], theirs.digest)
}

fn delegation_is_revoked(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let friend = Identity::new(&[55], 1, &[], 1);
    let theirs = friend.model("llama", "theirs", 1, &[55]);
    let record = friend.record(&theirs, "latest", 1, None, 1, &[55]);
    let lent = owner.first.delegate("llama*", friend.id, 1, &[1]);
    let second = owner.second(&[&lent]);
    let ended = second.revoke(Revoked::Delegation(lent.payload), 2, &[11]);
    let offer = second.offer().delegated("llama", &lent).revoked(&[&ended]);
    let helper = friend.offer().tag("latest", &record, &theirs);
    scene.is_refused(newcomer, &format!("{}/llama", owner.first.id), &[&offer, &helper], "")
}

fn mirror_serves(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (_, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    // The publisher is gone. The follower itself is the mirror now.
    let mirror = reg_testnet::process::Daemon::start(&scene.follower, ["--dht", "off"]);
    let ran = scene.newcomer.pull(&owner.reference(), &[&mirror.address()], &["--dht", "off", "--overwrite"]);
    let manifest = if ran.code() == 0 { ran.json()["manifest"].to_string() } else { ran.stderr() };
    if manifest.contains(&v2.digest.to_string()) { Ok(()) } else { Err(manifest) }
}

fn list_is_held_back(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let second = owner.second(&[&owner.r1, &owner.v1.provenance]);
    let offer = second.offer().tag("latest", &owner.r1, &owner.v1);
    let half = offer.clone().without_list();
    scene.is_refused(newcomer, &owner.reference(), &[&half], "list")?;
    scene.gets(newcomer, &owner.reference(), &[&half, &offer], owner.v1.digest)?;
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    scene.gets(follower, &owner.reference(), &[&half], owner.v1.digest)
}

fn two_rotations(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    scene.gets(follower, &owner.reference(), &[&owner.told()], owner.v1.digest)?;
    let (second, v2, r2, _) = owner.moved_on();
    let taken = [&owner.r1, &owner.v1.provenance, &r2, &v2.provenance];
    let third = second.rotated(&[12], 1, &[13], &[12], &taken);
    let v3 = third.model("tale", "three", 3, &[12]);
    let r3 = third.record(&v3, "latest", 3, Some(&r2), 3, &[12]);
    let offer = third.offer().tag("latest", &r3, &v3).model(&v2).model(&owner.v1);
    scene.gets(follower, &owner.reference(), &[&offer], v3.digest)?;
    for old in [&owner.v1, &v2] {
        let by_digest = format!("{}@{}", owner.reference(), old.digest);
        scene.gets(newcomer, &by_digest, &[&offer], old.digest)?;
    }
    Ok(())
}

fn bystander_tells_of_a_fork(scene: &mut Scene) -> Outcome {
    let owner = scene.owner();
    let (second, v2, _, offer) = owner.moved_on();
    scene.gets(follower, &owner.reference(), &[&offer], v2.digest)?;
    let (_, _, thief) = fork(&owner);
    scene.gets(follower, &owner.reference(), &[&thief], v2.digest)?;
    let ask = |scene: &Scene| {
        let bystander = reg_testnet::process::Daemon::start(&scene.follower, ["--dht", "off"]);
        let from = bystander.address();
        let flags = ["--dht", "off", "--no-gossip", "--overwrite"];
        let ran = scene.newcomer.pull(&owner.reference(), &[&from], &flags);
        bystander.stop();
        if ran.code() == 0 { ran.stdout() } else { ran.stderr() }
    };
    let expected = |said: String, what: &str| if said.contains(what) { Ok(()) } else { Err(said) };
    if !scene.committed {
        expected(ask(scene), "reg trust accept")?;
        // The users have decided, so the fork is not told any more.
        accept(&scene.follower, &owner, second.head())?;
        accept(&scene.newcomer, &owner, second.head())?;
    }
    expected(ask(scene), &v2.digest.to_string())
}

#[test]
fn sixty_cases_of_keys_and_none_is_wrong() {
    let all: Vec<(&Case, bool)> = [true, false]
        .into_iter()
        .flat_map(|committed| CASES.iter().map(move |case| (case, committed)))
        .collect();
    let step = if is_full() { 1 } else { DEFAULT_STEP };
    if !is_full() {
        left_out(
            "40 of 60 cases of keys",
            "they take a minute",
            "REG_FULL=1 cargo test --workspace --test trust sixty",
        );
    }
    let chosen: Vec<_> = all.into_iter().step_by(step).collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _worker in 0..2 {
            scope.spawn(|| {
                while let Some(((name, case), committed)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (follower, newcomer) = (Home::new("follower"), Home::new("newcomer"));
                    let mut scene =
                        Scene { committed: *committed, liars: Liars::default(), follower, newcomer };
                    if let Err(error) = case(&mut scene) {
                        let kind = if *committed { "committed" } else { "not committed" };
                        wrong.lock().expect("no panic").push(format!("{name} ({kind}): {error}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    println!("{} cases, {} wrong", chosen.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
