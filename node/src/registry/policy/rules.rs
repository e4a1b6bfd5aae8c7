//! [`judge_trust`] and [`judge_formats`]: from the facts of a model and the user's rules to checks.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::behind::Behind;
use reg_api::check::Check;
use reg_api::consent::Consent;
use reg_api::rule::{Quorum, Rule};
use reg_proto::attestation::{AttestationKind, AttestationResult};
use reg_proto::content::kind::ContentKind;
use reg_proto::name::{ModelName, Petname, PublisherId};

/// The facts of a model that are known before its files are fetched.
#[derive(Debug, Clone)]
pub struct Facts {
    pub publisher: PublisherId,
    pub model: ModelName,
    /// The publishers that the user gave petnames to.
    pub petnames: BTreeMap<Petname, PublisherId>,
    /// Verified attestations: the attestor, the kind and the result.
    pub attestations: Vec<(PublisherId, AttestationKind, AttestationResult)>,
    /// The licences that the publisher claims; `None` where they could not be read.
    pub licenses: Option<Vec<String>>,
    /// How the version stands behind the head of the tag that it was asked for by; `None` where it does not.
    pub behind: Option<Behind>,
}

/// Judges a model by every rule that applies to it. The model must meet all of them.
pub fn judge_trust(rules: &[Rule], facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for rule in rules.iter().filter(|it| it.is_for(facts.publisher, &facts.model)) {
        let scope = rule.scope.to_string();
        if rule.known_publisher {
            checks.push(known_publisher(&scope, facts));
        }
        checks.extend(rule.attestations.iter().map(|quorum| attested(&scope, quorum, facts)));
        if !rule.licenses.is_empty() {
            checks.push(licensed(&scope, &rule.licenses, facts.licenses.as_deref()));
        }
        if rule.newest {
            checks.push(newest(&scope, facts.behind.as_ref()));
        }
    }
    if checks.is_empty() {
        checks.push(Check::not_done("rules", "no rule of yours is for it (`reg trust require`)"));
    }
    checks
}

/// Returns `given` together with what the rules for a model allow.
pub fn consent_to(rules: &[Rule], publisher: PublisherId, model: &ModelName, given: &Consent) -> Consent {
    let of_model = rules.iter().filter(|it| it.is_for(publisher, model));
    given.with(of_model.flat_map(|it| it.allow.iter().copied()))
}

/// Judges the files of a model by their kinds, once the bytes are known.
pub fn judge_formats<'a>(
    rules: &[Rule],
    publisher: PublisherId,
    model: &ModelName,
    files: impl IntoIterator<Item = (&'a str, ContentKind)> + Clone,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for rule in rules.iter().filter(|it| !it.formats.is_empty() && it.is_for(publisher, model)) {
        let wrong = files.clone().into_iter().find(|(_, kind)| !rule.formats.contains(kind));
        let wanted: Vec<&str> = rule.formats.iter().map(|it| it.name()).collect();
        let (scope, wanted) = (&rule.scope, wanted.join(", "));
        checks.push(match wrong {
            None => {
                Check::pass("formats", format_args!("{scope} allows {wanted}, and there is nothing else"))
            }
            Some((path, kind)) => {
                Check::deny("formats", format_args!("{scope} allows {wanted}, and {path} is of kind {kind}"))
            }
        });
    }
    checks
}

fn known_publisher(scope: &str, facts: &Facts) -> Check {
    let named = facts.petnames.iter().find(|(_, id)| **id == facts.publisher);
    match named {
        Some((petname, _)) => Check::pass("known publisher", format_args!("you call it {petname}")),
        None => Check::deny(
            "known publisher",
            format_args!("{scope} wants a publisher that you have named, and {} is not", facts.publisher),
        ),
    }
}

fn newest(scope: &str, behind: Option<&Behind>) -> Check {
    const NAME: &str = "newest version";
    let Some(Behind { head, manifest, used, why, .. }) = behind else {
        return Check::pass(NAME, "no newer one is known");
    };
    Check::deny(
        NAME,
        format_args!(
            "{scope} wants the newest, {head} ({manifest}), which cannot be had: {why}; version {used} can be"
        ),
    )
}

fn attested(scope: &str, quorum: &Quorum, facts: &Facts) -> Check {
    let Quorum { kind, count, by } = quorum;
    // Where the rule names no attestors, the publisher's own attestation does not count.
    let counts = |attestor: &PublisherId| match by.is_empty() {
        true => *attestor != facts.publisher && facts.petnames.values().any(|it| it == attestor),
        false => by.contains(attestor),
    };
    let said = facts.attestations.iter().filter(|(attestor, it, _)| it == kind && counts(attestor));
    let (mut passes, mut fails) = (BTreeSet::new(), BTreeSet::new());
    for (attestor, _, result) in said {
        match result {
            AttestationResult::Pass => drop(passes.insert(attestor)),
            AttestationResult::Fail => drop(fails.insert(attestor)),
            AttestationResult::NotDone => {}
        }
    }
    // An attestor that says both pass and fail counts for neither.
    let passing = passes.difference(&fails).count();
    let shown = |ids: &BTreeSet<&PublisherId>| {
        let names: Vec<String> = ids.iter().map(|id| name(id, facts)).collect();
        if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
    };
    let check = format!("{kind} attestations");
    let attestors = if by.is_empty() {
        "attestors that you have named".to_owned()
    } else {
        format!("of {} named attestors", by.len())
    };
    if passing >= *count {
        let failing = fails.len();
        let detail = format!("{passing} {attestors} say pass{}, {count} are wanted", shown(&passes));
        return match failing {
            0 => Check::pass(&check, detail),
            _ => Check::note(&check, format_args!("{detail}; {failing} say fail{}", shown(&fails))),
        };
    }
    let failing = match fails.len() {
        0 => String::new(),
        count => format!(", {count} say fail{}", shown(&fails)),
    };
    let passes = shown(&passes);
    Check::deny(
        &check,
        format_args!("{scope} wants {count}, and {passing} {attestors} say pass{passes}{failing}"),
    )
}

fn name(id: &PublisherId, facts: &Facts) -> String {
    let named = facts.petnames.iter().find(|(_, it)| *it == id);
    named.map_or_else(|| id.to_string(), |(petname, _)| petname.to_string())
}

fn licensed(scope: &str, allowed: &BTreeSet<String>, claimed: Option<&[String]>) -> Check {
    let Some(claimed) = claimed else {
        return Check::deny(
            "licence",
            format_args!("{scope} wants a licence, and what is claimed cannot be read"),
        );
    };
    if claimed.is_empty() {
        return Check::deny("licence", format_args!("{scope} wants a licence, and none is claimed"));
    }
    let is_allowed = |claim: &&String| {
        let claim = claim.to_lowercase();
        claim.split(" or ").any(|it| allowed.contains(it.trim_matches(['(', ')', ' '])))
    };
    match claimed.iter().find(|claim| !is_allowed(claim)) {
        None => Check::pass("licence", format_args!("{} is claimed, as {scope} wants", claimed.join(", "))),
        Some(other) => Check::deny("licence", format_args!("{scope} does not allow {other}")),
    }
}

#[cfg(test)]
mod tests {
    use AttestationKind::{Review, Scan};
    use AttestationResult::{Fail, NotDone, Pass};

    use super::*;
    use reg_api::check::CheckResult;

    const fn id(byte: u8) -> PublisherId {
        PublisherId::from_bytes([byte; 32])
    }

    fn facts() -> Facts {
        Facts {
            publisher: id(1),
            model: "Tiny".parse().unwrap(),
            petnames: [("acme", 1), ("alice", 2), ("bob", 3)]
                .map(|(name, byte)| (name.parse().unwrap(), id(byte)))
                .into(),
            attestations: Vec::new(),
            licenses: Some(Vec::new()),
            behind: None,
        }
    }

    fn rule(scope: &str) -> Rule {
        Rule {
            scope: scope.parse().unwrap(),
            publisher: None,
            known_publisher: false,
            attestations: Vec::new(),
            licenses: BTreeSet::new(),
            formats: BTreeSet::new(),
            allow: BTreeSet::new(),
            newest: false,
        }
    }

    fn result(rules: &[Rule], facts: &Facts) -> CheckResult {
        judge_trust(rules, facts).into_iter().map(|it| it.result).max().unwrap()
    }

    #[test]
    fn without_a_rule_nothing_is_required() {
        assert_eq!(result(&[], &facts()), CheckResult::NotDone);
        let strict = Rule { known_publisher: true, ..rule("*/other-*") };
        assert_eq!(result(&[strict], &facts()), CheckResult::NotDone);
    }

    #[test]
    fn a_publisher_is_known_by_a_petname() {
        let rules = [Rule { known_publisher: true, ..rule("*/*") }];
        assert_eq!(result(&rules, &facts()), CheckResult::Pass);
        assert_eq!(result(&rules, &Facts { publisher: id(9), ..facts() }), CheckResult::Deny);
    }

    #[test]
    fn k_of_n_attestations_are_counted_by_attestor() {
        let (named, some): (&[u8], &[u8]) = (&[], &[2, 3, 9]);
        type Row<'a> = (&'a [u8], usize, &'a [(u8, AttestationKind, AttestationResult)], CheckResult);
        let table: [Row<'_>; 15] = [
            (some, 1, &[], CheckResult::Deny),
            (some, 1, &[(2, Scan, Pass)], CheckResult::Pass),
            (some, 2, &[(2, Scan, Pass)], CheckResult::Deny),
            (some, 2, &[(2, Scan, Pass), (2, Scan, Pass)], CheckResult::Deny),
            (some, 2, &[(2, Scan, Pass), (9, Scan, Pass)], CheckResult::Pass),
            (some, 2, &[(2, Scan, Pass), (8, Scan, Pass)], CheckResult::Deny),
            (some, 1, &[(2, Review, Pass)], CheckResult::Deny),
            (some, 1, &[(2, Scan, Fail)], CheckResult::Deny),
            (some, 1, &[(2, Scan, NotDone)], CheckResult::Deny),
            (some, 1, &[(2, Scan, Pass), (3, Scan, Fail)], CheckResult::Note),
            (some, 1, &[(2, Scan, Pass), (2, Scan, Fail)], CheckResult::Deny),
            (named, 1, &[(2, Scan, Pass)], CheckResult::Pass),
            (named, 1, &[(9, Scan, Pass)], CheckResult::Deny),
            (named, 1, &[(1, Scan, Pass)], CheckResult::Deny),
            (&[1], 1, &[(1, Scan, Pass)], CheckResult::Pass),
        ];
        for (by, count, said, expected) in table {
            let by = by.iter().map(|byte| id(*byte)).collect();
            let rules = [Rule { attestations: vec![Quorum { kind: Scan, count, by }], ..rule("*/*") }];
            let attestations = said.iter().map(|(by, kind, it)| (id(*by), *kind, *it)).collect();
            assert_eq!(result(&rules, &Facts { attestations, ..facts() }), expected, "{said:?}");
        }
    }

    #[test]
    fn every_licence_that_is_claimed_must_be_allowed() {
        let licenses = ["apache-2.0", "mit"].map(str::to_owned).into();
        let rules = [Rule { licenses, ..rule("*/*") }];
        let judge = |claimed: Option<&[&str]>| {
            let licenses = claimed.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
            result(&rules, &Facts { licenses, ..facts() })
        };
        assert_eq!(judge(Some(&["MIT"])), CheckResult::Pass);
        assert_eq!(judge(Some(&["Apache-2.0", "mit"])), CheckResult::Pass);
        assert_eq!(judge(Some(&["(GPL-3.0-only OR MIT)"])), CheckResult::Pass);
        assert_eq!(judge(Some(&["MIT AND GPL-3.0-only"])), CheckResult::Deny);
        assert_eq!(judge(Some(&["mit", "llama3"])), CheckResult::Deny);
        assert_eq!(judge(Some(&[])), CheckResult::Deny);
        assert_eq!(judge(None), CheckResult::Deny);
    }

    #[test]
    fn a_version_behind_the_head_is_refused_where_the_newest_is_wanted() {
        let behind = Behind {
            head: 2,
            manifest: reg_proto::digest::Digest::of(b"two"),
            used: 1,
            reason: reg_api::behind::BehindReason::Unreached,
            why: "no peer has it".to_owned(),
        };
        let newest = Rule { newest: true, ..rule("*/tiny") };
        let other = Rule { newest: true, ..rule("*/other") };
        let known = Rule { known_publisher: true, ..rule("*/*") };
        for (rule, behind, expected) in [
            (&newest, None, CheckResult::Pass),
            (&newest, Some(&behind), CheckResult::Deny),
            (&other, Some(&behind), CheckResult::NotDone),
            (&known, Some(&behind), CheckResult::Pass),
        ] {
            let facts = Facts { behind: behind.cloned(), ..facts() };
            assert_eq!(result(std::slice::from_ref(rule), &facts), expected);
        }
        let facts = Facts { behind: Some(behind.clone()), ..facts() };
        let detail = &judge_trust(&[newest], &facts)[0].detail;
        assert!(detail.contains(&behind.manifest.to_string()) && detail.contains("version 1"), "{detail}");
    }

    #[test]
    fn a_rule_allows_kinds_of_its_own_models_only() {
        let rules = [Rule { allow: [ContentKind::Pickle].into(), ..rule("*/tiny") }];
        let covers = |model: &str, kind| {
            consent_to(&rules, id(1), &model.parse().unwrap(), &Consent::default()).covers(kind)
        };
        assert!(covers("Tiny", ContentKind::Pickle));
        assert!(!covers("Tiny", ContentKind::Code) && !covers("other", ContentKind::Pickle));
        assert_eq!(result(&rules, &facts()), CheckResult::NotDone, "it requires nothing");
    }

    #[test]
    fn all_rules_that_are_for_a_model_count() {
        let known = Rule { known_publisher: true, ..rule("*/*") };
        let mit = Rule { licenses: ["mit".to_owned()].into(), ..rule("*/tiny") };
        assert_eq!(result(&[known.clone(), mit.clone()], &facts()), CheckResult::Deny);
        let licenses = Some(vec!["mit".to_owned()]);
        assert_eq!(result(&[known, mit], &Facts { licenses, ..facts() }), CheckResult::Pass);
    }

    #[test]
    fn formats_are_those_of_the_bytes() {
        use ContentKind::{Json, Pickle, Safetensors};
        let rules = [Rule { formats: [Safetensors, Json].into(), ..rule("*/*") }];
        let judge = |files: &[(&str, ContentKind)]| {
            let checks = judge_formats(&rules, id(1), &"x".parse().unwrap(), files.iter().copied());
            checks[0].result
        };
        assert_eq!(judge(&[("a", Safetensors), ("b", Json)]), CheckResult::Pass);
        assert_eq!(judge(&[("a.safetensors", Pickle)]), CheckResult::Deny);
        assert!(judge_formats(&[rule("*/*")], id(1), &"x".parse().unwrap(), [("a", Pickle)]).is_empty());
    }
}
