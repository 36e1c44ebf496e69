//! `tollgate model list` and `tollgate provider list`: without a server, from the catalogue.

use serde_json::Value;

use crate::support::Tollgate;

fn json(arguments: &[&str]) -> Value {
    let text = Tollgate::new().run(&[arguments, &["-o", "json"]].concat()).done();
    serde_json::from_str(&text).unwrap()
}

fn items(arguments: &[&str]) -> Vec<Value> {
    json(arguments)["items"].as_array().unwrap().clone()
}

#[test]
fn models_are_listed_with_limits_and_prices() {
    let run = Tollgate::new().run(&["model", "list", "anthropic", "--search", "OPUS-4-5"]);
    insta::assert_snapshot!(run.all());
}

#[test]
fn models_of_all_providers_are_found_by_a_part_of_their_name() {
    let run = Tollgate::new().run(&["model", "list", "-s", "voyage-3.5", "--mode", "embedding"]);
    insta::assert_snapshot!(run.all());
}

#[test]
fn a_mode_and_a_provider_leave_only_theirs() {
    let all = items(&["model", "list"]);
    assert_eq!(all.len(), 4195);
    let chosen = items(&["model", "list", "openai", "--mode", "responses"]);
    assert!(!chosen.is_empty());
    for model in &chosen {
        assert_eq!((&model["provider"], &model["mode"]), (&"openai".into(), &"responses".into()));
    }
    let counted = all.iter().filter(|model| chosen.contains(model)).count();
    assert_eq!(counted, chosen.len());
}

#[test]
fn programs_get_everything_that_is_known_of_a_model() {
    let models = json(&["model", "list", "openai", "--search", "openai/gpt-5-mini"]);
    assert_eq!(models["date"], "2026-11-23");
    let first = &models["items"][0];
    insta::assert_snapshot!(format!("{first:#}"));
    let yaml = Tollgate::new().run(&["model", "list", "v0", "-o", "yaml"]).done();
    assert!(yaml.starts_with("date: \"2026-11-23\"\nitems:\n"), "{yaml}");
}

#[test]
fn a_model_that_nobody_knows_is_told_so() {
    let run = Tollgate::new().run(&["model", "list", "--search", "no-such-model"]);
    assert_eq!(run.stderr, "");
    assert_eq!(
        run.done(),
        "the catalogue has no such model; a provider may serve it all the same\n"
    );
    assert_eq!(items(&["model", "list", "--search", "no-such-model"]), Vec::<Value>::new());
}

#[test]
fn a_provider_that_nobody_knows_is_refused_with_the_nearest_names() {
    let run = Tollgate::new().run(&["model", "list", "antropic"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert_eq!(
        run.stderr,
        "error: the catalogue has no provider `antropic`; did you mean `anthropic`?\n"
    );
    let run = Tollgate::new().run(&["model", "list", "watermelon"]);
    assert!(run.stderr.ends_with("; `tollgate provider list` names all\n"), "{}", run.stderr);
    assert_eq!(Tollgate::new().run(&["model", "list", "--mode", "chats"]).status, 2);
}

#[test]
fn providers_are_listed_with_where_they_are_and_where_their_keys_are_kept() {
    let list = Tollgate::new().run(&["provider", "list"]).done();
    assert_eq!(list.lines().count(), 93);
    let chosen =
        ["NAME ", "anthropic ", "bedrock ", "ollama ", "openai ", "openai_compatible ", "vllm "];
    let lines: Vec<String> = list
        .lines()
        .filter(|line| chosen.iter().any(|name| line.starts_with(name)))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" | "))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn programs_get_everything_that_is_known_of_a_provider() {
    let providers = items(&["provider", "list"]);
    let anthropic = providers.iter().find(|provider| provider["id"] == "anthropic").unwrap();
    assert_eq!(anthropic["models"], 24);
    assert_eq!(anthropic["auth"]["header"], "x-api-key");
    assert_eq!(anthropic["headers"]["anthropic-version"], "2023-06-01");
    assert_eq!(anthropic["paths"]["messages"], "/v1/messages");
}
