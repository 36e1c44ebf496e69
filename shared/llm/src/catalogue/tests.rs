//! The catalogue against what its sources say. The totals were counted in the sources, not in what was made of
//! them; the prices were copied by hand. After a refresh both are to be taken from the new sources.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::money::Nanodollars;
use crate::price::{Price, Rates, Schedule, Service, Token};
use crate::usage::Usage;

fn catalogue() -> &'static Catalogue {
    Catalogue::bundled().unwrap()
}

fn models() -> impl Iterator<Item = &'static Model> {
    catalogue().providers().iter().flat_map(Provider::models)
}

fn model(provider: &str, id: &str) -> &'static Model {
    catalogue().model(provider, id).unwrap_or_else(|| panic!("{provider} {id}"))
}

fn dollars(text: &str) -> Nanodollars {
    text.parse().unwrap()
}

/// How many amounts there are, and their sum.
#[derive(Default)]
struct Total(BTreeMap<String, (usize, Nanodollars)>);

impl Total {
    fn add(&mut self, name: &str, amount: Nanodollars) {
        let (count, sum) = self.0.entry(name.to_owned()).or_default();
        *count += 1;
        *sum = sum.checked_add(amount).unwrap();
    }

    fn add_rates(&mut self, name: &str, rates: &Rates) {
        rates.iter().for_each(|(_, amount)| self.add(name, amount));
    }

    fn is(&self, expected: &[(&str, usize, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, count, sum)| (*name, *count, dollars(sum))).collect();
        let found: Vec<_> =
            self.0.iter().map(|(name, (count, sum))| (name.as_str(), *count, *sum)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn it_has_a_date_and_says_where_each_model_is_from() {
    assert_eq!(catalogue().date.to_string(), "2026-11-23");
    let names: Vec<&str> = catalogue().sources.iter().map(|source| &*source.name).collect();
    for model in models() {
        for name in model.source.name().split('+') {
            assert!(names.contains(&name), "{name}");
        }
    }
}

#[test]
fn every_model_of_the_sources_is_there_by_its_mode() {
    let mut modes: BTreeMap<Mode, usize> = BTreeMap::new();
    models().for_each(|model| *modes.entry(model.mode).or_default() += 1);
    let expected = [
        (Mode::Chat, 3535),
        (Mode::Completion, 24),
        (Mode::Responses, 137),
        (Mode::Embedding, 151),
        (Mode::Image, 148),
        (Mode::AudioTranscription, 100),
        (Mode::AudioSpeech, 54),
        (Mode::Rerank, 43),
        (Mode::Moderation, 3),
    ];
    assert_eq!(modes.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!((catalogue().providers().len(), models().count()), (92, 4195));
    let of = |id| catalogue().provider(id).unwrap().models().len();
    assert_eq!((of("openai"), of("anthropic"), of("bedrock"), of("vllm")), (164, 24, 267, 0));
}

#[test]
fn every_ordinary_price_of_a_token_is_there() {
    let mut total = Total::default();
    for model in models() {
        model
            .price
            .standard
            .rates
            .iter()
            .for_each(|(token, amount)| total.add(token.name(), amount));
    }
    total.is(&[
        ("audio_input", 75, "540.47501"),
        ("audio_output", 33, "1068"),
        ("cache_write", 501, "2219.782114999"),
        ("cache_write_12h", 11, "132"),
        ("cache_write_1h", 172, "1623.55981"),
        ("cached_audio_input", 13, "1.18005"),
        ("cached_image_input", 20, "37.5"),
        ("cached_input", 1563, "570.0896285"),
        ("image_input", 90, "279.66503"),
        ("image_output", 51, "2332.80031"),
        ("input", 3886, "6492.086360268"),
        ("output", 3856, "27389.065691"),
        ("reasoning", 9, "24.5"),
        ("video_input", 4, "48"),
    ]);
}

#[test]
fn every_price_of_a_service_a_long_prompt_a_region_and_an_hour_is_there() {
    let mut total = Total::default();
    let long = |total: &mut Total, name: &str, schedule: &Schedule| {
        schedule.long_context.iter().for_each(|tier| total.add_rates(name, &tier.rates));
    };
    for model in models() {
        long(&mut total, "long", &model.price.standard);
        for (service, schedule) in &model.price.services {
            total.add_rates(service.name(), &schedule.rates);
            long(&mut total, &format!("{service}_long"), schedule);
        }
        for regional in &model.regional_prices {
            total.add_rates("regional", &regional.price.standard.rates);
            for (service, schedule) in &regional.price.services {
                total.add_rates(&format!("regional_{service}"), &schedule.rates);
            }
        }
        if let Some(off_peak) = &model.off_peak {
            total.add_rates("off_peak", &off_peak.rates);
        }
    }
    total.is(&[
        ("batch", 1214, "5177.469000003"),
        ("batch_long", 142, "1544.2275"),
        ("flex", 430, "1201.1196"),
        ("flex_long", 98, "1085.02"),
        ("long", 1020, "12388.0522"),
        ("off_peak", 18, "8.336"),
        ("priority", 822, "5446.045975"),
        ("priority_long", 188, "4714.1103"),
        ("regional", 425, "2442.186025"),
        ("regional_batch", 125, "575.47195"),
        ("ultrafast", 34, "2400.12"),
        ("ultrafast_long", 34, "4044.24"),
    ]);
}

#[test]
fn every_other_price_is_there() {
    let mut total = Total::default();
    for model in models() {
        model.units.iter().for_each(|(unit, amount)| total.add(unit.name(), *amount));
        model.image_prices.iter().for_each(|price| total.add("pictures", price.per_image));
    }
    total.is(&[
        ("audio_input_second", 3, "420"),
        ("audio_second", 91, "10583.2371332"),
        ("input_character", 42, "1214.05625"),
        ("input_image", 32, "314180"),
        ("input_pixel", 3, "0.0543"),
        ("output_character", 2, "16"),
        ("output_image", 98, "5915540"),
        ("pictures", 77, "4.487168"),
        ("query", 24, "30140"),
        ("request", 4, "20000"),
        ("video_input_second", 7, "4080"),
        ("web_search", 306, "3924000"),
        ("web_search_high", 4, "54000"),
        ("web_search_low", 4, "22000"),
        ("web_search_medium", 4, "36000"),
    ]);
    let regional = models().flat_map(|model| model.regional_prices.iter());
    assert_eq!(regional.map(|price| price.units.len()).sum::<usize>(), 3);
    let factors = models().flat_map(|model| model.price_multipliers.values());
    let factors: Vec<u64> = factors.map(|factor| u64::from(factor.millionths())).collect();
    assert_eq!((factors.len(), factors.iter().sum::<u64>()), (103, 116_000_000));
}

#[test]
fn every_other_fact_of_models_is_there() {
    fn sum(each: impl Fn(&Model) -> usize) -> usize {
        models().map(each).sum()
    }
    let number = |number: Option<u32>| usize::try_from(number.unwrap_or_default()).unwrap();
    assert_eq!(sum(|model| model.capabilities.iter().count()), 15597);
    assert_eq!(sum(|model| model.not_supported.iter().count()), 1102);
    assert_eq!(sum(|model| model.reasoning_efforts.iter().count()), 1337);
    assert_eq!(sum(|model| model.endpoints.iter().count()), 429);
    assert_eq!(sum(|model| model.inference_profiles.len()), 179);
    assert_eq!(sum(|model| model.regions_listed.len()), 2);
    assert_eq!(sum(|model| number(model.max_input_tokens)), 1_339_217_400);
    assert_eq!(sum(|model| number(model.max_output_tokens)), 448_924_449);
    assert_eq!(sum(|model| number(model.embedding_dimensions)), 114_944);
    assert_eq!(sum(|model| number(model.prompt_cache_min_tokens)), 370_688);
    assert_eq!(sum(|model| usize::from(model.base_model.is_some())), 94);
    assert_eq!(sum(|model| usize::from(model.thinking_always_on)), 62);
    assert_eq!(sum(|model| usize::from(model.default_reasoning_effort.is_some())), 24);
    assert_eq!(sum(|model| usize::from(!model.regional_prices.is_empty())), 114);
}

#[test]
fn every_day_of_a_shutdown_is_there() {
    let dates: Vec<Date> = models().filter_map(|model| model.deprecation_date).collect();
    assert_eq!(dates.len(), 603);
    assert_eq!(dates.iter().min().unwrap().to_string(), "2024-08-22");
    assert_eq!(dates.iter().max().unwrap().to_string(), "2028-05-20");
}

#[test]
fn every_fact_of_providers_is_there() {
    let of = |each: fn(&Provider) -> usize| catalogue().providers().iter().map(each).sum::<usize>();
    assert_eq!(of(|provider| provider.paths.len()), 446);
    assert_eq!(of(|provider| provider.auth.env.len()), 124);
    assert_eq!(of(|provider| provider.notes.len()), 176);
    assert_eq!(of(|provider| provider.variables.len()), 15);
    assert_eq!(of(|provider| provider.headers.len()), 5);
    assert_eq!(of(|provider| provider.also.len()), 5);
    assert_eq!(of(|provider| usize::from(provider.self_hosted)), 7);
}

#[test]
fn these_prices_are_as_the_sources_have_them() {
    use Service::{Batch, Flex, Priority, Standard};
    use Token::{
        AudioInput, CacheWrite, CacheWrite1h, CacheWrite12h, CachedInput, ImageOutput, Input,
        Output, Reasoning,
    };
    let cases = [
        ("openai", "gpt-5.6", Standard, 272_000, Input, "4"),
        ("openai", "gpt-5.6", Standard, 272_001, Input, "8"),
        ("openai", "gpt-5.6", Standard, 300_000, Output, "30"),
        ("openai", "gpt-5.6", Batch, 300_000, CachedInput, "0.4"),
        ("openai", "gpt-5.6", Flex, 300_000, CacheWrite12h, "10"),
        ("openai", "gpt-5-mini", Priority, 1, CachedInput, "0.045"),
        ("openai", "gpt-image-1", Standard, 1, ImageOutput, "40"),
        ("openai", "text-embedding-3-small", Batch, 1, Input, "0.01"),
        ("anthropic", "claude-opus-4-5", Standard, 1, CacheWrite, "6.25"),
        ("anthropic", "claude-opus-4-5", Standard, 1, CacheWrite1h, "10"),
        ("anthropic", "claude-opus-4-5", Batch, 1, Output, "12.5"),
        // Not in the sources: half of the standard one, as the batch's input is.
        ("anthropic", "claude-opus-4-5", Batch, 1, CacheWrite1h, "5"),
        ("anthropic", "claude-sonnet-4-5", Standard, 1, Output, "15"),
        ("gemini", "gemini-2.5-pro", Standard, 200_000, Output, "10"),
        ("gemini", "gemini-2.5-pro", Standard, 200_001, Output, "15"),
        ("gemini", "gemini-2.5-pro", Priority, 200_001, CachedInput, "0.45"),
        ("gemini", "gemini-2.5-flash", Standard, 1, AudioInput, "1"),
        ("gemini", "gemini-2.5-flash", Batch, 1, CachedInput, "0.03"),
        (
            "bedrock",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            Standard,
            200_001,
            CacheWrite1h,
            "12",
        ),
        ("azure", "gpt-4.1-mini", Priority, 1, Output, "2.8"),
        ("dashscope", "qwen-plus-latest", Standard, 256_000, Reasoning, "4"),
        ("dashscope", "qwen-plus-latest", Standard, 256_001, Reasoning, "12"),
        ("volcengine", "doubao-seed-2-0-pro-260215", Standard, 32_001, Output, "3.5"),
        ("volcengine", "doubao-seed-2-0-pro-260215", Standard, 900_000, Output, "7"),
        ("openrouter", "qwen/qwen3-coder-flash", Standard, 128_001, CacheWrite, "0.65"),
        ("mistral", "mistral-large-4", Batch, 1, Output, "1.05"),
        ("groq", "openai/gpt-oss-120b", Standard, 1, CachedInput, "0.075"),
        ("cerebras", "gpt-oss-120b", Standard, 1, Output, "0.75"),
        ("perplexity", "sonar-pro", Standard, 1, Output, "15"),
        ("moonshot", "kimi-k2.6", Standard, 1, CachedInput, "0.16"),
        ("deepseek", "deepseek-v4-pro", Standard, 1, CacheWrite, "0"),
        // 0.2857142857 in the source.
        ("zhipu", "glm-5.3", Standard, 1, CachedInput, "0.285714286"),
        ("voyage", "voyage-3.5", Standard, 1, Input, "0.06"),
    ];
    for (provider, id, service, prompt, token, amount) in cases {
        let found = model(provider, id).price.per_million(token, service, prompt);
        assert_eq!(found, Some(dollars(amount)), "{provider} {id} {service} {prompt} {token}");
    }
}

#[test]
fn these_prices_of_other_things_are_as_the_sources_have_them() {
    let cases = [
        ("openai", "whisper-1", Unit::AudioSecond, "100"),
        ("openai", "tts-1", Unit::InputCharacter, "15"),
        ("deepgram", "nova-3", Unit::AudioSecond, "71.67"),
        ("cohere", "rerank-v3.5", Unit::Query, "2000"),
        ("perplexity", "sonar-pro", Unit::WebSearchHigh, "14000"),
        ("vertex_ai", "gemini-3-pro-image", Unit::OutputImage, "134000"),
    ];
    for (provider, id, unit, amount) in cases {
        assert_eq!(model(provider, id).units.get(&unit), Some(&dollars(amount)), "{provider} {id}");
    }
    // A minute of transcription.
    assert_eq!(dollars("100").for_units(60), dollars("0.006"));
    let pictures = &model("openai", "gpt-image-1").image_prices;
    let large = pictures.iter().find(|price| {
        price.quality.as_deref() == Some("high") && price.size.as_deref() == Some("1024x1536")
    });
    assert_eq!(large.unwrap().per_image, dollars("0.25"));
}

#[test]
fn a_call_to_a_model_of_the_catalogue_has_a_cost() {
    let usage = Usage {
        input_tokens: 1_000,
        cached_input_tokens: 10_000,
        cache_write_1h_tokens: 500,
        output_tokens: 200,
        reasoning_tokens: 300,
        ..Usage::default()
    };
    let cost = model("anthropic", "claude-opus-4-5").price.cost(&usage, &Default::default());
    // 1000 x 5 + 10000 x 0.5 + 500 x 10 + 500 x 25, by the million.
    assert_eq!(cost.total, dollars("0.0275"));
}

#[test]
fn every_price_is_bounded_and_every_provider_can_be_reached() {
    let most = dollars("1000");
    for provider in catalogue().providers() {
        for model in provider.models() {
            let name = format!("{} {}", provider.id, model.id);
            let has_room = |rates: &Rates| rates.iter().all(|(_, amount)| amount <= most);
            assert!(model.price.all_rates().all(has_room), "{name}");
            // Ten dollars for one.
            assert!(model.units.values().all(|amount| *amount <= dollars("10000000")), "{name}");
            assert!(
                model.image_prices.iter().all(|price| price.per_image <= dollars("10")),
                "{name}"
            );
            let factors = model.price_multipliers.values().map(|factor| factor.millionths());
            assert!(
                factors.into_iter().all(|factor| (100_000..=10_000_000).contains(&factor)),
                "{name}"
            );
            for tier in &model.price.standard.long_context {
                assert!(tier.above_input_tokens >= 1000 && !tier.rates.is_empty(), "{name}");
            }
            for window in model.off_peak.iter().flat_map(|off_peak| &off_peak.windows) {
                assert!(
                    window.from_minute < window.to_minute && window.to_minute <= 1440,
                    "{name}"
                );
                assert!(window.weekdays.iter().all(|day| (1..=7).contains(day)), "{name}");
            }
            assert_eq!(provider.model(&model.id), Some(model));
        }
        let is_address = provider.base_url.starts_with("https://")
            || provider.base_url.starts_with("http://localhost:")
            || &*provider.base_url == "{base_url}";
        assert!(is_address && !provider.base_url.ends_with('/'), "{}", provider.base_url);
        let is_path = |path: &str| path.starts_with('/') || path.starts_with("https://");
        assert!(provider.paths.values().all(|path| is_path(path)), "{}", provider.id);
        let also = provider.also.iter().map(|also| &also.base_url);
        assert!(also.into_iter().all(|url| url.starts_with("https://")), "{}", provider.id);
    }
}

#[test]
fn a_provider_is_known_by_its_id() {
    let anthropic = catalogue().provider("anthropic").unwrap();
    assert_eq!(
        (&*anthropic.base_url, &*anthropic.dialect),
        ("https://api.anthropic.com", "anthropic")
    );
    assert_eq!(anthropic.auth.scheme, Scheme::Header);
    assert_eq!(anthropic.auth.header.as_deref(), Some("x-api-key"));
    assert_eq!(
        anthropic.headers.get("anthropic-version").map(|value| &**value),
        Some("2023-06-01")
    );
    assert_eq!(anthropic.paths.get("messages").map(|path| &**path), Some("/v1/messages"));
    let bedrock = catalogue().provider("bedrock").unwrap();
    assert_eq!(bedrock.auth.scheme, Scheme::SigV4);
    assert_eq!(bedrock.variables.iter().map(|name| &**name).collect::<Vec<_>>(), ["region"]);
    assert!(catalogue().provider("vllm").unwrap().self_hosted);
    assert!(catalogue().provider("OpenAI").is_none());
    assert!(catalogue().provider("").is_none());
}

#[test]
fn a_model_is_known_by_its_id_and_by_profiles_that_cost_the_same() {
    assert!(catalogue().model("openai", "gpt-6-that-never-was").is_none());
    assert!(catalogue().model("nobody", "gpt-5.6").is_none());
    let base = model("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0");
    assert_eq!(model("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"), base);
    // A profile that the model does not have; one of another provider's.
    assert!(
        catalogue().model("bedrock", "apac.anthropic.claude-sonnet-4-5-20250929-v1:0").is_none()
    );
    assert!(catalogue().model("openai", "global.gpt-5.6").is_none());
    // One with a price of its own has a row of its own.
    let own = models().filter(|model| model.base_model.is_some());
    assert!(own.into_iter().all(|model| model.inference_profiles.is_empty()));
}

#[test]
fn a_region_and_an_hour_have_their_price() {
    let mini = model("azure", "gpt-4.1-mini");
    let input = |price: Price, service| price.per_million(Token::Input, service, 1).unwrap();
    assert_eq!(input(mini.price_in("eu"), Service::Standard), dollars("0.44"));
    assert_eq!(input(mini.price_in("eu"), Service::Batch), dollars("0.22"));
    assert_eq!(input(mini.price_in("eu"), Service::Priority), dollars("0.7"));
    assert_eq!(input(mini.price_in("mars"), Service::Standard), dollars("0.4"));
    let deepseek = model("deepseek", "deepseek-v4-pro");
    assert_eq!(input(deepseek.price_off_peak().unwrap(), Service::Standard), dollars("0.66"));
    assert_eq!(mini.price_off_peak(), None);
}

#[test]
fn an_hour_is_within_its_window_by_the_providers_weekday() {
    // 2026-11-23 was a Monday.
    const MONDAY: u64 = 1_795_392_000;
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    let deepseek = model("deepseek", "deepseek-v4-pro").off_peak.as_ref().unwrap();
    for (seconds, is_covered) in [
        (MONDAY, true),
        (MONDAY + HOUR - 1, true),
        (MONDAY + HOUR, false),
        (MONDAY + 4 * HOUR - 1, false),
        (MONDAY + 4 * HOUR, true),
        (MONDAY + 6 * HOUR, false),
        (MONDAY + 10 * HOUR, true),
        (MONDAY + DAY - 1, true),
        (MONDAY + 4 * DAY + 7 * HOUR, false),
        (MONDAY + 5 * DAY + 7 * HOUR, true),
        (MONDAY + 6 * DAY + 7 * HOUR, true),
        (MONDAY + 7 * DAY + 7 * HOUR, false),
    ] {
        assert_eq!(deepseek.covers(seconds), is_covered, "{}", seconds - MONDAY);
    }
    // In Shanghai the day begins eight hours earlier: Sunday at 20 in UTC is Monday there, Friday at 20 is Saturday.
    let tencent = model("tencent", "deepseek-v4.1-flash").off_peak.as_ref().unwrap();
    assert_eq!(tencent.weekdays_ahead_minutes, 480);
    let monday_alone = OffPeak {
        rates: Rates::default(),
        weekdays_ahead_minutes: 480,
        windows: Box::new([Window { weekdays: Box::new([1]), from_minute: 0, to_minute: 1440 }]),
    };
    assert!(monday_alone.covers(MONDAY - 4 * HOUR));
    assert!(!monday_alone.covers(MONDAY - 9 * HOUR));
    assert!(monday_alone.covers(MONDAY + 16 * HOUR - 1));
    assert!(!monday_alone.covers(MONDAY + 16 * HOUR));
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn with_models(models: &str) -> Result<Catalogue, CatalogueError> {
    let provider = r#""name": "A", "base_url": "https://a", "dialect": "openai", "auth": {"scheme": "none", "env": []}, "docs": "https://a""#;
    Catalogue::decode(&packed(&format!(
        r#"{{"date": "2026-11-23", "sources": [], "providers": [{{"id": "a", {provider}, "models": [{models}]}}]}}"#
    )))
}

#[test]
fn what_is_damaged_unknown_or_out_of_order_is_refused() {
    let one =
        r#"{"id": "m", "mode": "chat", "price": {"standard": {"rates": {}}}, "source": "litellm"}"#;
    assert_eq!(with_models(one).unwrap().model("a", "m").unwrap().price, Price::default());
    let error = |result: Result<Catalogue, CatalogueError>| result.unwrap_err();
    assert!(
        matches!(error(with_models(&format!("{one}, {one}"))), CatalogueError::Order(id) if &*id == "m")
    );
    let before = one.replace("\"m\"", "\"b\"");
    assert!(matches!(error(with_models(&format!("{one}, {before}"))), CatalogueError::Order(_)));
    for (from, to) in [
        ("\"chat\"", "\"chats\""),
        ("\"rates\": {}", "\"rates\": {\"inputs\": \"1\"}"),
        ("\"rates\": {}", "\"rates\": {\"input\": 1.5}"),
        ("\"source\"", "\"of\": 1, \"source\""),
        ("\"source\"", "\"deprecation_date\": \"2026-13-01\", \"source\""),
        ("\"source\"", "\"capabilities\": [\"flying\"], \"source\""),
        ("\"source\"", "\"max_input_tokens\": -1, \"source\""),
    ] {
        let faulty = one.replace(from, to);
        assert_ne!(faulty, one);
        assert!(matches!(error(with_models(&faulty)), CatalogueError::Parse(_)), "{faulty}");
    }
    let mut damaged = BUNDLED.to_vec();
    damaged.truncate(BUNDLED.len() - 1);
    assert!(matches!(error(Catalogue::decode(&damaged)), CatalogueError::Unpack(_)));
}

#[test]
fn a_date_is_a_day_of_the_calendar_as_it_is_written() {
    let date: Date = "2026-11-23".parse().unwrap();
    assert_eq!(date, Date(jiff::civil::date(2026, 11, 23)));
    assert!(date < "2026-12-01".parse().unwrap());
    for text in [
        "",
        "2026",
        "2026-11",
        "2026-11-23-1",
        "26-11-23",
        "2026-00-01",
        "2026-01-32",
        "2026-02-29",
        "20261123",
        "2026-11-23T00:00",
        "2026-1-1",
        "2026-+1-01",
    ] {
        assert_eq!(text.parse::<Date>(), Err(facts::NotADate), "{text}");
    }
}
