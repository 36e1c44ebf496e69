//! Prices by hand, and against a reference that rounds nothing.

use proptest::prelude::*;

use super::*;
use crate::money::Factor;
use crate::usage::Usage;

fn dollars(text: &str) -> Nanodollars {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    serde_json::from_str(text).unwrap()
}

fn terms(service: Service) -> Terms {
    Terms { service, ..Terms::default() }
}

/// As in the catalogue: a model with all that there is.
fn full() -> Price {
    price(
        r#"{"standard": {"rates": {"input": "4", "cached_input": "0.4", "cache_write": "5", "cache_write_1h": "8", "output": "20",
                "reasoning": "25", "audio_input": "40", "audio_output": "80"},
            "long_context": [{"above_input_tokens": 500000, "rates": {"input": "16", "output": "60"}},
                {"above_input_tokens": 200000, "rates": {"input": "8", "cached_input": "0.9", "output": "30"}}]},
            "services": {"batch": {"rates": {"input": "2", "output": "10"}},
                "flex": {"rates": {"input": "3", "output": "12"},
                    "long_context": [{"above_input_tokens": 200000, "rates": {"input": "5"}}]}}}"#,
    )
}

fn per_million(price: &Price, token: Token, service: Service, prompt: u64) -> String {
    price.per_million(token, service, prompt).unwrap().to_string()
}

#[test]
fn a_call_is_the_sum_of_its_kinds_of_token() {
    let usage = Usage {
        input_tokens: 1000,
        cached_input_tokens: 2000,
        cache_write_tokens: 300,
        cache_write_1h_tokens: 400,
        audio_input_tokens: 50,
        output_tokens: 500,
        reasoning_tokens: 600,
        audio_output_tokens: 70,
    };
    let cost = full().cost(&usage, &Terms::default());
    let parts: Vec<_> =
        cost.parts().map(|part| (part.token.name(), part.amount.to_string())).collect();
    let expected = [
        ("input", "0.004"),
        ("cached_input", "0.0008"),
        ("cache_write", "0.0015"),
        ("cache_write_1h", "0.0032"),
        ("audio_input", "0.002"),
        ("output", "0.01"),
        ("reasoning", "0.015"),
        ("audio_output", "0.0056"),
    ];
    assert_eq!(parts, expected.map(|(token, amount)| (token, dollars(amount).to_string())));
    assert_eq!(cost.total, dollars("0.0421"));
    assert_eq!(cost.unpriced_tokens, 0);
}

#[test]
fn a_long_prompt_has_other_rates_for_the_whole_call_and_cached_tokens_make_it_long() {
    let (standard, price) = (Service::Standard, full());
    assert_eq!(per_million(&price, Token::Input, standard, 200_000), "4.00");
    assert_eq!(per_million(&price, Token::Input, standard, 200_001), "8.00");
    assert_eq!(per_million(&price, Token::Output, standard, 500_000), "30.00");
    assert_eq!(per_million(&price, Token::Output, standard, 500_001), "60.00");
    let usage = Usage {
        input_tokens: 1,
        cached_input_tokens: 200_000,
        output_tokens: 1_000_000,
        ..Usage::default()
    };
    // 1 x 8 + 200000 x 0.9 + 1000000 x 30, by the million.
    assert_eq!(price.cost(&usage, &Terms::default()).total, dollars("30.180008"));
}

#[test]
fn a_kind_without_amount_is_in_proportion_to_input() {
    let price = full();
    let of = |token, service, prompt| per_million(&price, token, service, prompt);
    // The batch's input is half of the standard's.
    assert_eq!(of(Token::CachedInput, Service::Batch, 10), "0.20");
    assert_eq!(of(Token::CacheWrite1h, Service::Batch, 10), "4.00");
    assert_eq!(of(Token::Reasoning, Service::Batch, 10), "12.50");
    // The long prompt's input is twice that of others, and its own amounts go first.
    assert_eq!(of(Token::CacheWrite, Service::Standard, 200_001), "10.00");
    assert_eq!(of(Token::CachedInput, Service::Standard, 200_001), "0.90");
    // Of a service's long prompt: first the standard's for long ones, then the service's for others.
    assert_eq!(of(Token::Output, Service::Flex, 200_001), "18.75");
    assert_eq!(of(Token::CachedInput, Service::Flex, 200_001), "0.5625");
    assert_eq!(of(Token::CacheWrite, Service::Flex, 200_001), "6.25");
    // Batches have no rates for long prompts: theirs for any.
    assert_eq!(of(Token::Input, Service::Batch, 200_001), "2.00");
}

#[test]
fn a_proportion_that_cannot_be_made_leaves_the_amount_as_it_is() {
    let free = price(
        r#"{"standard": {"rates": {"input": "0", "cached_input": "0.1", "output": "1"}},
            "services": {"batch": {"rates": {"input": "2"}}, "flex": {"rates": {"output": "0.5"}}}}"#,
    );
    assert_eq!(per_million(&free, Token::CachedInput, Service::Batch, 0), "0.10");
    assert_eq!(per_million(&free, Token::CachedInput, Service::Flex, 0), "0.10");
    assert_eq!(per_million(&free, Token::Input, Service::Flex, 0), "0.00");
    let thirds = price(
        r#"{"standard": {"rates": {"input": "3", "cached_input": "0.000000002"}}, "services": {"batch": {"rates": {"input": "1"}}}}"#,
    );
    assert_eq!(per_million(&thirds, Token::CachedInput, Service::Batch, 0), "0.000000001");
}

#[test]
fn a_service_without_prices_of_its_own_costs_what_the_standard_does() {
    assert_eq!(per_million(&full(), Token::Input, Service::Priority, 200_001), "8.00");
    let mut price = full();
    price.services.insert(Service::Standard, Schedule::default());
    assert_eq!(price.cost(&Usage::default(), &Terms::default()).total, Nanodollars::ZERO);
    assert_eq!(per_million(&price, Token::Input, Service::Standard, 0), "4.00");
}

#[test]
fn a_kind_that_nobody_prices_counts_as_the_one_that_stands_in() {
    let price = price(r#"{"standard": {"rates": {"input": "1", "output": "10"}}}"#);
    for token in Token::ALL {
        let amount = per_million(&price, *token, Service::Standard, 0);
        let is_output =
            ["output", "reasoning", "audio_output", "image_output"].contains(&token.name());
        assert_eq!(amount, if is_output { "10.00" } else { "1.00" }, "{token}");
    }
    let mut with_write = price;
    with_write.standard.rates.set(Token::CacheWrite, dollars("1.25"));
    assert_eq!(per_million(&with_write, Token::CacheWrite12h, Service::Standard, 0), "1.25");
    assert_eq!(per_million(&with_write, Token::CacheWrite1h, Service::Standard, 0), "1.25");
}

#[test]
fn tokens_that_nothing_is_known_of_are_counted_and_the_rest_is_priced() {
    let price = price(r#"{"standard": {"rates": {"input": "1"}}}"#);
    let usage =
        Usage { input_tokens: 5, output_tokens: 7, reasoning_tokens: 2, ..Usage::default() };
    let cost = price.cost(&usage, &Terms::default());
    assert_eq!((cost.total, cost.unpriced_tokens), (dollars("0.000005"), 9));
    let known: Vec<_> = cost.parts().map(|part| part.per_million.is_some()).collect();
    assert_eq!(known, [true, false, false]);
    assert_eq!(Price::default().cost(&usage, &Terms::default()).unpriced_tokens, 14);
}

#[test]
fn it_is_rounded_once_at_the_end_half_up_and_the_parts_still_add_up() {
    // A token of each costs 0.4 billionths: three are 1.2, not three times nothing.
    let price = price(
        r#"{"standard": {"rates": {"input": "0.0004", "cached_input": "0.0004", "output": "0.0004"}}}"#,
    );
    let usage =
        Usage { input_tokens: 1, cached_input_tokens: 1, output_tokens: 1, ..Usage::default() };
    let cost = price.cost(&usage, &Terms::default());
    assert_eq!(cost.total, Nanodollars::new(1));
    assert_eq!(cost.parts().map(|part| part.amount).sum::<Nanodollars>(), cost.total);
    // 0.4 x 1.25 is a half.
    let usage = Usage { input_tokens: 1, ..Usage::default() };
    let terms = Terms { factor: "1.25".parse().unwrap(), ..Terms::default() };
    assert_eq!(price.cost(&usage, &terms).total, Nanodollars::new(1));
    let terms = Terms { factor: "1.249999".parse().unwrap(), ..Terms::default() };
    assert_eq!(price.cost(&usage, &terms).total, Nanodollars::ZERO);
}

#[test]
fn what_is_more_than_the_most_stays_there() {
    let price =
        price(r#"{"standard": {"rates": {"input": "18446744073", "output": "18446744073"}}}"#);
    let usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
    let terms = Terms { factor: "4294".parse().unwrap(), ..terms(Service::Batch) };
    assert_eq!(price.cost(&usage, &terms).total, Nanodollars::MAX);
}

#[test]
fn every_field_can_be_replaced_and_the_others_stay() {
    let overrides: PriceOverrides = serde_json::from_str(
        r#"{"standard": {"rates": {"input": "1"}, "long_context": []},
            "services": {"batch": {"rates": {"cached_input": "0.05"}}, "priority": {"rates": {"input": "7"}}}}"#,
    )
    .unwrap();
    let price = full().with(&overrides);
    assert_eq!(per_million(&price, Token::Input, Service::Standard, 900_000), "1.00");
    assert_eq!(per_million(&price, Token::Output, Service::Standard, 900_000), "20.00");
    assert_eq!(per_million(&price, Token::CachedInput, Service::Batch, 0), "0.05");
    assert_eq!(per_million(&price, Token::Input, Service::Batch, 0), "2.00");
    assert_eq!(per_million(&price, Token::Input, Service::Priority, 0), "7.00");
    assert_eq!(per_million(&price, Token::Input, Service::Flex, 200_001), "5.00");
    assert_eq!(full().with(&PriceOverrides::default()), full());
}

#[test]
fn an_unknown_field_or_kind_is_refused() {
    for text in [
        r#"{"standard": {"rates": {"inptu": "1"}}}"#,
        r#"{"standard": {"rates": {"input": 1}}}"#,
        r#"{"standard": {"rates": {"input": "-1"}}}"#,
        r#"{"standard": {"rates": {}, "tiers": []}}"#,
        r#"{"standard": {"rates": {}}, "services": {"fast": {"rates": {}}}}"#,
        r#"{"standard": {"rates": {}}, "batch": {"rates": {}}}"#,
    ] {
        assert!(serde_json::from_str::<Price>(text).is_err(), "{text}");
    }
    assert!(serde_json::from_str::<PriceOverrides>(r#"{"rates": {}}"#).is_err());
}

#[test]
fn a_price_is_read_as_it_is_written() {
    assert_eq!(price(&serde_json::to_string(&full()).unwrap()), full());
}

proptest! {
    #[test]
    fn a_cost_is_that_of_a_reference_that_rounds_nothing(
        tokens in prop::array::uniform8(0_u64..1_000_000_000),
        amounts in prop::array::uniform8(0_u64..1_000_000_000_000),
        factor in 0_u32..3_000_000,
    ) {
        let kinds = ["input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning", "audio_output"];
        let named = kinds.iter().zip(amounts);
        let rates: Rates = named
            .map(|(kind, amount)| (kind.parse().unwrap(), Nanodollars::new(amount)))
            .collect();
        let price = Price { standard: Schedule { rates, ..Schedule::default() }, ..Price::default() };
        let [input, cached, write, write_1h, audio, output, reasoning, audio_output] = tokens;
        let usage = Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: write,
            cache_write_1h_tokens: write_1h,
            audio_input_tokens: audio,
            output_tokens: output,
            reasoning_tokens: reasoning,
            audio_output_tokens: audio_output,
        };
        let text = format!("{}.{:06}", factor / 1_000_000, factor % 1_000_000);
        let factor_value: Factor = text.parse().unwrap();
        let cost = price.cost(&usage, &Terms { service: Service::Standard, factor: factor_value });
        let exact: u128 = tokens.iter().zip(amounts).map(|(tokens, amount)| u128::from(*tokens) * u128::from(amount)).sum();
        let scaled = exact * u128::from(factor);
        // Half up: as many whole billionths as the amount and a half has.
        let expected = (scaled + 500_000_000_000) / 1_000_000_000_000;
        prop_assert_eq!(u128::from(cost.total.billionths()), expected);
        prop_assert_eq!(cost.parts().map(|part| part.amount).sum::<Nanodollars>(), cost.total);
        for part in cost.parts() {
            let own = u128::from(part.tokens) * u128::from(part.per_million.unwrap().billionths()) * u128::from(factor);
            prop_assert!(u128::from(part.amount.billionths()).abs_diff(own / 1_000_000_000_000) <= 1);
        }
    }

    #[test]
    fn any_usage_and_price_has_a_cost(tokens: [u64; 8], amounts: [u64; 3], above: u64) {
        let [input, output, long] = amounts.map(Nanodollars::new);
        let rates = Rates::from_iter([(Token::Input, input), (Token::Output, output)]);
        let tier = ContextTier { above_input_tokens: above, rates: Rates::from_iter([(Token::Input, long)]) };
        let price = Price {
            standard: Schedule { rates, long_context: Box::new([tier]) },
            ..Price::default()
        };
        let [input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, ..] = tokens;
        let usage = Usage { input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, ..Usage::default() };
        let cost = price.cost(&usage, &Terms::default());
        prop_assert_eq!(cost.parts().map(|part| part.amount).sum::<Nanodollars>(), cost.total);
    }
}
