//! Records of calls as JSON lines.
//!
//! Each core writes into a buffer of its own; one thread takes the
//! full ones to the file, so that a slow disk holds up no request. What it cannot take is dropped
//! and counted.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A core hands its buffer over when it is this full.
const FULL_BYTES: usize = 64 * 1024;
/// Buffers that may wait for the writer.
const WAITING: usize = 256;
/// How often the file's name is looked up again, so that it can be moved away for rotation.
const REOPEN: Duration = Duration::from_secs(1);

/// One call.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// RFC 3339 with microseconds, UTC, when the request's head came.
    pub time: Time,
    /// `x-request-id`.
    pub request_id: &'a str,
    /// The client's address.
    pub client: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'static str,
    /// The method.
    pub method: &'a str,
    /// As the client named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// Without the query, which may hold what is not to be kept.
    pub path: &'a str,
    /// What was sent.
    pub status: u16,
    /// Why, where it was not the upstream's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Whose doing that was: `client`, `policy`, `upstream`, `tollgate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Whose API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<&'a str>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<&'a str>,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'a str>,
    /// What the cache did: `hit`, `collapsed`, `stale`, `revalidated`, `miss`, `bypass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
    /// What a limit that only watches would have refused it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadowed: Option<&'static str>,
    /// Of the request's body.
    pub request_bytes: u64,
    /// Of the response's body.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration_us: u64,
    /// Which server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Until its head came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_us: Option<u64>,
    /// Where it is not 1.
    #[serde(skip_serializing_if = "is_one")]
    pub attempts: u8,
    /// Whether the response went out to its last byte.
    #[serde(skip_serializing_if = "is_true")]
    pub complete: bool,
    /// The configuration that it was served by.
    pub revision: u64,
    /// The client's program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(attempts: &u8) -> bool {
    *attempts <= 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// A moment, as it stands in a line.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub u64);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0_u8; 27];
        write_time(self.0, &mut text);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

thread_local! {
    /// The newest second and its text: most lines of a core fall into the same one.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [b'0'; 19])) };
}

/// `2026-11-23T18:03:43.123456Z`.
fn write_time(unix_micros: u64, text: &mut [u8; 27]) {
    let second = unix_micros / 1_000_000;
    let (known, mut date) = SECOND.get();
    if known != second {
        let timestamp =
            i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let rendered = timestamp.unwrap_or_default().to_string();
        if let Some(bytes) = rendered.as_bytes().first_chunk::<19>() {
            date = *bytes;
        }
        SECOND.set((second, date));
    }
    let (seconds, rest) = text.split_at_mut(19);
    seconds.copy_from_slice(&date);
    let mut micros = unix_micros % 1_000_000;
    for (i, byte) in rest.iter_mut().enumerate().rev() {
        *byte = match i {
            0 => b'.',
            7 => b'Z',
            _ => {
                let digit = u8::try_from(micros % 10).unwrap_or(0);
                micros /= 10;
                b'0' + digit
            }
        };
    }
}

/// Where a core writes its lines.
pub struct AccessLog {
    buffer: RefCell<Vec<u8>>,
    sink: Option<Sink>,
}

/// The way to the writing thread; one for all cores.
#[derive(Clone)]
pub struct Sink {
    full: SyncSender<Vec<u8>>,
    dropped_lines: Arc<AtomicU64>,
}

impl AccessLog {
    /// A log that goes to `sink`, or nowhere.
    #[must_use]
    pub fn new(sink: Option<Sink>) -> Self {
        Self { buffer: RefCell::new(Vec::new()), sink }
    }

    /// Whether anybody reads.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Writes a line.
    pub fn write(&self, line: &Line<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        // Texts and numbers always serialise; writing to memory cannot fail.
        if serde_json::to_writer(&mut *buffer, line).is_ok() {
            buffer.push(b'\n');
        }
        if buffer.len() >= FULL_BYTES {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands over what there is; called once in a while, and at the end.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.hand_over(&mut buffer);
        }
    }

    fn hand_over(&self, buffer: &mut Vec<u8>) {
        let full = std::mem::replace(buffer, Vec::with_capacity(FULL_BYTES + 4096));
        let Some(sink) = &self.sink else { return };
        if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) =
            sink.full.try_send(full)
        {
            sink.count_lost(&lost);
        }
    }
}

impl Drop for AccessLog {
    /// What was cut off at the very end has its record too.
    fn drop(&mut self) {
        self.flush();
    }
}

impl Sink {
    /// Lines that were dropped because the file could not be written fast enough.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines.load(Ordering::Relaxed)
    }

    fn count_lost(&self, lost: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', lost).count();
        self.dropped_lines.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Where lines end up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The process's standard output.
    StandardOutput,
    /// A file, appended to; opened again when it is moved away.
    File(PathBuf),
}

/// Starts the writing thread. It ends when every sink is gone, after writing all it was given.
///
/// # Errors
///
/// Where the file cannot be opened.
pub fn start(destination: Destination) -> io::Result<(Sink, std::thread::JoinHandle<()>)> {
    let (full, waiting) = sync_channel(WAITING);
    let dropped_lines = Arc::new(AtomicU64::new(0));
    let sink = Sink { full, dropped_lines: Arc::clone(&dropped_lines) };
    let mut output = Output::open(destination)?;
    let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        write_all(&waiting, &mut output, &dropped_lines);
    })?;
    Ok((sink, writer))
}

fn write_all(waiting: &Receiver<Vec<u8>>, output: &mut Output, dropped_lines: &AtomicU64) {
    let mut is_failing = false;
    while let Ok(buffer) = waiting.recv() {
        match output.write(&buffer) {
            Ok(()) => is_failing = false,
            Err(error) => {
                let lines = memchr::memchr_iter(b'\n', &buffer).count();
                dropped_lines
                    .fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
                if !is_failing {
                    tracing::error!(%error, "write the access log; lines are dropped and counted until it works again");
                }
                is_failing = true;
            }
        }
    }
}

struct Output {
    destination: Destination,
    file: Option<File>,
    looked_up: Instant,
}

impl Output {
    fn open(destination: Destination) -> io::Result<Self> {
        let file = match &destination {
            Destination::StandardOutput => None,
            Destination::File(path) => Some(append_to(path)?),
        };
        Ok(Self { destination, file, looked_up: Instant::now() })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.destination {
            Destination::StandardOutput => {
                let mut output = io::stdout().lock();
                output.write_all(bytes)?;
                output.flush()
            }
            Destination::File(path) => {
                if self.looked_up.elapsed() >= REOPEN {
                    self.looked_up = Instant::now();
                    if !is_same_file(self.file.as_ref(), path) {
                        self.file = None;
                    }
                }
                let file = match self.file.take() {
                    Some(file) => file,
                    None => append_to(path)?,
                };
                self.file.insert(file).write_all(bytes)
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Records name who called what: for the operator alone.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn is_same_file(file: Option<&File>, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let open = file.and_then(|file| file.metadata().ok()).map(of);
    open.is_some() && open == std::fs::metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            time: Time(1_795_457_023_000_042),
            request_id: "r",
            client: "192.0.2.1",
            protocol: "HTTP/1.1",
            method: "GET",
            host: None,
            path,
            status: 200,
            code: None,
            fault: None,
            tenant: None,
            api: None,
            route: None,
            application: None,
            credential: None,
            cache: None,
            shadowed: None,
            request_bytes: 0,
            response_bytes: 2,
            duration_us: 5,
            upstream: None,
            upstream_us: None,
            attempts: 1,
            complete: true,
            revision: 3,
            user_agent: None,
        }
    }

    #[test]
    fn lines_are_json_and_reach_the_file_also_after_it_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut output = Output::open(Destination::File(path.clone())).unwrap();
        let log = AccessLog::new(None);
        log.write(&line("/a\"\n"));
        let bytes = log.buffer.borrow().clone();
        output.write(&bytes).unwrap();
        std::fs::rename(&path, folder.path().join("old.log")).unwrap();
        output.looked_up -= REOPEN;
        output.write(&bytes).unwrap();
        for name in ["old.log", "access.log"] {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            let value: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
            assert_eq!(value["path"], "/a\"\n");
            assert_eq!(value["time"], "2026-11-23T18:03:43.000042Z");
        }
    }

    #[test]
    fn what_the_writer_cannot_take_is_counted() {
        let (full, _waiting) = sync_channel(0);
        let sink = Sink { full, dropped_lines: Arc::default() };
        let log = AccessLog::new(Some(sink.clone()));
        log.write(&line("/1"));
        log.write(&line("/2"));
        log.flush();
        assert_eq!(sink.dropped_lines(), 2);
    }
}
