//! Keys that nobody has: a signature by a key that is not known is checked all the same, so that the time of
//! the answer does not tell which keys there are.

use std::sync::LazyLock;

use serde_json::json;
use tollgate_model::parse;
use tollgate_model::secret::SecretText;
use tollgate_model::signature::{SignatureProof, SigningAlgorithm, VerificationKey};

/// Their private halves were never kept.
const KEYS: [(SigningAlgorithm, &str); 5] = [
    (SigningAlgorithm::RsaPssSha512, RSA),
    (SigningAlgorithm::RsaV15Sha256, RSA),
    (
        SigningAlgorithm::EcdsaP256Sha256,
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExflh+tqE450YrI5w9X2E8PaTQzJf\n\
         PDJFra7uQwq12+Lk/WzZr7zCHJA0UXQZ4wt05mbq/p8MWJgpBo4Cq1yCwg==",
    ),
    (
        SigningAlgorithm::EcdsaP384Sha384,
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE/aX8DkaD/fe2ooPVHZM5ze5WBjxnrAT5\n\
         g72jq1OKiTVsqVGF1x7f+id+zbzMvEJPB34NC3I7A97RfEIjNMNE1GYDlh5wQJPH\n\
         k99WM28NcGbDOw7KY0N2TMVZN7y6BRLX",
    ),
    (SigningAlgorithm::Ed25519, "MCowBQYDK2VwAyEAZzqYqh50x+LFg8IHECIULAEJEqbKUD9ZizMuO5hzNs4="),
];
const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqluaqs4SsQtiYyrn0dKT\n\
    jGJ8ydmITM/ZxIyeLck+sp5WiQO8u4yysDgzs5F8xKisXPTbTE0Ce2/7SnlPQ3nA\n\
    8FPpiCDU7Hta95RGH33Nj0dZbcMY2eyu+nrGj/TIzV1yJ6/blWg7JbYbW7mr+fdo\n\
    dKGV5P0l2mPV6TgsFbFEeTnjtPiTiS/4j863/D7tUOM7mGse6XUumOSFvqFG8S7Q\n\
    Y1cybuJ/yKkpl1dOcjRxSZwPoB6u/uylhZJ3yChVwNv1PU4ycjBp9ml8/Budm7gp\n\
    LD6yfEwVhIF+B0hyLPpohfRbDKJ+ct5B+4uk+lhmJb+hLwFQHIyOjJntYnDAcjlA\n\
    NwIDAQAB";

static PUBLIC: LazyLock<Vec<SignatureProof>> = LazyLock::new(|| {
    let proof = |(algorithm, der): &(SigningAlgorithm, &str)| {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        let algorithm = algorithm.name();
        let written = json!({"key_id": "nobody", "public_key": pem, "algorithm": algorithm});
        parse::value::<SignatureProof>(&written).ok()
    };
    KEYS.iter().filter_map(proof).collect()
});

static SHARED: LazyLock<(Option<SignatureProof>, SecretText)> = LazyLock::new(|| {
    let written = json!({"key_id": "nobody", "secret": "nobody"});
    let secret = SecretText::new("0123456789abcdef0123456789abcdef".to_owned());
    (parse::value(&written).ok(), secret)
});

/// Makes the keys, so that the first call does not take longer than the others.
pub(super) fn prepare() {
    LazyLock::force(&PUBLIC);
    LazyLock::force(&SHARED);
}

/// Takes as long as to check such a signature with a key. `named` is what the signature says that it is
/// made by; `accepted` are the algorithms that are taken at all: no caller has it done by a dearer one.
pub(super) fn check(
    named: Option<&str>,
    accepted: Option<&[SigningAlgorithm]>,
    base: &[u8],
    signature: &[u8],
) {
    let is_accepted =
        |algorithm: &SigningAlgorithm| accepted.is_none_or(|accepted| accepted.contains(algorithm));
    let by_name = |named: &str| {
        let mut known = KEYS.iter().map(|(algorithm, _)| *algorithm).filter(is_accepted);
        known.find(|algorithm| algorithm.name() == named)
    };
    let likely = accepted.and_then(|accepted| accepted.first().copied());
    let algorithm = named.and_then(by_name).or(likely).unwrap_or(SigningAlgorithm::HmacSha256);
    let (key, secret) = key(algorithm);
    // Whatever comes of it: nobody has this key.
    let _ = std::hint::black_box(key.map(|key| key.verify(secret, base, signature)));
}

fn key(
    algorithm: SigningAlgorithm,
) -> (Option<&'static VerificationKey>, Option<&'static SecretText>) {
    if algorithm == SigningAlgorithm::HmacSha256 {
        let (proof, secret) = &*SHARED;
        return (proof.as_ref().map(|proof| &*proof.key), Some(secret));
    }
    let proof = PUBLIC.iter().find(|proof| proof.key.algorithm() == algorithm);
    (proof.map(|proof| &*proof.key), None)
}

#[cfg(test)]
mod tests {
    use tollgate_model::signature::Unverified;

    use super::*;

    #[test]
    fn there_is_a_key_of_every_algorithm_that_no_signature_is_by() {
        let of_public_keys = KEYS.iter().map(|(algorithm, _)| *algorithm);
        for algorithm in of_public_keys.chain([SigningAlgorithm::HmacSha256]) {
            let (key, secret) = key(algorithm);
            let key = key.unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let length = match algorithm {
                SigningAlgorithm::RsaPssSha512 | SigningAlgorithm::RsaV15Sha256 => 256,
                SigningAlgorithm::EcdsaP384Sha384 => 96,
                SigningAlgorithm::EcdsaP256Sha256 | SigningAlgorithm::Ed25519 => 64,
                SigningAlgorithm::HmacSha256 => 32,
            };
            let result = key.verify(secret, b"base", &vec![7; length]);
            assert_eq!(result, Err(Unverified::Wrong), "{algorithm:?}");
        }
    }
}
