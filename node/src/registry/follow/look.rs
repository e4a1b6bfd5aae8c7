//! Asks peers for the newest records of a followed publisher.

use reg_api::reporter::Reporter;
use reg_proto::dht::DhtKey;
use reg_proto::limits::TAGS_PER_RESPONSE_MAX;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::time::{Instant, timeout_at};

use super::Following;
use crate::registry::limits::{FOLLOW_LOOK_TIMEOUT, FOLLOW_MODELS_ASKED, FOLLOW_PEERS_ASKED};
use crate::registry::resolve::{Finder, Search};

impl Following {
    /// Asks a few peers for the records of a publisher; what verifies is heard like gossip. `models` are known already. Returns
    /// how many peers have answered.
    pub(super) async fn look(&self, publisher: PublisherId, models: &[ModelName]) -> usize {
        let news = &self.puller.news;
        let known = news.heard_of(publisher, None);
        let hints = known.into_iter().flat_map(|head| head.holders).map(|holder| (holder, None)).collect();
        let keys = vec![DhtKey::publisher(&publisher)];
        // A follower is in no hurry: it takes what its peers know, and asks no strangers.
        let search = Search { from: Vec::new(), keys, strangers: None, hints, reporter: Reporter::silent() };
        let mut finder = Finder::start(&self.puller.network, search);
        let end = Instant::now() + FOLLOW_LOOK_TIMEOUT;
        let (mut asked, mut answered) = (0, 0);
        while asked < FOLLOW_PEERS_ASKED {
            let Ok(Some(peer)) = timeout_at(end, finder.next()).await else { break };
            asked += 1;
            let Ok(tags) = timeout_at(end, self.ask(peer, publisher, None)).await else { break };
            let Some(tags) = tags else { continue };
            answered += 1;
            if tags >= TAGS_PER_RESPONSE_MAX {
                for model in models.iter().take(FOLLOW_MODELS_ASKED) {
                    let _tags = timeout_at(end, self.ask(peer, publisher, Some(model.clone()))).await;
                }
            }
        }
        answered
    }

    /// Asks one peer, and returns how many records it has sent; `None` where it does not answer.
    async fn ask(&self, peer: PeerId, publisher: PublisherId, model: Option<ModelName>) -> Option<usize> {
        let request = Request::GetRecords { publisher, model, tag: None, documents: None };
        let records = match self.puller.network.ask(peer, request).await {
            Ok(Response::Records(records)) => records,
            Ok(_) => return Some(0),
            Err(_) => return None,
        };
        let tags = records.tags.len();
        self.puller.news.take_records(peer, records).await;
        Some(tags)
    }
}
