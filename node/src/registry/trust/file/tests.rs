//! Tests of what a trust file promises, each with the case that could break it.

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::RawQuorum;
use super::*;

fn id(byte: u8) -> PublisherId {
    PublisherId::from_bytes([byte; 32])
}

fn petname(text: &str) -> Petname {
    text.parse().unwrap()
}

fn with_text(text: &str) -> (TempDir, TrustFile) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("trust.toml");
    fs::write(&path, text).unwrap();
    (home, TrustFile::open(path))
}

#[test]
fn means_what_was_given_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let trust = TrustFile::open(home.path().join("config/trust.toml"));
    assert!(trust.list().unwrap().is_empty());
    let acme = Publisher::Petname(petname("acme"));
    let unknown = trust.resolve(&acme).unwrap_err();
    assert_eq!(unknown.to_string(), "acme is not a petname you have given");
    let hint = unknown.hint().unwrap();
    for way_on in ["reg search acme", "reg trust add acme ID", "reg import hf:acme/MODEL"] {
        assert!(hint.contains(way_on), "{hint}");
    }
    // A key of the user's own names its publisher, and a petname comes before it.
    let own = OwnNames::new(|petname| (petname.as_str() == "acme").then(|| id(7)));
    assert_eq!(trust.clone().with_own(Some(own.clone())).resolve(&acme).unwrap(), id(7));
    assert!(trust.add(&petname("acme"), id(1)).unwrap());
    assert!(!trust.add(&petname("acme"), id(1)).unwrap());
    assert_eq!(trust.resolve(&acme).unwrap(), id(1));
    assert_eq!(trust.clone().with_own(Some(own)).resolve(&acme).unwrap(), id(1));
    assert_eq!(trust.resolve(&Publisher::Id(id(9))).unwrap(), id(9));
    let taken = trust.add(&petname("acme"), id(2)).unwrap_err();
    assert!(matches!(&taken, TrustError::Taken { publisher, .. } if *publisher == id(1)));
    assert!(taken.to_string().contains(&id(1).to_string()));
    assert!(trust.add(&petname("acme-labs"), id(1)).unwrap());
    assert_eq!(trust.list().unwrap().len(), 2);
}

#[test]
fn an_added_line_leaves_the_users_own_as_they_were() {
    let text = format!("# mine\n[petnames]\n  acme = \"{}\" # since 2024", id(1));
    let (home, trust) = with_text(&text);
    trust.add(&petname("zeta"), id(2)).unwrap();
    let after = fs::read_to_string(home.path().join("trust.toml")).unwrap();
    assert!(after.starts_with(&text), "{after}");
    assert_eq!(trust.list().unwrap().len(), 2);
    for text in ["", "[petnames]\n", "petnames = {}\n", &format!("petnames.acme = \"{}\"\n", id(1))] {
        let (_home, trust) = with_text(text);
        let before = trust.list().unwrap().len();
        trust.add(&petname("zeta"), id(2)).unwrap();
        assert_eq!(trust.list().unwrap().len(), before + 1, "{text}");
    }
}

#[test]
fn refuses_what_it_does_not_understand() {
    let line = |name: &str, value: &str| format!("[petnames]\n{name} = \"{value}\"\n");
    for text in [
        "petname = 1\n".to_owned(),
        "[petnames]\nacme = 1\n".to_owned(),
        line("Acme", &id(1).to_string()),
        line("acme", "abc"),
        line("acme", &id(1).to_string().to_uppercase()),
        line(&id(2).to_string(), &id(1).to_string()),
        line("acme", &id(1).to_string()) + &format!("acme = \"{}\"\n", id(2)),
        line("acme", &id(1).to_string()) + "[other]\n",
    ] {
        let (home, trust) = with_text(&text);
        assert!(trust.list().is_err(), "{text}");
        assert!(trust.add(&petname("zeta"), id(3)).is_err());
        assert_eq!(fs::read_to_string(home.path().join("trust.toml")).unwrap(), text);
    }
    let (_home, trust) = with_text(&"#".repeat(TRUST_FILE_BYTES_MAX + 1));
    assert!(matches!(trust.list(), Err(TrustError::Read { .. })));
}

#[test]
fn two_that_add_at_once_lose_nothing() {
    let (_home, trust) = with_text("");
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let trust = trust.clone();
            scope.spawn(move || {
                for it in 0..8u8 {
                    trust.add(&petname(&format!("p{thread}-{it}")), id(it)).unwrap();
                }
            });
        }
    });
    assert_eq!(trust.list().unwrap().len(), 32);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let (home, trust) = with_text("");
    let link = home.path().join("link.toml");
    std::os::unix::fs::symlink(home.path().join("trust.toml"), &link).unwrap();
    TrustFile::open(link.clone()).add(&petname("acme"), id(1)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(trust.list().unwrap().len(), 1);
}

fn rule() -> RawRule {
    RawRule {
        newest: false,
        models: "acme/*".to_owned(),
        known_publisher: true,
        licenses: vec!["MIT".to_owned()],
        formats: vec!["safetensors".to_owned()],
        allow: vec!["pickle".to_owned()],
        attestations: vec![RawQuorum {
            kind: "scan".to_owned(),
            count: 2,
            by: vec!["acme".to_owned(), id(7).to_string()],
        }],
    }
}

#[test]
fn rules_lists_and_exceptions_come_and_go_and_comments_stay() {
    let text = format!("# mine\n[petnames]\nacme = \"{}\" # since 2024\n# the end\n", id(1));
    let (home, trust) = with_text(&text);
    trust.require(&rule()).unwrap();
    assert!(trust.subscribe("acme/denylist", true).unwrap());
    assert!(!trust.subscribe("acme/denylist", true).unwrap());
    let denied: Denied = id(9).to_string().parse().unwrap();
    assert!(trust.allow(&denied, true).unwrap());
    trust.add(&petname("zeta"), id(2)).unwrap();
    let meant = trust.load().unwrap();
    assert_eq!(meant.rules[0].publisher, Some(id(1)));
    assert_eq!(meant.rules[0].attestations[0].by, [id(1), id(7)].into());
    assert_eq!(meant.rules[0].licenses, ["mit".to_owned()].into());
    assert_eq!((meant.denylists[0].publisher, meant.allowed.len()), (id(1), 1));
    let file = home.path().join("trust.toml");
    let after = fs::read_to_string(&file).unwrap();
    for kept in ["# mine", "# since 2024", "# the end"] {
        assert!(after.contains(kept), "{after}");
    }
    assert!(trust.accept(&petname("acme"), id(5)).unwrap());
    assert!(fs::read_to_string(&file).unwrap().contains("# since 2024"));
    assert_eq!(trust.load().unwrap().rules[0].publisher, Some(id(5)), "a rule follows the name");
    let needed = trust.remove(&petname("acme")).unwrap_err();
    assert!(matches!(needed, TrustError::InUse { .. }));
    assert_eq!(trust.waive(&"acme/*".parse().unwrap()).unwrap(), 1);
    assert!(matches!(trust.waive(&"acme/*".parse().unwrap()), Err(TrustError::Missing { .. })));
    trust.subscribe("acme/denylist", false).unwrap();
    assert!(trust.subscribe("acme/denylist", false).is_err());
    trust.allow(&denied, false).unwrap();
    trust.remove(&petname("acme")).unwrap();
    let meant = trust.load().unwrap();
    assert_eq!(
        meant,
        TrustEntries {
            names: Names { petnames: [(petname("zeta"), id(2))].into(), ..Names::default() },
            ..TrustEntries::default()
        }
    );
}

#[test]
fn rules_that_cannot_be_meant_are_refused_and_change_nothing() {
    let text = format!("[petnames]\nacme = \"{}\"\n", id(1));
    let (home, trust) = with_text(&text);
    let with = |change: fn(&mut RawRule)| {
        let mut rule = rule();
        change(&mut rule);
        rule
    };
    for rule in [
        with(|it| it.models = "acme".to_owned()),
        with(|it| it.models = "nobody/*".to_owned()),
        with(|it| it.formats = vec!["exe".to_owned()]),
        with(|it| it.attestations[0].kind = "scans".to_owned()),
        with(|it| it.attestations[0].count = 0),
        with(|it| it.attestations[0].count = 3),
        with(|it| it.attestations[0].by = vec!["nobody".to_owned()]),
        RawRule { models: "*/*".to_owned(), ..RawRule::default() },
    ] {
        assert!(trust.require(&rule).is_err(), "{rule:?}");
    }
    for list in ["denylist", "nobody/denylist", "acme/denylist:v1"] {
        assert!(trust.subscribe(list, true).is_err(), "{list}");
    }
    assert_eq!(fs::read_to_string(home.path().join("trust.toml")).unwrap(), text);
}

proptest! {
    #[test]
    fn a_damaged_file_is_an_error_at_most(
        text in "(\\[petnames\\]\n|\\[\\[rules\\]\\]\n|\\[denylists\\]\nallow=\\[\\]\n|[a-z\"=.\n#\\[\\]{} ]|\\PC){0,60}"
    ) {
        let trust = TrustFile::open(PathBuf::from("trust.toml"));
        if let Ok(before) = trust.parse(&text) {
            let name = petname("added-by-test");
            let added = trust.changed(&text, |document, _| trust.point(document, "petnames", name.as_str(), id(1)));
            if let Ok(Some(after)) = added {
                let mut wanted = before;
                wanted.names.petnames.insert(name, id(1));
                prop_assert_eq!(trust.parse(&after).unwrap(), wanted);
            }
        }
    }
}

#[test]
fn a_domain_is_pinned_once_and_moves_only_where_the_user_says_so() {
    let text = format!("# mine\n[petnames]\nacme = \"{}\" # since 2024\n", id(1));
    let (home, trust) = with_text(&text);
    let domain: Domain = "acme.org".parse().unwrap();
    let named = Publisher::Domain(domain.clone());
    let unpinned = trust.resolve(&named).unwrap_err();
    assert_eq!(unpinned.kind(), FaultKind::NotFound);
    let hint = unpinned.hint().unwrap();
    assert!(hint.contains("reg trust add acme.org") && hint.contains("reg pull acme.org/MODEL"), "{hint}");
    assert!(trust.pin_domain(&domain, id(2), false).unwrap());
    assert!(!trust.pin_domain(&domain, id(2), false).unwrap());
    assert_eq!(trust.resolve(&named).unwrap(), id(2));
    let other = trust.pin_domain(&domain, id(3), false).unwrap_err();
    assert!(matches!(&other, TrustError::Pinned { publisher, .. } if *publisher == id(2)));
    assert_eq!(trust.resolve(&named).unwrap(), id(2));
    trust.require(&RawRule { models: "acme.org/*".to_owned(), newest: true, ..RawRule::default() }).unwrap();
    assert!(trust.pin_domain(&domain, id(3), true).unwrap());
    assert_eq!(trust.load().unwrap().rules[0].publisher, Some(id(3)), "a rule follows the pin");
    let needed = trust.unpin_domain(&domain).unwrap_err();
    assert!(
        matches!(needed, TrustError::DomainInUse { .. }) && needed.kind() == FaultKind::Denied,
        "{needed}"
    );
    assert!(needed.to_string().contains("acme.org is in use"), "{needed}");
    trust.waive(&"acme.org/*".parse().unwrap()).unwrap();
    trust.unpin_domain(&domain).unwrap();
    assert!(matches!(trust.unpin_domain(&domain), Err(TrustError::Missing { .. })));
    let after = fs::read_to_string(home.path().join("trust.toml")).unwrap();
    assert!(after.starts_with(&text), "{after}");
    assert!(!after.contains("domains"), "an earlier version refuses a file with this table: {after}");
}

#[test]
fn a_petname_of_before_with_a_dot_is_meant_before_a_domain() {
    let text = format!(
        "[petnames]\n\"acme.org\" = \"{}\"\n[domains]\n\"acme.org\" = \"{}\"\n\"lab.example\" = \"{}\"\n",
        id(1),
        id(2),
        id(3)
    );
    let (_home, trust) = with_text(&text);
    let resolve = |text: &str| trust.resolve(&text.parse().unwrap()).unwrap();
    assert_eq!((resolve("acme.org"), resolve("lab.example")), (id(1), id(3)));
    assert!(trust.accept(&petname("acme.org"), id(4)).unwrap(), "it is moved like before");
    for add in [trust.add(&petname("new.name"), id(1)), trust.accept(&petname("new.name"), id(1))] {
        assert!(matches!(add, Err(TrustError::Dotted { .. })));
    }
    trust.remove(&petname("acme.org")).unwrap();
    assert_eq!(resolve("acme.org"), id(2), "then the domain is meant");
    for text in [
        "[domains]\n\"acme\" = \"x\"\n",
        "[domains]\n\"acme.org\" = \"x\"\n",
        "[domains]\n\"127.0.0.1\" = \"x\"\n",
    ] {
        assert!(with_text(text).1.load().is_err(), "{text}");
    }
    let twice = format!("[domains]\n\"acme.org\" = \"{0}\"\n\"ACME.org\" = \"{0}\"\n", id(1));
    assert!(with_text(&twice).1.load().is_err(), "one domain in two spellings");
}

/// The table is there with the first collection and gone with the last, because an earlier version refuses it.
#[test]
fn collections_are_bounded_and_their_table_goes_with_the_last() {
    let before = format!("# mine\n[petnames]\nacme = \"{}\"\n", id(1));
    let (home, trust) = with_text(&before);
    let text = || fs::read_to_string(home.path().join("trust.toml")).unwrap();
    assert!(trust.collect("acme/small-ocr", true).unwrap());
    assert!(!trust.collect("acme/small-ocr", true).unwrap());
    assert!(trust.collect("acme/other", true).unwrap());
    assert_eq!(trust.load().unwrap().collections[0].publisher, id(1));
    assert!(trust.load().unwrap().denylists.is_empty());
    assert!(trust.remove(&petname("acme")).is_err(), "a collection needs it");
    trust.collect("acme/other", false).unwrap();
    assert!(text().contains("small-ocr"), "{}", text());
    trust.collect("acme/small-ocr", false).unwrap();
    assert_eq!(text(), before);
    assert!(trust.collect("acme/small-ocr", false).is_err());
    for wrong in ["small-ocr", "nobody/small-ocr", "acme/small-ocr:v1"] {
        assert!(trust.collect(wrong, true).is_err(), "{wrong}");
    }
    for n in 0..COLLECTIONS_MAX {
        trust.collect(&format!("acme/list-{n}"), true).unwrap();
    }
    let full = trust.collect("acme/one-more", true).unwrap_err();
    assert!(matches!(full, TrustError::Refused(EntryError::TooMany { count: 17, .. })), "{full}");
}
