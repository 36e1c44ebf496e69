use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use proptest::prelude::*;

use crate::Body;
use crate::body::BodyError;
use crate::chain::Carries;
use crate::support::{World, chain};

/// What a body does when it is asked.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Wait,
    Trailers,
    Fail,
}

struct Scripted(std::collections::VecDeque<Step>);

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "1".parse().unwrap());
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Step::Fail) => Poll::Ready(Some(Err("broke off".into()))),
        }
    }
}

fn scripted(steps: Vec<Step>) -> Body {
    Body::stream(Scripted(steps.into()))
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).map(|_| ()),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).map(|_| ()),
        _ => zstd::stream::read::Decoder::new(bytes)
            .and_then(|mut decoder| decoder.read_to_end(&mut plain))
            .map(|_| ()),
    }
    .unwrap();
    plain
}

/// What of a beginning of a coded text can be read already.
fn decoded_so_far(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut buffer = [0; 64];
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
    };
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        plain.extend_from_slice(&buffer[..length]);
    }
    plain
}

/// Sends an answer through the policy.
async fn through(policy: &str, request: Request<Body>, answer: Response<Body>) -> Response<Body> {
    let (world, chain, mut request, mut answer) =
        (World::default(), chain(&[policy]), request, answer);
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    answer
}

fn asking(accept: &str) -> Request<Body> {
    Request::get("/").header("accept-encoding", accept).body(Body::Empty).unwrap()
}

fn json(body: Body) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json; charset=utf-8")
        .body(body)
        .unwrap()
}

/// Every frame of a body, and where it waited.
fn polled(body: &mut Body) -> Vec<Poll<Result<Frame<Bytes>, String>>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Pending => frames.push(Poll::Pending),
            Poll::Ready(None) => return frames,
            Poll::Ready(Some(frame)) => {
                let is_over = frame.is_err();
                frames.push(Poll::Ready(frame.map_err(|error| error.to_string())));
                if is_over {
                    return frames;
                }
            }
        }
    }
}

fn whole(body: &mut Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in polled(body) {
        if let Poll::Ready(Ok(frame)) = frame {
            bytes.extend(frame.into_data().unwrap_or_default());
        }
    }
    bytes
}

#[tokio::test]
async fn an_answer_is_compressed_as_the_client_takes_it() {
    let text = "Tollgate carries calls. ".repeat(500);
    for coding in ["zstd", "br", "gzip"] {
        for level in ["fast", "balanced", "small"] {
            let mut answer = json(Body::from(Bytes::from(text.clone())));
            let headers = answer.headers_mut();
            for (name, value) in [
                ("content-length", "12000"),
                ("etag", "\"abc\""),
                ("accept-ranges", "bytes"),
                ("content-digest", "sha-256=:x:"),
                ("vary", "origin"),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            let policy = format!("compress: {{level: {level}}}");
            let mut answer = through(&policy, asking(coding), answer).await;
            let field =
                |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(
                (field("content-encoding"), field("etag")),
                (Some(coding), Some("W/\"abc\""))
            );
            assert_eq!(
                (field("content-length"), field("accept-ranges"), field("content-digest")),
                (None, None, None)
            );
            let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
            assert_eq!(vary, ["origin", "accept-encoding"]);
            let bytes = whole(answer.body_mut());
            assert!(bytes.len() < 1000, "{coding} {level}: {}", bytes.len());
            assert_eq!(decoded(coding, &bytes), text.as_bytes());
        }
    }
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let long = || Body::from(Bytes::from(vec![b'a'; 5000]));
    let base =
        |body: Body| Response::builder().header("content-type", "text/html").body(body).unwrap();
    let with = |name: &'static str, value: &str| {
        let mut answer = base(long());
        answer.headers_mut().append(name, value.parse().unwrap());
        answer
    };
    let status = |status: StatusCode| {
        let mut answer = base(long());
        *answer.status_mut() = status;
        answer
    };
    let typed =
        |value: &str| Response::builder().header("content-type", value).body(long()).unwrap();
    for (answer, varies) in [
        (with("content-encoding", "br"), false),
        (with("cache-control", "max-age=1, No-Transform"), false),
        (with("content-range", "bytes 0-4999/9000"), false),
        (status(StatusCode::PARTIAL_CONTENT), false),
        (status(StatusCode::NOT_MODIFIED), false),
        (status(StatusCode::NO_CONTENT), false),
        (typed("image/png"), false),
        (typed("application/jsonp"), false),
        (Response::new(long()), false),
        (base(Body::from(Bytes::from_static(b"short"))), false),
        (with("content-length", "1023"), false),
        (base(Body::Empty), false),
    ] {
        let told = format!("{:?} {:?}", answer.status(), answer.headers());
        let before = answer.headers().get("content-encoding").cloned();
        let mut answer = through("compress: {}", asking("gzip, br, zstd"), answer).await;
        assert_eq!(answer.headers().get("content-encoding").cloned(), before, "{told}");
        assert_eq!(answer.headers().contains_key("vary"), varies, "{told}");
        let bytes = whole(answer.body_mut());
        assert!(bytes.iter().all(|byte| *byte == b'a') || bytes == b"short", "{told}");
    }
}

#[tokio::test]
async fn who_takes_no_coding_gets_the_answer_as_it_is_with_vary() {
    for accept in ["identity", "", "gzip;q=0", "deflate"] {
        let answer = json(Body::from(Bytes::from(vec![b'a'; 5000])));
        let mut answer = through("compress: {}", asking(accept), answer).await;
        assert_eq!(answer.headers().get("content-encoding"), None, "{accept}");
        assert_eq!(answer.headers()["vary"], "accept-encoding");
        assert_eq!(whole(answer.body_mut()).len(), 5000);
    }
    let mut answer = json(Body::from(Bytes::from(vec![b'a'; 5000])));
    answer.headers_mut().insert("vary", "Origin, Accept-Encoding".parse().unwrap());
    let answer = through("compress: {}", asking("gzip"), answer).await;
    assert_eq!(answer.headers().get_all("vary").iter().count(), 1);
}

#[tokio::test]
async fn the_answer_to_head_stays_and_varies() {
    let request = Request::head("/").header("accept-encoding", "gzip").body(Body::Empty).unwrap();
    let mut answer = json(Body::Empty);
    answer.headers_mut().insert("content-length", "5000".parse().unwrap());
    let answer = through("compress: {}", request, answer).await;
    assert_eq!(
        (&answer.headers()["content-length"], &answer.headers()["vary"]),
        (&"5000".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn what_there_is_goes_out_before_it_waits_for_more() {
    for coding in ["gzip", "br", "zstd"] {
        let steps = vec![
            Step::Data(b"data: 1\n\n".to_vec()),
            Step::Wait,
            Step::Data(b"data: 2\n\n".to_vec()),
            Step::Data(b"data: 3\n\n".to_vec()),
            Step::Wait,
            Step::Wait,
            Step::Trailers,
        ];
        let answer = Response::builder()
            .header("content-type", "text/event-stream")
            .body(scripted(steps))
            .unwrap();
        let mut answer = through("compress: {}", asking(coding), answer).await;
        let mut bytes = Vec::new();
        let mut seen = Vec::new();
        let mut trailers = None;
        for frame in polled(answer.body_mut()) {
            match frame {
                Poll::Pending => {}
                Poll::Ready(frame) => match frame.unwrap().into_data() {
                    Ok(data) => {
                        bytes.extend(data);
                        seen.push(String::from_utf8(decoded_so_far(coding, &bytes)).unwrap());
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        }
        let all = "data: 1\n\ndata: 2\n\ndata: 3\n\n";
        assert_eq!(seen.first().map(String::as_str), Some("data: 1\n\n"), "{coding}");
        assert_eq!(seen.get(1).map(String::as_str), Some(all), "{coding}");
        assert_eq!(decoded(coding, &bytes), all.as_bytes());
        assert_eq!(trailers.unwrap()["x-sum"], "1");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let answer = json(scripted(vec![Step::Data(vec![b'a'; 5000]), Step::Fail]));
    let mut answer = through("compress: {}", asking("gzip"), answer).await;
    assert!(
        matches!(polled(answer.body_mut()).last(), Some(Poll::Ready(Err(error))) if error == "broke off")
    );
}

#[tokio::test]
async fn a_large_piece_is_compressed_in_turns() {
    let answer = json(Body::from(Bytes::from(vec![0; 4 << 20])));
    let mut answer = through("compress: {}", asking("zstd"), answer).await;
    let frames = polled(answer.body_mut());
    assert!(frames.iter().any(Poll::is_pending));
    let largest = frames.into_iter().filter_map(|frame| match frame {
        Poll::Ready(Ok(frame)) => Some(frame.into_data().unwrap().len()),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    });
    assert!(largest.max().unwrap() < 200 << 10);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Data),
        1 => (0usize..200_000).prop_map(|length| Step::Data(vec![b'a'; length])),
        2 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_body_in_any_pieces_reads_back(steps in steps(), coding in 0usize..3) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let coding = ["gzip", "br", "zstd"][coding];
        let plain: Vec<u8> = steps
            .iter()
            .flat_map(|step| match step {
                Step::Data(data) => data.clone(),
                Step::Wait | Step::Trailers | Step::Fail => Vec::new(),
            })
            .collect();
        let answer = json(scripted(steps));
        let mut answer = runtime.block_on(through("compress: {}", asking(coding), answer));
        prop_assert_eq!(decoded(coding, &whole(answer.body_mut())), plain);
    }
}
