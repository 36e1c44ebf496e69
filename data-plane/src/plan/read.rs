//! Resources as they come, made into what can be run. The larger part of the work of a start.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use tollgate_model::wire;
use tollgate_model::{Document, Issues};
use tollgate_policy::Checked;
use tollgate_policy::check::check;
use tollgate_proto::v1;

/// With fewer, threads cost more than they bring.
const LEAST_FOR_THREADS: usize = 256;

/// Reads all, in their order; many of them on as many threads as there are processors.
pub(super) fn read_all(resources: &[v1::Resource]) -> Vec<Result<Checked, Issues>> {
    let threads = match resources.len() {
        ..LEAST_FOR_THREADS => 1,
        _ => thread::available_parallelism().map_or(1, NonZero::get),
    };
    if threads == 1 {
        return resources.iter().map(read).collect();
    }
    let share = resources.len().div_ceil(threads);
    thread::scope(|scope| {
        let parts: Vec<_> = resources
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(read).collect::<Vec<_>>()))
            .collect();
        let joined = |part: thread::ScopedJoinHandle<'_, _>| {
            part.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        parts.into_iter().flat_map(joined).collect()
    })
}

fn read(resource: &v1::Resource) -> Result<Checked, Issues> {
    let id = wire::id_from_wire(&wire::id_of(resource))?;
    let spec = wire::spec_from_wire(resource)?;
    check(&Document { id, labels: BTreeMap::new(), spec }, resource.version)
}
