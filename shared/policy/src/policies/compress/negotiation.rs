//! Which coding an answer gets: `accept-encoding`, by RFC 9110 §12.5.3.

use http::{HeaderMap, header};

use super::Coding;

/// The weight of a coding: 0 to 1000; 0 is "not this one".
type Weight = u16;

/// Picks the coding that the client weighs most, among several of the same weight the first of
/// `offered`. None where the client wants none of them, or would rather have the answer as it is.
pub(super) fn pick(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut weights = Weights::default();
    for field in headers.get_all(header::ACCEPT_ENCODING) {
        for item in field.as_bytes().split(|byte| *byte == b',') {
            weights.note(item);
        }
    }
    let mut best: Option<(Weight, Coding)> = None;
    for coding in offered {
        let weight = weights.of(*coding);
        if weight > 0 && best.is_none_or(|(known, _)| weight > known) {
            best = Some((weight, *coding));
        }
    }
    let (weight, coding) = best?;
    // Only where it is named does the answer as it is compete with the codings.
    (weights.identity.unwrap_or(0) <= weight).then_some(coding)
}

/// What a client has said; none where it has not.
#[derive(Default)]
struct Weights {
    gzip: Option<Weight>,
    brotli: Option<Weight>,
    zstd: Option<Weight>,
    identity: Option<Weight>,
    others: Option<Weight>,
}

impl Weights {
    fn note(&mut self, item: &[u8]) {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.next().map_or(1000, weight);
        let slot = match Coding::named(name) {
            Some(Coding::Gzip) => &mut self.gzip,
            Some(Coding::Brotli) => &mut self.brotli,
            Some(Coding::Zstd) => &mut self.zstd,
            None if name.eq_ignore_ascii_case(b"identity") => &mut self.identity,
            None if name == b"*" => &mut self.others,
            None => return,
        };
        // Said twice: the first counts.
        slot.get_or_insert(weight);
    }

    fn of(&self, coding: Coding) -> Weight {
        let named = match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        };
        named.or(self.others).unwrap_or(0)
    }
}

/// `q=0.5` (RFC 9110 §12.4.2) in thousandths. What is no weight means "not this one".
fn weight(text: &[u8]) -> Weight {
    let Some(value) = text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q=")) else {
        return 0;
    };
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return 0,
    };
    let mut thousandths: Weight = 0;
    for place in 0..3 {
        let digit = match fraction.get(place) {
            None => 0,
            Some(digit @ b'0'..=b'9') => Weight::from(digit - b'0'),
            Some(_) => return 0,
        };
        thousandths = thousandths * 10 + digit;
    }
    match whole {
        b'0' => thousandths,
        b'1' if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn picked(lines: &[&str], offered: &[Coding]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        pick(&headers, offered)
    }

    #[test]
    fn the_weight_decides_and_then_the_order_of_what_is_offered() {
        for (lines, coding) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip, br, zstd"], Some(Coding::Zstd)),
            (&["gzip, deflate, br"], Some(Coding::Brotli)),
            (&["gzip", "br;q=0.5"], Some(Coding::Gzip)),
            (&["GZip;Q=0.8 , br ; q=0.801"], Some(Coding::Brotli)),
            (&["x-gzip"], Some(Coding::Gzip)),
            (&["*"], Some(Coding::Zstd)),
            (&["zstd;q=0, *"], Some(Coding::Brotli)),
            (&["*;q=0"], None),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Coding::Gzip)),
            (&["identity;q=0, gzip;q=0.001"], Some(Coding::Gzip)),
            (&["gzip;q=1.001, br;q=2"], None),
            (&["gzip;q=0.1234, br;q=, zstd;level=3"], None),
            (&["deflate, compress"], None),
        ] {
            assert_eq!(picked(lines, &ALL), coding, "{lines:?}");
        }
        assert_eq!(picked(&["zstd, gzip"], &[Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(picked(&["gzip, br"], &[Coding::Gzip, Coding::Brotli]), Some(Coding::Gzip));
    }

    proptest! {
        #[test]
        fn any_field_is_read(line in "[ -~]{0,64}") {
            let _ = picked(&[&line], &ALL);
        }
    }
}
