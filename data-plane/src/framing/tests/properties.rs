//! What holds for every stream.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Limits, Position};
use super::strategy::{cuts, mangled, pieces, request};
use super::verdict;

fn limits() -> impl Strategy<Value = Limits> {
    let small = (0..300_usize, 0..8_usize, 0..20_usize).prop_map(|(head, count, target)| Limits {
        head_bytes: head,
        header_count: count,
        target_bytes: target,
    });
    prop_oneof![3 => Just(Limits::default()), 1 => small]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdict_does_not_depend_on_the_reads(
        stream in mangled(), cuts in cuts(), limits in limits(),
    ) {
        let whole = verdict(limits, [stream.as_slice()]);
        prop_assert_eq!(&whole, &verdict(limits, pieces(&stream, &cuts)));
        prop_assert_eq!(&whole, &verdict(limits, stream.chunks(1)));
    }

    #[test]
    fn requests_in_order_pass(requests in vec(request(), 1..5), cuts in cuts()) {
        let count = u64::try_from(requests.len()).unwrap();
        let stream: Vec<u8> = requests.into_iter().flat_map(|(bytes, _)| bytes).collect();
        let verdict = verdict(Limits::default(), pieces(&stream, &cuts));
        prop_assert_eq!(verdict.outcome, Ok(()));
        prop_assert_eq!(verdict.position, Position::BetweenRequests);
        prop_assert_eq!(verdict.requests, count);
    }

    #[test]
    fn any_bytes_have_a_verdict(bytes in vec(any::<u8>(), 0..200), limits in limits()) {
        let whole = verdict(limits, [bytes.as_slice()]);
        prop_assert_eq!(whole, verdict(limits, bytes.chunks(1)));
    }

    #[test]
    fn httparse_reads_the_same_head(stream in mangled()) {
        // The first head alone, where the validator is content with it.
        let end = (0..=stream.len()).find(|end| {
            let verdict = verdict(Limits::default(), [&stream[..*end]]);
            verdict.requests == 1
        });
        if let Some(end) = end {
            let head = &stream[..end];
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(head);
            prop_assert_eq!(parsed, Ok(httparse::Status::Complete(end)));
            let text = head.trim_ascii_start();
            let lines = text.windows(2).filter(|pair| pair == b"\r\n").count();
            // The request line and the empty one are the other two.
            prop_assert_eq!(request.headers.len(), lines - 2);
        }
    }
}
