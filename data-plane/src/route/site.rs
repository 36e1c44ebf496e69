//! The base paths of one host.

use std::sync::Arc;

use tollgate_model::ResourceId;
use tollgate_model::path::BasePath;

use super::api_routes::ApiRoutes;
use super::cuts::{Depths, depth};
use super::map::TextMap;
use super::place::Place;

/// What answers for one host: places by base path.
#[derive(Clone, Debug)]
pub(super) struct Site<T> {
    places: TextMap<Place<T>>,
    depths: Depths,
}

impl<T> Default for Site<T> {
    fn default() -> Self {
        Self { places: TextMap::default(), depths: Depths::default() }
    }
}

impl<T: Clone> Site<T> {
    pub(super) fn insert(
        &mut self,
        id: &ResourceId,
        base_path: &BasePath,
        routes: Arc<ApiRoutes<T>>,
    ) {
        let key = base_path.as_prefix();
        if let Some(place) = self.places.get_mut(key) {
            return place.insert(id, routes);
        }
        self.depths.add(depth(key));
        let mut place = Place::default();
        place.insert(id, routes);
        self.places.insert(key, place);
    }

    pub(super) fn remove(&mut self, id: &ResourceId, base_path: &BasePath) {
        let key = base_path.as_prefix();
        let Some(place) = self.places.get_mut(key) else { return };
        place.remove(id);
        if place.is_empty() {
            self.places.remove(key);
            self.depths.remove(depth(key));
        }
    }
}

impl<T> Site<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The places whose base path covers the path, the longest first, each with its base path and
    /// what the path has below it: `/` for the base path itself.
    #[inline]
    pub(super) fn places<'t, 'p>(
        &'t self,
        path: &'p str,
    ) -> impl Iterator<Item = (&'p str, &'p str, &'t Place<T>)> {
        self.depths.cuts(path).filter_map(move |base| {
            let place = self.places.get(base)?;
            let rest = path.get(base.len()..).filter(|rest| !rest.is_empty());
            Some((base, rest.unwrap_or("/"), place))
        })
    }
}
