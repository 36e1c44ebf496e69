//! What a runtime per core is worth (ADR 0007): the same small HTTP/1.1 proxy, its tasks once on one
//! `LocalRuntime` a thread, each with its own pool of connections to the upstream, and once on tokio's
//! work-stealing runtime with as many workers and one pool for all. The proxy's own CPU time a request,
//! and requests/s, over kept connections in a closed loop. The two take turns, and the medians count;
//! a ratio is the median over the rounds, with the least and the greatest beside it.
//!
//! `cargo bench --profile micro -p tollgate-data-plane --bench runtime -- [ROUNDS] [SECONDS]` (5 and 2 where nothing is
//! given). Load and upstream are one thread each beside the proxy's; `taskset -c 0` before it puts all
//! on one CPU. Linux only: CPU time is read from `/proc`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::as_conversions,
    reason = "a measurement that stops at the first fault and prints ratios"
)]

// The proxy, on either runtime.
mod proxy;
// Its upstream, and its clients.
mod ends;

use std::thread::sleep;
use std::time::{Duration, Instant};

use ends::Load;
use proxy::{Kind, Proxy};

// As in all programs of Tollgate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: Duration = Duration::from_millis(300);
/// Proxy threads, and clients' connections.
const CASES: [(usize, usize); 4] = [(1, 16), (1, 128), (2, 16), (2, 128)];

/// One run of one kind.
struct Sample {
    requests_per_second: f64,
    cpu_micros: f64,
}

/// Both kinds, one soon after the other.
struct Pair {
    per_core: Sample,
    work_stealing: Sample,
}

impl Pair {
    fn of(&self, kind: Kind) -> &Sample {
        match kind {
            Kind::PerCore => &self.per_core,
            Kind::WorkStealing => &self.work_stealing,
        }
    }
}

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let rounds = numbers.first().copied().unwrap_or(5).max(1);
    let duration = Duration::from_secs(numbers.get(1).copied().unwrap_or(2).max(1).into());
    let upstream = ends::start_upstream();
    println!("{:30} {:>28} {:>28}", "", "requests/s", "the proxy's CPU us a request");
    print!("{:>7} {:>7}  {:<13}", "threads", "clients", "runtime");
    println!(" {0:>10} {1:>17} {0:>10} {1:>17}", "median", "ratio");
    for (threads, connections) in CASES {
        let run = |kind| measure(Proxy::start(kind, threads, upstream), connections, duration);
        let pairs: Vec<Pair> = (0..rounds).map(|round| pair(round, &run)).collect();
        report(threads, connections, &pairs);
    }
}

/// Whoever is first in one round is second in the next.
fn pair(round: u32, run: &impl Fn(Kind) -> Sample) -> Pair {
    if round.is_multiple_of(2) {
        let per_core = run(Kind::PerCore);
        Pair { per_core, work_stealing: run(Kind::WorkStealing) }
    } else {
        let work_stealing = run(Kind::WorkStealing);
        Pair { per_core: run(Kind::PerCore), work_stealing }
    }
}

fn measure(proxy: Proxy, connections: usize, duration: Duration) -> Sample {
    let load = Load::start((0..connections).map(|i| proxy.connect(i)).collect());
    sleep(WARM_UP);
    let (answers, cpu, began) = (load.answers(), proxy_cpu_time(), Instant::now());
    sleep(duration);
    let (answers, cpu) = (load.answers() - answers, proxy_cpu_time() - cpu);
    let elapsed = began.elapsed();
    load.stop();
    proxy.stop();
    assert!(answers > 0, "the proxy answered nothing");
    Sample {
        requests_per_second: answers as f64 / elapsed.as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / answers as f64,
    }
}

/// What the system counted for the threads of the proxy.
fn proxy_cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|task| {
        let folder = task.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        if !name.starts_with(proxy::THREAD_NAME) {
            return None;
        }
        let spent = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        spent.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn report(threads: usize, connections: usize, pairs: &[Pair]) {
    for (name, kind) in [("per core", Kind::PerCore), ("work-stealing", Kind::WorkStealing)] {
        print!("{threads:>7} {connections:>7}  {name:<13}");
        let figures: [fn(&Sample) -> f64; 2] =
            [|sample| sample.requests_per_second, |sample| sample.cpu_micros];
        for figure in figures {
            let (_, median, _) = spread(pairs, |pair| figure(pair.of(kind)));
            let (least, middle, greatest) =
                spread(pairs, |pair| figure(pair.of(kind)) / figure(pair.of(Kind::PerCore)));
            let ratio = match kind {
                Kind::PerCore => "1.00".to_owned(),
                Kind::WorkStealing => format!("{middle:.2} ({least:.2}..{greatest:.2})"),
            };
            print!(" {median:>10.1} {ratio:>17}");
        }
        println!();
    }
}

/// The least, the median, and the greatest.
fn spread(pairs: &[Pair], figure: impl Fn(&Pair) -> f64) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = pairs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let at = |i: usize| figures.get(i).copied().unwrap();
    (at(0), at(figures.len() / 2), at(figures.len() - 1))
}
