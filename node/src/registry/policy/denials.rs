//! [`Denials`]: what the subscribed denylists warn of, without what the user allows.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::check::Check;
use reg_proto::denylist::Denied;
use reg_proto::digest::Digest;
use reg_proto::name::PublisherId;

/// One warning, with the list that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub reason: String,
    /// The list, as the user wrote it when subscribing.
    pub list: String,
}

/// All warnings of the lists that the user follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denials {
    pub denied: BTreeMap<Denied, Denial>,
    /// What the user allows although a list warns of it.
    pub allowed: BTreeSet<Denied>,
    /// The number of lists.
    pub lists: usize,
    /// A sentence for each list that is not in the store, or no longer current.
    pub notes: Vec<String>,
}

impl Denials {
    /// Returns why a model must not be pulled or served: a list names it, its publisher, or one of its blobs.
    pub fn of_model<'a>(
        &self,
        publisher: PublisherId,
        manifest: &Digest,
        blobs: impl IntoIterator<Item = &'a Digest>,
    ) -> Option<(Denied, &Denial)> {
        if self.denied.is_empty() || self.allowed.contains(&Denied::Digest(*manifest)) {
            return None;
        }
        let own = [Denied::Publisher(publisher), Denied::Digest(*manifest)];
        let blobs = blobs.into_iter().map(|blob| Denied::Digest(*blob));
        own.into_iter()
            .chain(blobs)
            .filter(|it| !self.allowed.contains(it))
            .find_map(|it| Some((it, self.denied.get(&it)?)))
    }

    /// Returns why a blob must not be served by itself.
    pub fn of_blob(&self, blob: &Digest) -> Option<&Denial> {
        let it = Denied::Digest(*blob);
        self.denied.get(&it).filter(|_| !self.allowed.contains(&it))
    }

    /// Returns the checks of a model against the lists.
    pub fn judge<'a>(
        &self,
        publisher: PublisherId,
        manifest: &Digest,
        blobs: impl IntoIterator<Item = &'a Digest>,
    ) -> Vec<Check> {
        let mut checks: Vec<Check> = self.notes.iter().map(|it| Check::note("denylists", it)).collect();
        checks.push(match self.of_model(publisher, manifest, blobs) {
            Some((denied, Denial { reason, list })) => {
                Check::deny("denylists", format_args!("{denied} is on {list}: {reason}"))
            }
            None if self.lists == 0 => Check::not_done("denylists", "none is subscribed to"),
            None => Check::pass("denylists", format_args!("on none of {}", self.lists)),
        });
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reg_api::check::CheckResult;

    #[test]
    fn a_model_is_denied_by_itself_its_publisher_or_a_blob_unless_the_user_allows_it() {
        let id = PublisherId::from_bytes([1; 32]);
        let [manifest, blob, other] = [b"manifest" as &[u8], b"blob", b"other"].map(Digest::of);
        let [m, p, b, o] =
            [Denied::Digest(manifest), Denied::Publisher(id), Denied::Digest(blob), Denied::Digest(other)];
        let denial = || Denial { reason: "bad".to_owned(), list: "acme/list".to_owned() };
        type Row = (Vec<Denied>, Vec<Denied>, CheckResult);
        let table: [Row; 10] = [
            (vec![], vec![], CheckResult::Pass),
            (vec![o], vec![], CheckResult::Pass),
            (vec![m], vec![], CheckResult::Deny),
            (vec![p], vec![], CheckResult::Deny),
            (vec![b], vec![], CheckResult::Deny),
            (vec![m, p, b], vec![m], CheckResult::Pass),
            (vec![p], vec![p], CheckResult::Pass),
            (vec![p, b], vec![p], CheckResult::Deny),
            (vec![b], vec![b], CheckResult::Pass),
            (vec![p], vec![b], CheckResult::Deny),
        ];
        for (denied, allowed, expected) in table {
            let denials = Denials {
                denied: denied.iter().map(|it| (*it, denial())).collect(),
                allowed: allowed.iter().copied().collect(),
                lists: 1,
                notes: Vec::new(),
            };
            let checks = denials.judge(id, &manifest, [&blob]);
            assert_eq!(checks.last().unwrap().result, expected, "{denied:?} {allowed:?}");
            assert_eq!(
                denials.of_blob(&blob).is_some(),
                denied.contains(&b) && !allowed.contains(&b),
                "{denied:?}"
            );
        }
        assert_eq!(Denials::default().judge(id, &manifest, [&blob])[0].result, CheckResult::NotDone);
    }
}
