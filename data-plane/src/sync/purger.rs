//! What the control plane wants out of the cache of responses.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, Method, Uri};
use tokio::runtime::Handle;
use tollgate_policy::ports::Cache as _;
use tollgate_policy::stored::{Address, api_group, tag_group};
use tollgate_proto::v1;
use tollgate_proto::v1::purge::What;

use crate::plan::Plan;
use crate::ports::cache::MemoryCache;
use crate::route::{EncodedSlash, MatchInput, Target};

/// Carries purges out, and knows which it has.
pub(super) struct Purger {
    /// None where the node keeps no responses: then there is nothing to let go.
    cache: Option<Arc<MemoryCache>>,
    plan: Arc<ArcSwap<Plan>>,
    /// The epoch that numbered them; 0 where there were none yet.
    epoch: u64,
    number: u64,
}

impl Purger {
    pub(super) fn new(cache: Option<Arc<MemoryCache>>, plan: Arc<ArcSwap<Plan>>) -> Self {
        Self { cache, plan, epoch: 0, number: 0 }
    }

    /// The newest purge that is carried out: the epoch that numbered it, and its number.
    pub(super) fn held(&self) -> (u64, u64) {
        (self.epoch, self.number)
    }

    /// Carries purges out; gives the number of the newest.
    pub(super) fn carry_out(&mut self, epoch: u64, purges: &v1::Purges) -> u64 {
        (self.epoch, self.number) = (epoch, purges.number);
        let Some(cache) = self.cache.clone() else { return self.number };
        // What a newer control plane means by one that this node does not know may be anything.
        if purges.everything || purges.purges.iter().any(|purge| purge.what.is_none()) {
            cache.purge_all();
            return self.number;
        }
        let mut leaves_memory = false;
        for purge in &purges.purges {
            let tenant = purge.tenant.as_str();
            match &purge.what {
                Some(What::Url(url)) => self.purge_url(&cache, tenant, url),
                Some(What::Api(api)) => {
                    cache.purge(&api_group(tenant, api));
                    leaves_memory = true;
                }
                Some(What::Tag(tag)) => {
                    cache.purge(&tag_group(tenant, tag));
                    leaves_memory = true;
                }
                None => {}
            }
        }
        if leaves_memory && let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || cache.sweep());
        }
        self.number
    }

    /// What is stored for a URL, of every API of the tenant that may answer it.
    fn purge_url(&self, cache: &MemoryCache, tenant: &str, url: &str) {
        let Ok(url) = url.parse::<Uri>() else { return };
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return };
        // What a node refuses is not stored.
        let Ok(path) = Target::parse(url.path(), EncodedSlash::Refuse) else { return };
        let (method, headers) = (Method::GET, HeaderMap::new());
        let input = MatchInput {
            host: authority.as_str(),
            path: path.path(),
            query: url.query(),
            method: &method,
            headers: &headers,
        };
        let plan = self.plan.load();
        let considered = plan.routes.explain(&input);
        let apis: HashSet<&str> = considered
            .iter()
            .filter(|considered| considered.api.tenant.as_str() == tenant)
            .map(|considered| considered.api.name.as_str())
            .collect();
        let (host, target) = (authority.as_str(), url.path_and_query());
        let target = target.map_or("/", |target| target.as_str());
        for api in apis {
            cache.invalidate(&Address { tenant, api, scheme, host, target }.digest());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use tollgate_model::units::Size;
    use tollgate_model::{Issues, Name};
    use tollgate_policy::stored::{Digest, Key, Rules, Stored};

    use super::*;
    use crate::plan::{Configurator, Update};

    const APIS: [(&str, &str, &str); 4] = [
        ("default", "orders", r#"{"hosts": ["api.test"], "base_path": "/orders"}"#),
        ("default", "items", r#"{"hosts": ["api.test"], "base_path": "/orders/items"}"#),
        ("default", "elsewhere", r#"{"hosts": ["other.test"], "base_path": "/orders"}"#),
        ("other", "anywhere", r#"{"base_path": "/orders"}"#),
    ];

    fn resource(tenant: &str, kind: &str, name: &str, spec: &str) -> v1::Resource {
        v1::Resource {
            kind: kind.to_owned(),
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            version: 1,
            spec: Bytes::copy_from_slice(spec.as_bytes()),
        }
    }

    /// A node with APIs of two tenants, and one response of each.
    struct Site {
        purger: Purger,
        cache: Arc<MemoryCache>,
    }

    impl Site {
        fn new() -> Self {
            let mut upserts = vec![resource("default", "Tenant", "other", "{}")];
            for (tenant, name, spec) in APIS {
                let endpoints = r#"{"endpoints": [{"url": "http://127.0.0.1:1"}]}"#;
                upserts.push(resource(tenant, "Upstream", name, endpoints));
                let spec = spec.replacen('{', &format!(r#"{{"upstream": "{name}", "#), 1);
                upserts.push(resource(tenant, "Api", name, &spec));
            }
            let unserved = Box::new(|_: &_, _: &_| Issues::default());
            let mut configurator = Configurator::new(Name::default_name(), unserved);
            configurator.apply(Update {
                is_whole: true,
                revision: 1,
                upserts,
                ..Update::default()
            });
            assert_eq!(configurator.rejections(), []);
            let cache = Arc::new(MemoryCache::with_room(Size::from_kib(1024)).unwrap());
            Self { purger: Purger::new(Some(Arc::clone(&cache)), configurator.plan()), cache }
        }

        /// The names of the APIs whose response is kept, after a purge by one of the tenant `default`.
        fn left(&mut self, what: Option<What>) -> Vec<&'static str> {
            for (tenant, api, _) in APIS {
                self.cache.store(&key(tenant, api), stored(tenant, api));
            }
            let purge = v1::Purge { tenant: "default".to_owned(), what };
            let purges = v1::Purges { number: 7, everything: false, purges: vec![purge] };
            assert_eq!(self.purger.carry_out(1, &purges), 7);
            let is_kept = |tenant, api| self.cache.lookup(&key(tenant, api)).is_some();
            APIS.iter().filter(|(tenant, api, _)| is_kept(*tenant, *api)).map(|api| api.1).collect()
        }
    }

    /// Of `http://api.test/orders/items?page=1`.
    fn key(tenant: &str, api: &str) -> Key {
        let (scheme, host, target) = ("http", "api.test", "/orders/items?page=1");
        Key::new(Address { tenant, api, scheme, host, target }.digest(), None)
    }

    fn stored(tenant: &str, api: &str) -> Stored {
        let groups: [Digest; 2] = [api_group(tenant, api), tag_group(tenant, "item-7")];
        let requested_unix_micros = crate::clock::unix_micros();
        Stored {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            selecting: Box::default(),
            groups: groups.into(),
            requested_unix_micros,
            received_unix_micros: requested_unix_micros,
            initial_age_micros: 0,
            rules: Rules::default(),
        }
    }

    #[test]
    fn a_url_is_purged_from_the_apis_of_the_tenant_that_may_answer_it() {
        let url = |url: &str| Some(What::Url(url.to_owned()));
        let all = ["orders", "items", "elsewhere", "anywhere"];
        let kept = Site::new().left(url("http://API.test/orders/items?page=1"));
        assert_eq!(kept, ["elsewhere", "anywhere"]);
        for other in [
            "https://api.test/orders/items?page=1",
            "http://api.test/orders/items?page=2",
            "http://api.test/orders/items",
            "http://api.test:8080/orders/items?page=1",
            "http://api.test/orders//items?page=1",
            "/orders/items?page=1",
            "no url",
        ] {
            assert_eq!(Site::new().left(url(other)), all, "{other}");
        }
    }

    #[test]
    fn an_api_and_a_tag_are_purged_within_their_tenant() {
        let kept = Site::new().left(Some(What::Api("orders".to_owned())));
        assert_eq!(kept, ["items", "elsewhere", "anywhere"]);
        assert_eq!(Site::new().left(Some(What::Tag("item-7".to_owned()))), ["anywhere"]);
        assert_eq!(Site::new().left(Some(What::Tag("item".to_owned()))).len(), 4);
    }

    #[test]
    fn what_a_newer_control_plane_wants_purged_may_be_anything() {
        assert_eq!(Site::new().left(None), [""; 0]);
    }

    #[test]
    fn it_knows_what_it_has_carried_out_also_without_a_cache() {
        let mut purger = Site::new().purger;
        assert_eq!(purger.held(), (0, 0));
        purger.carry_out(5, &v1::Purges { number: 9, everything: true, purges: Vec::new() });
        assert_eq!(purger.held(), (5, 9));
        purger.cache = None;
        purger.carry_out(5, &v1::Purges { number: 10, everything: false, purges: Vec::new() });
        assert_eq!(purger.held(), (5, 10));
    }
}
