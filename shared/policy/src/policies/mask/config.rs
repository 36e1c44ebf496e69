//! What the operator writes, and what is wrong with it.

use deserr::Deserr;
use schemars::JsonSchema;
use tollgate_model::units::Size;
use tollgate_model::{Issues, Name};

use super::find;
use super::path::JsonPath;
use super::replace::{Partial, Replacement};
use super::rules::{Find, Rule, Rules};
use crate::policies::compress::MediaRange;
use crate::policy::Scope;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// What is found and what takes its place, 1 to 32 rules. Each finds something by exactly one of `kind`,
    /// `keywords`, `regex` and `json_path`, and replaces it in at most one way; without one, by `partial`.
    pub rules: Vec<RuleConfig>,
    /// Where it is hidden: in `answers`, in `records` of calls, or in both. Default `[answers]`.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<ApplyTo>>")]
    pub apply_to: Option<Vec<ApplyTo>>,
    /// Media types of answers that are read, such as `application/json` or `text/*`. Default: texts, JSON, XML,
    /// forms, JavaScript and YAML. An answer that says no media type is read as well.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<MediaRange>>")]
    pub content_types: Option<Vec<MediaRange>>,
    /// How large an answer may be, 1B to 16MiB, without its coding. Default 1MiB.
    #[deserr(default = Size::from_kib(1024))]
    #[schemars(with = "Option<Size>")]
    pub max_body: Size,
    /// What becomes of a larger one: `refuse`, or `pass`, which shows it as it is. Default `refuse`.
    #[deserr(default)]
    #[schemars(with = "Option<OnLarge>")]
    pub on_large: OnLarge,
}

/// Where something is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "MaskApplyTo")]
pub enum ApplyTo {
    /// Bodies of answers.
    Answers,
    /// What is written down of calls: the client's address, host, path and user agent.
    Records,
}

/// What becomes of an answer that is too large to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "MaskOnLarge")]
pub enum OnLarge {
    /// It is replaced by a refusal.
    #[default]
    Refuse,
    /// It goes out as it is.
    Pass,
}

/// One rule.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "MaskRule")]
pub struct RuleConfig {
    /// Finds `email`, `phone`, `card`, `iban` or `ip`; the manual says which forms.
    #[deserr(default)]
    pub kind: Option<Kind>,
    /// Finds these words or sequences of words, 1 to 500 of them, whatever their case, where they stand whole.
    #[deserr(default)]
    pub keywords: Option<Vec<String>>,
    /// Finds what matches an expression, linear in time. A match has at most 4 KiB.
    #[deserr(default)]
    pub regex: Option<String>,
    /// Finds values of JSON by their place, such as `$.customer.name` or `$..iban`: the part of RFC 9535 with
    /// names, `*`, indexes from 0 and `..`.
    #[deserr(default)]
    pub json_path: Option<String>,
    /// Hides all characters but some. Default where no other way is given.
    #[deserr(default)]
    pub partial: Option<PartialConfig>,
    /// Puts this text there, up to 256 bytes.
    #[deserr(default)]
    pub replace: Option<String>,
    /// Puts 24 hexadecimal digits there, the beginning of an HMAC-SHA-256: the same for the same value.
    #[deserr(default)]
    pub hash: Option<Keyed>,
    /// Mixes digits among digits and letters among letters, always the same way for the same value.
    #[deserr(default)]
    pub shuffle: Option<Keyed>,
    /// Takes the member or the item out of the JSON. Only with `json_path`, and then it comes before all
    /// other rules.
    #[deserr(default)]
    pub remove: Option<bool>,
}

/// Personal data that has a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "MaskKind")]
pub enum Kind {
    /// An address of electronic mail.
    Email,
    /// A telephone number.
    Phone,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// An Internet address.
    Ip,
}

/// How much stays to be seen. Of a `kind`, only letters and digits are counted and hidden; of an `email`, only
/// those before the `@`.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "MaskPartial")]
pub struct PartialConfig {
    /// Characters at the beginning, 0 to 64; of a `card` 0 to 6. Default 0; where
    /// `last` is not given either, 1 of `email` and 2 of `iban`.
    #[deserr(default)]
    #[schemars(range(min = 0, max = 64))]
    pub first: Option<u8>,
    /// Characters at the end, 0 to 64; of a `card` 0 to 4. Default 0; where `first`
    /// is not given either, 4 of `card` and `iban`, and 2 of `phone`.
    #[deserr(default)]
    #[schemars(range(min = 0, max = 64))]
    pub last: Option<u8>,
}

/// A way that needs a key.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "MaskKeyed")]
pub struct Keyed {
    /// The key. Without one, all cards of an issuer could be tried.
    pub key: KeyReference,
}

/// Where a key is.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "MaskKey")]
pub struct KeyReference {
    /// A Secret of the same tenant, of at least 16 bytes.
    pub secret: Name,
}

/// The most rules of one policy.
const MAX_RULES: usize = 32;
const MAX_KEYWORDS: usize = 500;
const MAX_KEYWORD_BYTES: usize = 128;
const MAX_TEXT: usize = 256;
const MAX_KEPT: u8 = 64;

/// What is read, and how it is changed.
pub(super) struct Compiled {
    pub(super) apply_to: Places,
    pub(super) rules: Rules,
    pub(super) content_types: Option<Box<[MediaRange]>>,
    pub(super) max_body: usize,
    pub(super) on_large: OnLarge,
}

/// Where it is hidden.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) answers: bool,
    pub(super) records: bool,
}

impl Config {
    pub(super) fn compile(self, scope: Scope<'_>) -> Result<Compiled, Issues> {
        let mut issues = Issues::default();
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            issues.add("/rules", "out_of_range", format!("give 1 to {MAX_RULES} rules"));
        }
        let mut rules = Vec::with_capacity(self.rules.len());
        for (i, rule) in self.rules.into_iter().enumerate() {
            let mut of_rule = Issues::default();
            rules.extend(rule.compile(&mut of_rule));
            issues.extend_under(&format!("/rules/{i}"), of_rule);
        }
        if self.content_types.as_ref().is_some_and(Vec::is_empty) {
            issues.add("/content_types", "empty", "names no media type, so nothing is read");
        }
        for (i, range) in self.content_types.iter().flatten().enumerate() {
            if range.covers(super::EVENT_STREAM.as_bytes()) && !range.is_wide() {
                issues.add(
                    format!("/content_types/{i}"),
                    "unsupported",
                    "events cannot be read whole; attach the policy to other routes than theirs",
                );
            }
        }
        let max_body = usize::try_from(self.max_body.bytes()).unwrap_or(usize::MAX);
        if !(1..=16 << 20).contains(&max_body) {
            issues.add("/max_body", "out_of_range", "give a size from 1B to 16MiB");
        }
        let rules = Rules::new(rules, scope.holder());
        let apply_to = places(self.apply_to.as_deref(), &rules, &mut issues);
        issues.into_result(Compiled {
            apply_to,
            rules,
            content_types: self.content_types.map(Into::into),
            max_body,
            on_large: self.on_large,
        })
    }
}

fn places(given: Option<&[ApplyTo]>, rules: &Rules, issues: &mut Issues) -> Places {
    let named = given.unwrap_or(&[ApplyTo::Answers]);
    let records = named.contains(&ApplyTo::Records);
    if named.is_empty() {
        issues.add("/apply_to", "empty", "names no place, so nothing is hidden");
    }
    if records && rules.len() > 0 && !rules.find_in_texts() {
        let problem = "records have no JSON, and all rules find by `json_path`; give a rule with `kind`, `keywords` or `regex`";
        issues.add("/apply_to", "unsupported", problem);
    }
    Places { answers: named.contains(&ApplyTo::Answers), records }
}

impl RuleConfig {
    fn compile(self, issues: &mut Issues) -> Option<Rule> {
        let ways = [
            self.kind.is_some(),
            self.keywords.is_some(),
            self.regex.is_some(),
            self.json_path.is_some(),
        ];
        match ways.iter().filter(|is_given| **is_given).count() {
            0 => issues.add(
                "",
                "missing_field",
                "finds nothing; give one of `kind`, `keywords`, `regex`, `json_path`",
            ),
            1 => {}
            _ => issues.add(
                "",
                "too_many_fields",
                "finds in several ways; give one of `kind`, `keywords`, `regex`, `json_path`",
            ),
        }
        let kind = self.kind;
        let is_path = self.json_path.is_some();
        let replacement = Way {
            partial: self.partial,
            replace: self.replace,
            hash: self.hash,
            shuffle: self.shuffle,
            removes: self.remove == Some(true),
        }
        .compile(kind, is_path, issues);
        let words = self.keywords.and_then(|words| keywords(&words, issues));
        let expression = self.regex.and_then(|text| {
            let expression = find::expression(&text);
            expression.map_err(|bad| issues.add("/regex", bad.code, bad.problem)).ok()
        });
        let path = self.json_path.and_then(|text| {
            let path = JsonPath::parse(&text);
            path.map_err(|bad| issues.add("/json_path", bad.code, bad.problem)).ok()
        });
        if replacement == Replacement::Remove && path.as_ref().is_some_and(JsonPath::is_root) {
            issues.add("/json_path", "unsupported", "is the whole answer, which cannot be removed");
        }
        let find = kind
            .map(Find::Kind)
            .or_else(|| words.map(Find::Expression))
            .or_else(|| expression.map(Find::Expression))
            .or_else(|| path.map(Find::Path))?;
        Some(Rule { find, replacement })
    }
}

fn keywords(words: &[String], issues: &mut Issues) -> Option<regex::Regex> {
    if words.is_empty() || words.len() > MAX_KEYWORDS {
        issues.add("/keywords", "out_of_range", format!("give 1 to {MAX_KEYWORDS} words"));
        return None;
    }
    let is_word = |word: &String| word.len() <= MAX_KEYWORD_BYTES && !word.trim().is_empty();
    for (i, _) in words.iter().enumerate().filter(|(_, word)| !is_word(word)) {
        let problem = format!("give a word of 1 to {MAX_KEYWORD_BYTES} bytes");
        issues.add(format!("/keywords/{i}"), "out_of_range", problem);
    }
    let words: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
    find::words(&words).map_err(|bad| issues.add("/keywords", bad.code, bad.problem)).ok()
}

/// The ways to replace, as they are written: one of these, or none.
struct Way {
    partial: Option<PartialConfig>,
    replace: Option<String>,
    hash: Option<Keyed>,
    shuffle: Option<Keyed>,
    removes: bool,
}

impl Way {
    fn compile(self, kind: Option<Kind>, is_path: bool, issues: &mut Issues) -> Replacement {
        let ways = [
            self.partial.is_some(),
            self.replace.is_some(),
            self.hash.is_some(),
            self.shuffle.is_some(),
            self.removes,
        ];
        if ways.iter().filter(|is_given| **is_given).count() > 1 {
            issues.add(
                "",
                "too_many_fields",
                "replaces in several ways; give one of `partial`, `replace`, `hash`, `shuffle`, `remove`",
            );
        }
        if self.removes && !is_path {
            let problem =
                "only what `json_path` finds can be removed; give `replace: ''` for a text";
            issues.add("/remove", "unsupported", problem);
        }
        if let Some(text) = &self.replace
            && text.len() > MAX_TEXT
        {
            issues.add("/replace", "too_long", format!("is longer than {MAX_TEXT} bytes"));
        }
        let partial = kept(self.partial, kind, issues);
        match (self.removes, self.replace, self.hash, self.shuffle) {
            (true, ..) => Replacement::Remove,
            (_, Some(text), ..) => Replacement::Text(text.into()),
            (_, _, Some(keyed), _) => Replacement::Hash(keyed.key.secret),
            (_, _, _, Some(keyed)) => Replacement::Shuffle(keyed.key.secret),
            (false, None, None, None) => Replacement::Partial(partial),
        }
    }
}

fn kept(partial: Option<PartialConfig>, kind: Option<Kind>, issues: &mut Issues) -> Partial {
    let given = partial.unwrap_or(PartialConfig { first: None, last: None });
    // PCI DSS 4.0, 3.4.1: of a card, the issuer's number and the last four digits at most.
    let (most_first, most_last) = match kind {
        Some(Kind::Card) => (6, 4),
        _ => (MAX_KEPT, MAX_KEPT),
    };
    for (at, count, most) in
        [("/partial/first", given.first, most_first), ("/partial/last", given.last, most_last)]
    {
        if count.is_some_and(|count| count > most) {
            issues.add(at, "out_of_range", format!("give a number from 0 to {most}"));
        }
    }
    let (first, last) = match kind {
        Some(Kind::Email) => (1, 0),
        Some(Kind::Phone) => (0, 2),
        Some(Kind::Card) => (0, 4),
        Some(Kind::Iban) => (2, 4),
        Some(Kind::Ip) | None => (0, 0),
    };
    // Who says one of them means no more than that.
    let is_given = given.first.is_some() || given.last.is_some();
    let or = |count: Option<u8>, default: u8| {
        usize::from(count.unwrap_or(if is_given { 0 } else { default }))
    };
    Partial { first: or(given.first, first), last: or(given.last, last) }
}
