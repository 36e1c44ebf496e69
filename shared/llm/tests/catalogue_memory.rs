//! What the catalogue takes: nothing before it is asked for, then a bounded piece of memory once, and nothing for
//! a look-up. A program of its own, because it counts what the whole program holds.

use tollgate_llm::price::{Service, Token};
use tollgate_llm::{Catalogue, Terms, Usage};
use tollgate_testkit::allocations::{Counting, during, held_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_catalogue_is_held_once_and_looked_up_without_allocating() {
    const MOST_BYTES: usize = 3 << 20;
    let before = held_bytes();
    let (catalogue, count) = during(|| Catalogue::bundled().unwrap());
    let held = held_bytes() - before;
    assert!(count > 0 && held < MOST_BYTES, "{held} bytes in {count} allocations");
    println!("{held} bytes");

    let usage = Usage {
        input_tokens: 100,
        cached_input_tokens: 300_000,
        output_tokens: 20,
        ..Usage::default()
    };
    let (total, count) = during(|| {
        let again = Catalogue::bundled().unwrap();
        let profile =
            again.model("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0").unwrap();
        let model = again.model("openai", "gpt-5.6").unwrap();
        assert!(again.provider("nobody").is_none());
        let rate = profile.price.per_million(Token::CacheWrite1h, Service::Batch, 5).unwrap();
        let cost = model.price.cost(&usage, &Terms::default());
        cost.total.saturating_add(rate)
    });
    assert_eq!(count, 0);
    assert!(total.billionths() > 0);
    assert!(std::ptr::eq(catalogue, Catalogue::bundled().unwrap()));
    assert_eq!(held_bytes() - before, held);
}
