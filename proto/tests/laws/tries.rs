//! What holds of tries: the root depends on the items alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reg_proto::catalogue::{ListingKey, ListingValue, Prefix, Trie};

/// Cases of a law: deep branches are hashed at each change.
fn cases() -> u32 {
    if std::env::var_os("REG_FULL").is_some() { 2000 } else { 50 }
}

/// Keys that share many nibbles, so that small sets have deep branches too.
fn key() -> impl Strategy<Value = ListingKey> {
    (0..4_u8, 0..64_u8, any::<u8>()).prop_map(|(kind, middle, last)| {
        let mut bytes = [0; 32];
        match kind {
            0 => bytes[31] = last,
            1 => (bytes[0], bytes[1]) = (middle, last),
            2 => (bytes[0], bytes[15]) = (0x80 | middle >> 4, last),
            _ => bytes = std::array::from_fn(|it| last.wrapping_mul(it as u8).wrapping_add(middle)),
        }
        ListingKey::from_bytes(bytes)
    })
}

fn value() -> impl Strategy<Value = ListingValue> {
    (0..3_u8).prop_map(|it| ListingValue::from_bytes([it; 32]))
}

fn items() -> impl Strategy<Value = BTreeMap<ListingKey, ListingValue>> {
    prop::collection::btree_map(key(), value(), 0..300)
}

fn trie(items: &BTreeMap<ListingKey, ListingValue>) -> Trie {
    items.iter().map(|(key, value)| (*key, *value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_insertion_and_removal_gives_the_root(
        kept in items(),
        gone in items(),
        order in any::<prop::sample::Index>(),
    ) {
        let mut mixed: Vec<_> = kept.iter().chain(&gone).map(|(key, value)| (*key, *value)).collect();
        let turn = order.index(mixed.len() + 1).min(mixed.len());
        mixed.rotate_left(turn);
        let mut other: Trie = mixed.into_iter().rev().collect();
        for key in gone.keys().rev().filter(|key| !kept.contains_key(key)) {
            prop_assert!(other.remove(key).is_some());
            prop_assert!(other.remove(key).is_none());
        }
        for (key, value) in &kept {
            prop_assert!(other.insert(*key, *value).is_some(), "it is there already");
        }
        let one = trie(&kept);
        prop_assert_eq!(&one, &other, "hashes that are kept are right, and the form is canonical");
        prop_assert_eq!(one.root(), other.root());
        prop_assert_eq!(one.len(), kept.len());
        prop_assert_eq!(one.items(&Prefix::default()).collect::<BTreeMap<_, _>>(), kept.clone());
        for (key, value) in &kept {
            prop_assert_eq!(one.get(key), Some(*value));
        }
    }

    #[test]
    fn roots_are_equal_where_the_sets_are(one in items(), two in items(), at in any::<prop::sample::Index>()) {
        prop_assert_eq!(trie(&one).root() == trie(&two).root(), one == two);
        if !one.is_empty() {
            let mut changed = one.clone();
            let key = *one.keys().nth(at.index(one.len())).expect("a key");
            changed.insert(key, ListingValue::from_bytes([9; 32]));
            prop_assert_ne!(trie(&changed).root(), trie(&one).root());
            changed.remove(&key);
            prop_assert_ne!(trie(&changed).root(), trie(&one).root());
        }
    }

    #[test]
    fn parts_that_are_put_together_again_give_the_root(all in items(), split in prop::collection::vec(any::<bool>(), 300)) {
        let (one, two): (Vec<_>, Vec<_>) = all.iter().zip(split).partition(|(_, is_one)| *is_one);
        let mut merged: Trie = one.into_iter().map(|((key, value), _)| (*key, *value)).collect();
        for ((key, value), _) in two {
            merged.insert(*key, *value);
        }
        prop_assert_eq!(merged.root(), trie(&all).root());
    }

    #[test]
    fn a_part_is_what_its_items_are(all in items(), of in key(), length in 0..65_usize) {
        let whole = trie(&all);
        let mut prefix = Prefix::default();
        for depth in 0..length {
            let byte = of.as_bytes()[depth / 2];
            prefix = prefix.child(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }).expect("a shorter prefix");
        }
        let inside: BTreeMap<_, _> =
            all.iter().filter(|(key, _)| prefix.covers(key)).map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(whole.items(&prefix).collect::<Vec<_>>(), inside.clone().into_iter().collect::<Vec<_>>());
        prop_assert_eq!(whole.subtree(&prefix).count, inside.len());
        let others: BTreeMap<_, _> = all.iter().filter(|(key, _)| !prefix.covers(key)).collect();
        let mut alone = whole.clone();
        for key in others.keys() {
            alone.remove(key);
        }
        prop_assert_eq!(alone.subtree(&prefix), whole.subtree(&prefix), "other parts do not count");
        match whole.branch(&prefix) {
            Some(children) => prop_assert_eq!(children.iter().map(|it| it.count).sum::<usize>(), inside.len()),
            None => prop_assert_eq!(length, 64),
        }
    }
}

#[test]
fn the_root_is_that_of_the_definition() {
    use sha2::{Digest, Sha256};
    let leaf = |items: &[(ListingKey, ListingValue)]| {
        let mut bytes = b"reg trie leaf v1\0".to_vec();
        bytes.extend((items.len() as u64).to_be_bytes());
        for (key, value) in items {
            bytes.extend(key.as_bytes());
            bytes.extend(value.as_bytes());
        }
        Sha256::digest(bytes)
    };
    assert_eq!(Trie::new().root(), *leaf(&[]));
    let items: Vec<_> = (0..17_u8)
        .map(|it| (ListingKey::from_bytes([it * 15; 32]), ListingValue::from_bytes([it; 32])))
        .collect();
    let trie: Trie = items.iter().copied().take(16).collect();
    assert_eq!(trie.root(), *leaf(&items[..16]));
    let trie: Trie = items.iter().copied().collect();
    let mut bytes = b"reg trie branch v1\0".to_vec();
    bytes.extend(17_u64.to_be_bytes());
    for nibble in 0..16_u8 {
        let own: Vec<_> = items.iter().copied().filter(|(key, _)| key.as_bytes()[0] >> 4 == nibble).collect();
        bytes.extend(leaf(&own));
    }
    assert_eq!(trie.root(), *Sha256::digest(bytes));
}
