#![doc = include_str!("MANUAL.md")]

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use deserr::Deserr;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::password::{PASSWORD_BYTES, USERNAME_BYTES};

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::ports::{Login, Proof, Proving};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// What browsers show where they ask for a password: 1 to 128 visible ASCII characters and
    /// spaces, without `"` and `\`. Default `api`.
    #[deserr(default = "api".to_owned())]
    #[schemars(with = "Option<String>")]
    pub realm: String,
    /// Whether calls without a username and a password go on, without an identity. Default false.
    /// Wrong ones are refused all the same.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub optional: bool,
}

/// Finds out by a username and a password (RFC 7617) which application calls.
pub struct BasicAuth {
    challenge: HeaderValue,
    is_optional: bool,
}

/// The most characters of a realm.
const REALM_CHARS: usize = 128;
/// The most bytes of a username, a colon and a password.
const PAIR_BYTES: usize = USERNAME_BYTES + 1 + PASSWORD_BYTES;
/// What decoding needs more room for than it keeps.
const SPARE_BYTES: usize = 4;
/// RFC 4648 §4; what leaves the padding out is as clear.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How far a request's judgement came without waiting.
enum Begun<'a> {
    Done(Flow<()>),
    Proving(Proving<'a>),
}

impl Policy for BasicAuth {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "basic_auth";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let realm = &config.realm;
        let mut issues = Issues::default();
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if !(1..=REALM_CHARS).contains(&realm.len()) || !realm.bytes().all(is_plain) {
            let problem =
                "is not 1 to 128 visible ASCII characters and spaces without `\"` and `\\`";
            issues.add("/realm", "invalid_realm", problem);
        }
        let text = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
        issues.into_result(Self { challenge, is_optional: config.optional })
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<()> {
        let proof = match self.begin(cx, request.headers_mut()) {
            Begun::Done(flow) => return flow,
            Begun::Proving(Proving::Now(proof)) => proof,
            Begun::Proving(Proving::Wait(proof)) => proof.await,
        };
        self.judge(cx, proof)
    }
}

impl BasicAuth {
    /// Apart from the waiting, so that the decoded password is on no future's account.
    fn begin<'a>(&self, cx: &Cx<'a>, headers: &mut HeaderMap) -> Begun<'a> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter().filter_map(basic);
        let Some(encoded) = sent.next() else {
            return Begun::Done(if self.is_optional {
                Flow::Next(())
            } else {
                let refusal = self.refusal("no username and password were sent");
                refusal.lacking_credential().into_flow()
            });
        };
        let is_ambiguous = sent.next().is_some();
        let mut buffer = [0_u8; PAIR_BYTES + SPARE_BYTES];
        let login = BASE64.decode_slice(encoded, &mut buffer).ok();
        let login = login.and_then(|length| login_in(buffer.get(..length)?));
        let begun = match login {
            Some(login) if !is_ambiguous => {
                Begun::Proving(cx.ports.caller_of_login(&cx.route.tenant, login))
            }
            _ => Begun::Done(self.refuse("the authorization field is malformed")),
        };
        // The gateway's own credential never goes upstream.
        headers.remove(header::AUTHORIZATION);
        zeroize::Zeroize::zeroize(&mut buffer);
        begun
    }

    fn judge(&self, cx: &mut Cx<'_>, proof: Proof) -> Flow<()> {
        let caller = match proof {
            Proof::Caller(caller) => caller,
            Proof::Wrong => return self.refuse("the username or the password is wrong"),
            Proof::Unavailable => {
                return Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "too many passwords are being checked",
                )
                .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
                .into_flow();
            }
        };
        let now = i64::try_from(cx.now_unix_micros).unwrap_or(i64::MAX);
        if caller.is_disabled {
            return self.refuse("the credential is switched off");
        }
        if caller.expires_at_unix_micros.is_some_and(|end| end <= now) {
            return self.refuse("the credential has expired");
        }
        cx.identity = Some(caller);
        Flow::Next(())
    }

    fn refuse(&self, detail: &'static str) -> Flow<()> {
        self.refusal(detail).into_flow()
    }

    fn refusal(&self, detail: &'static str) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

/// What stands behind the scheme; none where the scheme is another.
fn basic(value: &HeaderValue) -> Option<&[u8]> {
    // The scheme's name is case-insensitive (RFC 9110 §11.1).
    let (scheme, encoded) = value.as_bytes().split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| encoded.trim_ascii())
}

/// RFC 7617 §2: the username ends at the first colon, and neither part has control characters.
fn login_in(pair: &[u8]) -> Option<Login<'_>> {
    let pair = str::from_utf8(pair).ok()?;
    if pair.chars().any(char::is_control) {
        return None;
    }
    let (username, password) = pair.split_once(':')?;
    Some(Login { username, password })
}

#[cfg(test)]
mod tests;
