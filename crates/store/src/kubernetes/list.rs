//! Lists: of one collection or of several, in pages, all as of one revision.
//!
//! The API gives pages of a collection, and with each a word by which the next is asked for. That word is remembered under the
//! last key of the page, so the caller needs to know nothing of it; who asks with a key that isn't remembered gets his page from a list of all.

use ::http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::forms::{self, Collection};
use super::{Api, Kubernetes, Metadata, held_or_raw, trouble};
use crate::{Error, KeyValue, List, Listing, Result, Revision};

/// How many objects are asked for at once: some megabytes of pods.
const PAGE: usize = 500;

/// How many pages are remembered; of those that nobody asked for the oldest went first.
const REMEMBERED: usize = 64;

/// A list that was read up to a key: its prefix, its revision and that key.
pub type Seam = (String, Revision, String);

/// Where such a list goes on.
#[derive(Debug, Clone)]
pub struct Next {
    collection: usize,
    word: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: Metadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Where a collection's objects stand.
pub fn path(collection: &Collection, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => {
            format!("{}/namespaces/{}/{}", collection.api, super::escaped(namespace), collection.plural)
        }
        None => format!("{}/{}", collection.api, collection.plural),
    }
}

impl Kubernetes {
    /// A page of a list.
    pub(super) async fn page(&self, list: &List) -> Result<Listing> {
        let List { prefix, at, after, limit } = list;
        let wanted = forms::under(self.api.collections, prefix);
        let mut at = *at;
        let seam = after.as_ref().zip(at).map(|(after, at)| (prefix.clone(), at, after.clone()));
        let next = seam.as_ref().and_then(|seam| self.seams().remove(seam));
        let is_from_all = after.is_some() && next.is_none();
        let mut next = next.unwrap_or(Next { collection: 0, word: String::new() });
        let mut items: Vec<KeyValue> = Vec::new();
        let most = if is_from_all { usize::MAX } else { limit.unwrap_or(usize::MAX) };
        while next.collection < wanted.len() && items.len() < most {
            let collection = wanted[next.collection];
            let count = PAGE.min(most - items.len());
            let read = self.api.part(collection, prefix, at, count, &next.word, &mut items).await?;
            at = at.or(read.as_ref().map(Metadata::revision));
            next.word = read.map(|read| read.go_on).unwrap_or_default();
            next.collection += usize::from(next.word.is_empty());
        }
        let at = match at {
            Some(at) => at,
            None => self.api.revision().await?,
        };
        let mut more = next.collection < wanted.len();
        items.sort_by(|one, other| one.key.cmp(&other.key));
        if is_from_all {
            items.retain(|item| after.as_ref().is_none_or(|after| item.key > *after));
            more = limit.is_some_and(|limit| items.len() > limit);
            items.truncate(limit.unwrap_or(usize::MAX));
        } else if let Some(last) = items.last().filter(|_| more) {
            let seam = (prefix.clone(), at, last.key.clone());
            let mut seams = self.seams();
            if seams.len() >= REMEMBERED {
                let oldest = seams.keys().min_by_key(|(_, revision, _)| *revision).cloned();
                oldest.map(|oldest| seams.remove(&oldest));
            }
            seams.insert(seam, next);
        }
        Ok(Listing { revision: at, items, more })
    }
}

impl Api {
    /// All that a collection holds under `prefix`, and as of when; `None` if the cluster doesn't know such objects.
    pub(super) async fn all_of(
        &self,
        collection: &Collection,
        prefix: &str,
        items: &mut Vec<KeyValue>,
    ) -> Result<Option<Revision>> {
        let mut word = String::new();
        loop {
            let Some(read) = self.part(collection, prefix, None, PAGE, &word, items).await? else {
                return Ok(None);
            };
            if read.go_on.is_empty() {
                return Ok(Some(read.revision()));
            }
            word = read.go_on;
        }
    }

    /// Reads a page of a collection and appends what it holds under `prefix`. `None` if the cluster doesn't know such objects.
    async fn part(
        &self,
        collection: &Collection,
        prefix: &str,
        at: Option<Revision>,
        limit: usize,
        word: &str,
        items: &mut Vec<KeyValue>,
    ) -> Result<Option<Metadata>> {
        let attempt =
            format!("list {}{}", collection.plural, if word.is_empty() { "" } else { ", the next page" });
        let mut path =
            format!("{}?limit={limit}", path(collection, collection.namespace_of(prefix).as_deref()));
        match at {
            _ if !word.is_empty() => path.push_str(&format!("&continue={}", super::escaped(word))),
            // Nothing is older than everything.
            Some(at) => {
                path.push_str(&format!("&resourceVersion={}&resourceVersionMatch=Exact", at.max(Revision(1))))
            }
            None => {}
        }
        let answer = self.ask(&attempt, Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::GONE => {
                let oldest = self.revision().await?;
                return Err(Error::Compacted { asked: at.unwrap_or_default(), oldest });
            }
            _ if trouble::is_future(&answer) => {
                return Err(Error::Future { asked: at.unwrap_or_default(), current: self.revision().await? });
            }
            _ => return Err(trouble::explain(&attempt, &answer)),
        }
        let page: Page<'_> = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::unavailable(&attempt, format!("an answer that isn't Kubernetes': {error}"))
        })?;
        for object in page.items.unwrap_or_default() {
            let Some(kv) = held_or_raw(collection, object.get().as_bytes()) else { continue };
            if kv.key.starts_with(prefix) {
                items.push(kv);
            }
        }
        Ok(Some(page.metadata))
    }
}
