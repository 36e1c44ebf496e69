//! The APIs of one host and base path.

use std::cmp::Ordering;
use std::sync::Arc;

use rpds::HashTrieMapSync;
use smallvec::SmallVec;
use tollgate_model::ResourceId;

use super::api_routes::{ApiRoutes, Entry};
use super::cuts::{Depths, depth};
use super::map::TextMap;
use super::table::MatchInput;

/// More APIs than this are not kept in a list.
const MAX_LISTED: usize = 4;

/// APIs that are searched one by one; usually there is one.
type Listed<T> = SmallVec<[(ResourceId, Arc<ApiRoutes<T>>); 1]>;
type Apis<T> = HashTrieMapSync<ResourceId, Arc<ApiRoutes<T>>, foldhash::quality::RandomState>;

/// Where a search of a place ended.
pub(super) type Hit<'t, T> = (&'t ResourceId, &'t Entry<T>);

/// The APIs of one host and base path.
#[derive(Clone, Debug)]
pub(super) struct Place<T> {
    listed: Listed<T>,
    /// What is more than a list's worth.
    crowd: Option<Box<Crowd<T>>>,
}

/// APIs that share a place, and a way to those that may match a path: by what their paths begin
/// with. A search is then no dearer for the other APIs of the place.
#[derive(Clone, Debug)]
struct Crowd<T> {
    apis: Apis<T>,
    by_head: TextMap<Group<T>>,
    depths: Depths,
}

/// The APIs of a crowd with one beginning.
#[derive(Clone, Debug)]
struct Group<T> {
    listed: Listed<T>,
    more: Option<Box<Apis<T>>>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { listed: SmallVec::new(), more: None }
    }
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self { listed: SmallVec::new(), crowd: None }
    }
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Self { apis: Apis::default(), by_head: TextMap::default(), depths: Depths::default() }
    }
}

impl<T: Clone> Place<T> {
    /// Adds an API, or puts it in place of what it was. Never moves another one.
    pub(super) fn insert(&mut self, id: &ResourceId, routes: Arc<ApiRoutes<T>>) {
        if let Some((_, current)) = self.listed.iter_mut().find(|(other, _)| other == id) {
            *current = routes;
            return;
        }
        if let Some(crowd) = &mut self.crowd
            && crowd.remove(id)
        {
            return crowd.insert(id, routes);
        }
        if self.listed.len() < MAX_LISTED {
            self.listed.push((id.clone(), routes));
        } else {
            self.crowd.get_or_insert_default().insert(id, routes);
        }
    }

    pub(super) fn remove(&mut self, id: &ResourceId) {
        self.listed.retain(|(other, _)| other != id);
        if let Some(crowd) = &mut self.crowd {
            crowd.remove(id);
            if crowd.apis.is_empty() {
                self.crowd = None;
            }
        }
    }
}

impl<T> Place<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.crowd.is_none()
    }

    /// The first route in order of precedence whose every condition holds.
    #[inline]
    pub(super) fn find<'t>(
        &'t self,
        rest: &str,
        input: &MatchInput<'_>,
        is_method_refused: &mut bool,
    ) -> Option<Hit<'t, T>> {
        if let ([(id, routes)], None) = (&*self.listed, &self.crowd) {
            return Some((id, routes.find(rest, input, is_method_refused)?));
        }
        let mut best: Option<Hit<'t, T>> = None;
        for (id, routes) in self.candidates(rest) {
            let Some(entry) = routes.find(rest, input, is_method_refused) else { continue };
            let hit = (id, entry);
            if best.is_none_or(|best| precedence(hit, best).is_lt()) {
                best = Some(hit);
            }
        }
        best
    }

    /// Every API of the place, in no order.
    pub(super) fn apis(&self) -> impl Iterator<Item = (&ResourceId, &ApiRoutes<T>)> {
        let listed = self.listed.iter().map(|(id, routes)| (id, &**routes));
        let crowd = self.crowd.iter().flat_map(|crowd| crowd.apis.iter());
        listed.chain(crowd.map(|(id, routes)| (id, &**routes)))
    }

    /// The APIs that may have a route for the path; one may come twice.
    pub(super) fn candidates(
        &self,
        rest: &str,
    ) -> impl Iterator<Item = (&ResourceId, &ApiRoutes<T>)> {
        let listed = self.listed.iter().map(|(id, routes)| (id, &**routes));
        listed.chain(self.crowd.iter().flat_map(|crowd| crowd.candidates(rest)))
    }
}

impl<T: Clone> Crowd<T> {
    fn insert(&mut self, id: &ResourceId, routes: Arc<ApiRoutes<T>>) {
        for head in routes.heads() {
            if let Some(group) = self.by_head.get_mut(&head) {
                group.insert(id, &routes);
                continue;
            }
            self.depths.add(depth(&head));
            let mut group = Group::default();
            group.insert(id, &routes);
            self.by_head.insert(&head, group);
        }
        self.apis.insert_mut(id.clone(), routes);
    }

    /// Whether it was there.
    fn remove(&mut self, id: &ResourceId) -> bool {
        let Some(routes) = self.apis.get(id).cloned() else { return false };
        self.apis.remove_mut(id);
        for head in routes.heads() {
            let Some(group) = self.by_head.get_mut(&head) else { continue };
            group.remove(id);
            if group.is_empty() {
                self.by_head.remove(&head);
                self.depths.remove(depth(&head));
            }
        }
        true
    }
}

impl<T: Clone> Group<T> {
    /// Adds an API that is not there.
    fn insert(&mut self, id: &ResourceId, routes: &Arc<ApiRoutes<T>>) {
        if self.listed.len() < MAX_LISTED {
            self.listed.push((id.clone(), Arc::clone(routes)));
        } else {
            self.more.get_or_insert_default().insert_mut(id.clone(), Arc::clone(routes));
        }
    }

    fn remove(&mut self, id: &ResourceId) {
        self.listed.retain(|(other, _)| other != id);
        if let Some(more) = &mut self.more {
            more.remove_mut(id);
            if more.is_empty() {
                self.more = None;
            }
        }
    }
}

impl<T> Group<T> {
    fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.more.is_none()
    }

    fn apis(&self) -> impl Iterator<Item = (&ResourceId, &ApiRoutes<T>)> {
        let listed = self.listed.iter().map(|(id, routes)| (id, &**routes));
        let more = self.more.iter().flat_map(|more| more.iter());
        listed.chain(more.map(|(id, routes)| (id, &**routes)))
    }
}

impl<T> Crowd<T> {
    fn candidates(&self, rest: &str) -> impl Iterator<Item = (&ResourceId, &ApiRoutes<T>)> {
        self.depths.cuts(rest).filter_map(|head| self.by_head.get(head)).flat_map(Group::apis)
    }
}

/// The order of precedence of two routes of one place that match one path.
pub(super) fn precedence<T>(a: Hit<'_, T>, b: Hit<'_, T>) -> Ordering {
    let by_api = || a.0.name.cmp(&b.0.name).then_with(|| a.0.tenant.cmp(&b.0.tenant));
    a.1.precedence(b.1).then_with(by_api).then_with(|| a.1.name_order(b.1))
}
