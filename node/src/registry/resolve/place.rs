//! [`TagPlace`]: whether a tag is one of this node, one of its peers, or none.
//!
//! A node remembers what it has seen of a tag for ever, so that no old record passes for a new one. So a tag that was removed
//! still resolves while another tag keeps its version, and is a tag of this node again then. Callers that create, fill, read or
//! delete a publisher's own tags ask here first.

use std::sync::Arc;

use reg_proto::name::{ModelName, Publisher, PublisherId, Tag};

use super::view::{ViewError, reference};
use super::{ResolveError, Resolver, Revision};
use crate::registry::publishers::{keys, tags, usable};

/// Where a tag of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagPlace {
    /// This node keeps a version under it.
    Here,
    /// This node keeps no version under it, and peers have told of one.
    Elsewhere,
    /// This node has seen the tag and keeps no version under it, and no peer in reach tells of it.
    Removed,
    /// Neither this node nor a peer in reach knows it.
    Nowhere,
}

impl Resolver {
    /// Finds out where a tag of a model is. Peers are asked only about a tag that is not here, for a bounded time.
    ///
    /// # Errors
    /// The publisher is not known, or its documents cannot be read.
    pub async fn place_of(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<TagPlace, ViewError> {
        let id = self.id_of(publisher, model)?;
        if self.tags_here(id, model).await?.contains(tag) {
            return Ok(TagPlace::Here);
        }
        let is_heard = !self.news.heads_of(id, Some(model), Some(tag)).is_empty();
        let of_peers = async || self.tags_of_peers(id, model).await.iter().any(|it| it.record().tag == *tag);
        if is_heard || !self.network.is_offline() && of_peers().await {
            return Ok(TagPlace::Elsewhere);
        }
        let (resolver, model, tag) = (self.clone(), model.clone(), tag.clone());
        let remembered = move || {
            let keys = keys::keys(&resolver.store, id).ok().flatten()?;
            usable::usable(&resolver.store, &keys, &model, &tag).ok().filter(|it| !it.is_empty())
        };
        let remembered = tokio::task::spawn_blocking(remembered).await.map_err(|_| ResolveError::Search)?;
        Ok(if remembered.is_some() { TagPlace::Removed } else { TagPlace::Nowhere })
    }

    /// Tells whether this node keeps a version of a model under any tag.
    ///
    /// # Errors
    /// The publisher is not known, or its documents cannot be read.
    pub async fn has_tags(
        self: &Arc<Self>,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<bool, ViewError> {
        Ok(!self.tags_here(self.id_of(publisher, model)?, model).await?.is_empty())
    }

    /// Returns the tags under which this node keeps versions of a model.
    async fn tags_here(
        self: &Arc<Self>,
        publisher: PublisherId,
        model: &ModelName,
    ) -> Result<Vec<Tag>, ViewError> {
        let (resolver, name) = (self.clone(), model.clone());
        let read = move || tags::records(&resolver.store, publisher, Some(&name));
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| ResolveError::Search)?;
        let records = read.map_err(|source| {
            let reference = reference(Publisher::Id(publisher), model, &Revision::Tag(Tag::latest()));
            ResolveError::Tags { reference, source }
        })?;
        Ok(records.into_iter().map(|it| it.record().tag.clone()).collect())
    }

    pub(super) fn id_of(
        &self,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<PublisherId, ResolveError> {
        self.trust.file.resolve(publisher).map_err(|source| {
            let reference = reference(publisher.clone(), model, &Revision::Tag(Tag::latest()));
            ResolveError::Trust { reference, source }
        })
    }
}
