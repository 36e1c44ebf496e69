//! When a call has to be over: by its upstream's `timeouts.total`, and by the deadline of its own that a gRPC call may
//! bring (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::fault::Fault;
use crate::response;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The code of a timeout that cannot be read.
pub const MALFORMED_TIMEOUT: &str = "malformed_grpc_timeout";

/// The longest number that is written: eight digits.
const MOST: u128 = 99_999_999;

/// When a call has to be over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    /// By whatever comes first; none: no bound.
    pub end: Option<Instant>,
    /// By its own deadline.
    pub of_caller: Option<Instant>,
    /// Whether it is gRPC, which is told of its end by `grpc-status`.
    pub is_grpc: bool,
}

impl Deadline {
    /// The deadline of a call whose head came at `came` and that goes upstream at `sent`.
    ///
    /// # Errors
    ///
    /// Where a gRPC call's own cannot be read, or is over.
    pub fn of(
        headers: &HeaderMap,
        came: Instant,
        (sent, total): (Instant, Option<Duration>),
    ) -> Result<Self, Fault> {
        let end = total.and_then(|total| sent.checked_add(total));
        if !response::is_grpc(headers) {
            return Ok(Self { end, of_caller: None, is_grpc: false });
        }
        let of_caller = match timeout(headers)? {
            // What is too far off to be told is no bound.
            Some(timeout) => came.checked_add(timeout),
            None => None,
        };
        if of_caller.is_some_and(|deadline| deadline <= sent) {
            return Err(Fault::DeadlineExceeded);
        }
        let end = match (end, of_caller) {
            (Some(end), Some(of_caller)) => Some(end.min(of_caller)),
            (end, of_caller) => end.or(of_caller),
        };
        Ok(Self { end, of_caller, is_grpc: true })
    }

    /// Whether the caller's own is over.
    #[must_use]
    pub fn is_callers_over(&self) -> bool {
        self.of_caller.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Tells the next hop what is left, where the caller set one.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if self.of_caller.is_none() {
            return;
        }
        if let Some(end) = self.end {
            headers.insert(GRPC_TIMEOUT, written(end.saturating_duration_since(Instant::now())));
        }
    }
}

/// The trailers of a call that was over before its answer was whole.
#[must_use]
pub fn exceeded_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("4"));
    trailers.insert(
        "grpc-message",
        HeaderValue::from_static(
            "deadline_exceeded: the call's deadline was over before its answer",
        ),
    );
    trailers
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (parse(value.as_bytes()), values.next()) {
        (Some(timeout), None) => Ok(Some(timeout)),
        _ => Err(Fault::Malformed {
            code: MALFORMED_TIMEOUT,
            status: StatusCode::BAD_REQUEST,
            problem: "grpc-timeout is not one to eight digits and a unit of H, M, S, m, u or n",
        }),
    }
}

/// Zero is taken, although the specification says positive: it is how clients write a deadline that is over.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// In the finest unit that eight digits are enough for, rounded down: the next hop is to give up first.
fn written(left: Duration) -> HeaderValue {
    let seconds = u128::from(left.as_secs());
    let units = [
        (left.as_nanos(), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
    ];
    let text = match units.into_iter().find(|(number, _)| *number <= MOST) {
        Some((number, unit)) => format!("{number}{unit}"),
        None => format!("{}H", (seconds / 3600).min(MOST)),
    };
    // Digits and a letter.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("250m", Duration::from_millis(250)),
            ("1u", Duration::from_micros(1)),
            ("00000001n", Duration::from_nanos(1)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_refused() {
        for text in ["", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1S "] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_left_is_written_in_the_finest_unit_that_fits() {
        for (left, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_001), "1666666M"),
            (Duration::from_secs(360_000_000_000), "99999999H"),
        ] {
            assert_eq!(written(left), expected, "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_no_more_and_little_less(nanos in any::<u64>()) {
            let left = Duration::from_nanos(nanos);
            let read = parse(written(left).as_bytes()).unwrap();
            prop_assert!(read <= left && left.as_secs_f64() - read.as_secs_f64() <= left.as_secs_f64() / 1e5);
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..12)) {
            parse(&text);
        }
    }
}
