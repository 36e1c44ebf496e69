use std::sync::Mutex;

use http::header;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A token endpoint: `t1` is its first token, `t2` its second.
#[derive(Clone)]
struct Server(Arc<Mutex<Manner>>);

struct Manner {
    /// How long tokens are good; none: there are none.
    good_for: Option<Duration>,
    takes: Duration,
    asked: Vec<Instant>,
}

impl Server {
    fn start(good_for: Duration) -> (Self, Keeper) {
        let manner = Manner { good_for: Some(good_for), takes: SECOND / 10, asked: Vec::new() };
        let server = Self(Arc::new(Mutex::new(manner)));
        let asked = server.clone();
        let fetch: Fetch = Box::new(move || Box::pin(asked.clone().answer()));
        (server, Keeper::begin(fetch, "default/orders", &Handle::current()))
    }

    async fn answer(self) -> Result<Fetched, TokenError> {
        let (number, takes) = {
            let mut manner = self.0.lock().unwrap();
            manner.asked.push(Instant::now());
            (manner.asked.len(), manner.takes)
        };
        sleep(takes).await;
        let good_for = self.0.lock().unwrap().good_for.ok_or(TokenError::Malformed)?;
        let value = format!("Bearer t{number}");
        let field = Field::new(header::AUTHORIZATION, value.as_bytes()).unwrap();
        Ok(Fetched { field, good_for })
    }

    fn fail(&self) {
        self.0.lock().unwrap().good_for = None;
    }

    fn answer_for(&self, good_for: Duration) {
        self.0.lock().unwrap().good_for = Some(good_for);
    }

    fn take(&self, takes: Duration) {
        self.0.lock().unwrap().takes = takes;
    }

    fn asked(&self) -> Vec<Instant> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn shown(field: &Arc<Field>) -> String {
    field.value.to_str().unwrap().trim_start_matches("Bearer ").to_owned()
}

/// What a call goes out with, which waits five seconds at most.
async fn called(keeper: &Keeper) -> Option<String> {
    match keeper.with_current(shown) {
        Some(token) => Some(token),
        None => keeper.wait(Instant::now() + SECOND * 5).await.as_ref().map(shown),
    }
}

fn number(keeper: &Keeper) -> u64 {
    keeper.with_current(|field| field.number()).unwrap()
}

/// Lets that much time pass, in which others do what they have to.
async fn pass(time: Duration) {
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_until_it_is_needed_and_all_who_wait_share_one_fetch() {
    let (server, keeper) = Server::start(HOUR);
    let keeper = Arc::new(keeper);
    pass(HOUR).await;
    assert_eq!(server.asked().len(), 0);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let keeper = Arc::clone(&keeper);
        calls.spawn(async move { called(&keeper).await });
    }
    let tokens = calls.join_all().await;
    assert!(tokens.iter().all(|token| token.as_deref() == Some("t1")), "{tokens:?}");
    assert_eq!(server.asked().len(), 1);
    // From now on nobody waits.
    assert_eq!(keeper.with_current(shown).as_deref(), Some("t1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_renewed_before_it_expires_without_a_call_that_waits() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    let began = server.asked()[0];
    for _ in 0..36_000 {
        assert!(keeper.with_current(|_| ()).is_some(), "after {:?}", began.elapsed());
        pass(SECOND).await;
    }
    let asked = server.asked();
    assert!((12..=14).contains(&asked.len()), "{asked:?}");
    for (one, next) in asked.iter().zip(&asked[1..]) {
        let share = (*next - *one).div_duration_f64(HOUR);
        assert!((0.74..0.87).contains(&share), "{share}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_is_not_renewed_and_fetched_when_it_is_needed_again() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    pass(HOUR * 24).await;
    assert_eq!(server.asked().len(), 1);
    assert!(keeper.with_current(|_| ()).is_none(), "it has expired");
    assert_eq!(called(&keeper).await.as_deref(), Some("t2"));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_call_before_the_end_gets_the_old_token_and_has_it_renewed() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    pass(HOUR.mul_f64(0.9)).await;
    assert_eq!(called(&keeper).await.as_deref(), Some("t1"));
    pass(SECOND).await;
    assert_eq!(called(&keeper).await.as_deref(), Some("t2"));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_used_to_its_end_while_the_server_is_away_and_then_nobody_waits() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    let fetched = Instant::now();
    server.fail();
    while fetched.elapsed() < HOUR - SECOND {
        assert_eq!(called(&keeper).await.as_deref(), Some("t1"));
        pass(SECOND).await;
    }
    pass(SECOND * 2).await;
    let mut waited = Duration::ZERO;
    let (began, asked) = (Instant::now(), server.asked().len());
    while began.elapsed() < HOUR {
        let before = Instant::now();
        assert_eq!(called(&keeper).await, None);
        waited += before.elapsed();
        pass(SECOND / 4).await;
    }
    // A fetch in a minute at most, once it has failed for a while.
    let asked = server.asked().len() - asked;
    assert!((45..=61).contains(&asked), "{asked}");
    assert!(waited < SECOND * 10, "only who comes while it is asked waits: {waited:?}");
    server.answer_for(HOUR);
    pass(SECOND * 76).await;
    assert!(called(&keeper).await.is_some(), "it is tried again for those who came");
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_left_alone_longer_each_time() {
    let (server, keeper) = Server::start(HOUR);
    server.fail();
    for _ in 0..2400 {
        assert_eq!(called(&keeper).await, None);
        pass(SECOND / 4).await;
    }
    let asked = server.asked();
    let pauses: Vec<f64> =
        asked.iter().zip(&asked[1..]).map(|(one, next)| (*next - *one).as_secs_f64()).collect();
    for (pause, least) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        assert!((least..least * 1.25 + 0.5).contains(pause), "{pauses:?}");
    }
    assert!(pauses.len() >= 8, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_taken_is_fetched_anew_once_in_ten_seconds() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    let first = number(&keeper);
    for _ in 0..100 {
        keeper.refused(first);
    }
    // Until the other one is there, it is all there is.
    assert_eq!(called(&keeper).await.as_deref(), Some("t1"));
    pass(SECOND * 2).await;
    assert_eq!(called(&keeper).await.as_deref(), Some("t2"));
    // What was sent before says nothing of the new one.
    pass(SECOND * 20).await;
    keeper.refused(first);
    pass(SECOND).await;
    assert_eq!(server.asked().len(), 2);
    // Endpoints that take none of them do not make it faster.
    assert_eq!(called(&keeper).await.as_deref(), Some("t2"));
    let began = Instant::now();
    while began.elapsed() < SECOND * 100 {
        called(&keeper).await.unwrap();
        keeper.refused(number(&keeper));
        pass(SECOND / 10).await;
    }
    let asked = server.asked().len() - 2;
    assert!((9..=11).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_after_a_refusal_is_asked_no_faster() {
    let (server, keeper) = Server::start(HOUR);
    called(&keeper).await.unwrap();
    server.fail();
    pass(SECOND * 2).await;
    let began = Instant::now();
    while began.elapsed() < SECOND * 120 {
        assert_eq!(called(&keeper).await.as_deref(), Some("t1"));
        keeper.refused(number(&keeper));
        pass(SECOND / 10).await;
    }
    // At 0, 1, 3, 7, 15, 31 and 63 seconds, or later.
    let asked = server.asked().len() - 1;
    assert!((6..=7).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_goes_on_and_the_token_comes_for_the_next() {
    let (server, keeper) = Server::start(HOUR);
    server.take(SECOND * 8);
    let before = Instant::now();
    assert_eq!(called(&keeper).await, None);
    assert_eq!(before.elapsed(), SECOND * 5);
    assert_eq!(called(&keeper).await.as_deref(), Some("t1"));
    assert_eq!((before.elapsed(), server.asked().len()), (SECOND * 8, 1));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_good_for_a_moment_are_fetched_once_a_second_at_most() {
    let (server, keeper) = Server::start(SECOND);
    let began = Instant::now();
    while began.elapsed() < SECOND * 60 {
        called(&keeper).await.unwrap();
        pass(SECOND / 50).await;
    }
    assert!((50..=60).contains(&server.asked().len()), "{}", server.asked().len());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_any_more_for_an_upstream_that_is_gone() {
    let (server, keeper) = Server::start(HOUR);
    for _ in 0..2 {
        called(&keeper).await.unwrap();
    }
    drop(keeper);
    advance(HOUR * 2).await;
    pass(HOUR).await;
    assert_eq!(server.asked().len(), 1);
    assert_eq!(Arc::strong_count(&server.0), 1, "what fetched is gone");
}
