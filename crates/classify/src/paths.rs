//! Paths: the lists of rules that packets go through, each with a counter of its own.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_dataplane::flat::{Path, PathId, RuleRef};

/// All paths in use, with the number of entries and defaults that lead to each.
#[derive(Debug, Default)]
pub struct Paths {
    by_path: FxHashMap<Arc<Path>, PathId>,
    by_id: FxHashMap<PathId, (Arc<Path>, u32)>,
    next: u32,
    fresh: Vec<PathId>,
    unused: Vec<PathId>,
    /// Were held in this commit and aren't any more: steps on the way name them.
    dropped: FxHashSet<PathId>,
}

impl Paths {
    /// The same paths and numbers, none of them in use: for tables that are worked out anew. What
    /// is the same path then keeps its number, and with it what its counter has counted.
    pub fn restart(&self) -> Self {
        Self {
            by_path: self.by_path.clone(),
            by_id: self.by_id.iter().map(|(id, (path, _))| (*id, (Arc::clone(path), 0))).collect(),
            next: self.next,
            fresh: Vec::new(),
            unused: self.by_id.keys().copied().collect(),
            dropped: FxHashSet::default(),
        }
    }

    /// The id of a path, new or known. It isn't held until [`Self::hold`].
    pub fn intern(&mut self, path: Path) -> PathId {
        if let Some(id) = self.by_path.get(&path) {
            return *id;
        }
        let id = PathId(self.next);
        // Four thousand million paths in one process's life: a path a second for 136 years.
        self.next += 1;
        let path = Arc::new(path);
        self.by_path.insert(Arc::clone(&path), id);
        self.by_id.insert(id, (path, 0));
        self.fresh.push(id);
        self.unused.push(id);
        id
    }

    /// One more leads to it.
    pub fn hold(&mut self, id: PathId) {
        if let Some((_, count)) = self.by_id.get_mut(&id) {
            *count += 1;
        }
    }

    /// One less leads to it.
    pub fn drop_one(&mut self, id: PathId) {
        if let Some((_, count)) = self.by_id.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.unused.push(id);
                self.dropped.insert(id);
            }
        }
    }

    /// What a path is.
    pub fn get(&self, id: PathId) -> Option<&Arc<Path>> {
        self.by_id.get(&id).map(|(path, _)| path)
    }

    /// Whether an end of a tier is on it, which is called by the tier's first policy.
    pub fn ends_tier(&self, id: PathId) -> bool {
        let ends = |rule: &RuleRef| matches!(rule, RuleRef::TierEnd { .. });
        self.get(id).is_some_and(|path| ends(&path.decided) || path.passed.iter().any(ends))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All paths.
    pub fn iter(&self) -> impl Iterator<Item = (PathId, &Arc<Path>)> {
        self.by_id.iter().map(|(id, (path, _))| (*id, path))
    }

    /// Ends a commit: the paths that came into use, and those that went out of it. One that a new stack's entry led
    /// to, of a class that this commit empties, is among both.
    pub fn settle(&mut self) -> (Vec<(PathId, Arc<Path>)>, Vec<PathId>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let fresh: FxHashSet<PathId> = std::mem::take(&mut self.fresh).into_iter().collect();
        let dropped = std::mem::take(&mut self.dropped);
        for id in std::mem::take(&mut self.unused) {
            if let Some((path, 0)) = self.by_id.get(&id) {
                let path = Arc::clone(path);
                self.by_path.remove(&path);
                self.by_id.remove(&id);
                match (fresh.contains(&id), dropped.contains(&id)) {
                    (true, false) => {}
                    (true, true) => {
                        added.push((id, path));
                        removed.push(id);
                    }
                    (false, _) => removed.push(id),
                }
            }
        }
        let lasting = fresh.into_iter();
        added.extend(lasting.filter_map(|id| self.by_id.get(&id).map(|(path, _)| (id, Arc::clone(path)))));
        (added, removed)
    }
}
