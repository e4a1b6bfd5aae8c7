//! Opens a store that the present binary wrote with the binary of before, and again with the present one.

use reg_testnet::before::reg_before;

use crate::going_on::{check_all_is_kept, offline, pulled_content};
use crate::old_home::{self, expected, publish};

#[test]
fn a_store_that_went_back_to_the_binary_of_before_loses_nothing() {
    let Some(before) = reg_before() else { return };
    let (mut home, said) = (old_home::me(), expected());
    let reference = format!("{}/moved", said.me);
    check_all_is_kept(&home, &said);
    publish(&home, "v5", "moved", &["--offline"]).ok();
    home.use_binary(Some(before));
    for args in [&["ls"][..], &["log", &reference], &["verify"]] {
        let ran = home.run(args);
        let (code, why) = (ran.code(), ran.stderr());
        assert!(!why.contains("panicked"), "{args:?}: {why}");
        assert!(code == 0 || why.contains("version"), "{args:?} ended with {code} and says not why: {why}");
    }
    home.use_binary(None);
    offline(&home, &reference).ok();
    assert!(pulled_content(&home).contains("v5"));
    let published = publish(&home, "v6", "moved", &["--offline"]).ok().json();
    assert_eq!(published["seq"], 6);
    for name in ["moved:stable", "settled"] {
        offline(&home, &format!("{}/{name}", said.me)).ok();
    }
    offline(&home, &format!("{}/frozen", said.me)).failed(4, "frozen");
}
