//! One suite over both databases: who is let in, who is not, and that secrets stay secrets.

#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use sqlx::Executor as _;
use tollgate_control_plane::authority::{Authority, NODE_LIFETIME, NodeIdentity};
use tollgate_control_plane::identity::{
    AdminTokens, First, IdentityError, JoinError, JoinTokens, NewAdminToken, NewJoinToken, Role,
    trusted_fingerprint,
};
use tollgate_control_plane::seal::{ClusterKeys, MasterKey, SealError, Sealer};
use tollgate_control_plane::store::{Scope, Store};

use support::{Place, at, on_both};

on_both!(
    a_store_opens_with_its_own_master_key_alone,
    all_that_open_a_store_at_once_share_its_keys,
    a_damaged_sealed_key_is_told,
    a_token_works_until_it_is_revoked_or_expires,
    a_tenant_handles_its_own_tokens_alone,
    a_token_is_kept_as_a_hash,
    the_first_token_is_made_once_and_for_its_owner_alone,
    a_first_token_of_a_form_that_is_none_is_refused,
    the_first_token_may_be_given_and_is_taken_once,
    a_join_token_is_used_no_more_often_than_it_may_be,
    what_is_no_join_token_of_the_store_is_unknown,
    a_join_token_says_why_it_is_refused,
    all_that_open_a_store_at_once_share_its_authority,
    an_authority_whose_key_is_of_another_is_refused,
);

const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const OTHER_KEY: &str = "0808080808080808080808080808080808080808080808080808080808080808";

fn sealer(key: &str) -> anyhow::Result<Sealer> {
    Ok(Sealer::new(&MasterKey::from_text(key)?))
}

async fn keys(store: &Store) -> anyhow::Result<Arc<ClusterKeys>> {
    Ok(Arc::new(ClusterKeys::open(store, &sealer(KEY)?).await?))
}

async fn tokens(place: &Place) -> anyhow::Result<AdminTokens> {
    let store = place.open().await?;
    let keys = keys(&store).await?;
    Ok(AdminTokens::new(store, keys))
}

fn token(
    name: &str,
    role: Role,
    tenant: Option<&str>,
    expires_at: Option<Timestamp>,
) -> NewAdminToken {
    NewAdminToken { name: name.to_owned(), role, tenant: tenant.map(str::to_owned), expires_at }
}

async fn a_store_opens_with_its_own_master_key_alone(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let first = ClusterKeys::open(&store, &sealer(KEY)?).await?;
    let refused = ClusterKeys::open(&store, &sealer(OTHER_KEY)?).await;
    assert!(matches!(refused, Err(SealError::WrongKey)), "{refused:?}");
    let again = ClusterKeys::open(&place.open().await?, &sealer(KEY)?).await?;
    assert_eq!(first.credential_key(), again.credential_key());
    assert_eq!(first.hash_api_key("tg_1"), again.hash_api_key("tg_1"));
    assert_ne!(first.hash_api_key("tg_1"), first.hash_api_key("tg_2"));
    assert_ne!(first.hash_api_key("tg_1"), first.hash_token("tg_1"), "nodes cannot make tokens");
    Ok(())
}

async fn all_that_open_a_store_at_once_share_its_keys(place: Place) -> anyhow::Result<()> {
    let opened = futures_util::future::try_join_all((0..4).map(async |_| {
        let store = place.open().await?;
        let keys = keys(&store).await?;
        anyhow::Ok((keys.hash_api_key("a"), keys.hash_token("a")))
    }));
    let mut opened = opened.await?;
    opened.dedup();
    assert_eq!(opened.len(), 1);
    Ok(())
}

async fn a_damaged_sealed_key_is_told(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    keys(&store).await?;
    let mut raw = place.raw().await?;
    let sql = "UPDATE cluster_key SET value = (SELECT value FROM cluster_key WHERE name = 'cluster/token') \
               WHERE name = 'cluster/credential'";
    raw.execute(sql).await?;
    let refused = ClusterKeys::open(&store, &sealer(KEY)?).await;
    assert!(
        matches!(&refused, Err(SealError::Damaged { context }) if context == "cluster/credential"),
        "{refused:?}"
    );
    Ok(())
}

async fn a_token_works_until_it_is_revoked_or_expires(place: Place) -> anyhow::Result<()> {
    let (tokens, elsewhere) = (tokens(&place).await?, tokens(&place).await?);
    let new = token("ada", Role::Editor, Some("shop"), Some(at(100)));
    let (made, shown) = tokens.create(new, at(0)).await?;
    let actor = elsewhere.verify(shown.reveal(), at(99)).await?.context("it works")?;
    assert_eq!(
        (actor.name.as_str(), actor.role, actor.tenant.as_deref()),
        ("ada", Role::Editor, Some("shop"))
    );
    assert_eq!(elsewhere.verify(shown.reveal(), at(100)).await?, None, "expired");
    let mut mistyped = shown.reveal().to_owned();
    mistyped.pop();
    mistyped.push('-');
    for other in ["", "tga_", &mistyped, &shown.reveal().to_uppercase(), &"x".repeat(100_000)] {
        assert_eq!(tokens.verify(other, at(1)).await?, None, "{other}");
    }
    assert!(tokens.revoke(Scope::Platform, &made.id, at(2)).await?);
    assert!(!tokens.revoke(Scope::Platform, &made.id, at(3)).await?);
    assert_eq!(elsewhere.verify(shown.reveal(), at(4)).await?, None, "revoked");
    let listed = tokens.list(Scope::Platform).await?;
    assert_eq!(listed.first().and_then(|token| token.revoked_at), Some(at(2)));
    Ok(())
}

async fn a_tenant_handles_its_own_tokens_alone(place: Place) -> anyhow::Result<()> {
    let tokens = tokens(&place).await?;
    let (shops, _) = tokens.create(token("a", Role::Admin, Some("shop"), None), at(0)).await?;
    let (banks, shown) = tokens.create(token("b", Role::Admin, Some("bank"), None), at(1)).await?;
    let shop = Scope::Tenant("shop");
    assert_eq!(tokens.list(shop).await?, std::slice::from_ref(&shops));
    assert!(!tokens.revoke(shop, &banks.id, at(2)).await?);
    assert!(tokens.verify(shown.reveal(), at(3)).await?.is_some());
    assert_eq!(tokens.list(Scope::Platform).await?, [shops.clone(), banks]);
    assert!(tokens.revoke(shop, &shops.id, at(2)).await?);
    Ok(())
}

async fn a_token_is_kept_as_a_hash(place: Place) -> anyhow::Result<()> {
    let tokens = tokens(&place).await?;
    let (made, shown) = tokens.create(token("a", Role::Viewer, None, None), at(0)).await?;
    let parts: Vec<&str> = shown.reveal().split('_').collect();
    let [prefix, id, secret] = parts.as_slice() else { anyhow::bail!("{} parts", parts.len()) };
    assert_eq!((*prefix, *id, secret.len()), ("tga", made.id.as_str(), 38));
    let rows = place.open().await?.admin_tokens(Scope::Platform).await?;
    let kept = rows.first().context("one token")?;
    assert_eq!(kept.hash.len(), 32);
    assert!(!format!("{kept:?} {shown:?} {made:?}").contains(*secret));
    Ok(())
}

async fn the_first_token_is_made_once_and_for_its_owner_alone(place: Place) -> anyhow::Result<()> {
    let (one, other) = (tokens(&place).await?, tokens(&place).await?);
    let file = place.folder.path().join("data/admin-token");
    let aside = place.folder.path().join("other/admin-token");
    let (first, second) =
        tokio::join!(one.first(None, &file, at(0)), other.first(None, &aside, at(0)));
    let (file, gone) = match (first?, second?) {
        (First::Made(made), First::Present) => (made, aside),
        (First::Present, First::Made(made)) => (made, file),
        other => anyhow::bail!("{other:?}"),
    };
    assert!(!gone.exists(), "no token that does not work lies about");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(&file)?;
    let actor = one.verify(written.trim(), at(1)).await?.context("it works")?;
    assert_eq!((actor.role, actor.tenant), (Role::Admin, None));
    assert_eq!(one.first(None, &file, at(2)).await?, First::Present);
    assert_eq!(std::fs::read_to_string(&file)?, written);
    // Who has revoked the last one gets in again by the one who owns the folder.
    let id = one.list(Scope::Platform).await?.first().context("one token")?.id.clone();
    one.revoke(Scope::Platform, &id, at(3)).await?;
    assert_eq!(one.first(None, &file, at(4)).await?, First::Made(file.clone()));
    assert_ne!(std::fs::read_to_string(&file)?, written);
    Ok(())
}

async fn a_first_token_of_a_form_that_is_none_is_refused(place: Place) -> anyhow::Result<()> {
    let (one, file) = (tokens(&place).await?, place.folder.path().join("admin-token"));
    let form_of_ours = format!("tga_{}_{}", "a".repeat(8), "b".repeat(38));
    for bad in ["", "short", "with a space", "tga_\u{fc}\u{fc}\u{fc}\u{fc}", &form_of_ours] {
        let refused = one.first(Some(bad), &file, at(0)).await;
        assert!(matches!(refused, Err(IdentityError::BadGivenToken)), "{bad}: {refused:?}");
    }
    assert!(one.list(Scope::Platform).await?.is_empty() && !file.exists());
    Ok(())
}

async fn the_first_token_may_be_given_and_is_taken_once(place: Place) -> anyhow::Result<()> {
    let (one, other) = (tokens(&place).await?, tokens(&place).await?);
    let file = place.folder.path().join("admin-token");
    let given = Some("tga_bench");
    let both = tokio::join!(one.first(given, &file, at(0)), other.first(given, &file, at(0)));
    assert_eq!((both.0?, both.1?), (First::Given, First::Given));
    let actor = one.verify("tga_bench", at(1)).await?.context("it works")?;
    assert_eq!(actor.role, Role::Admin);
    assert_eq!(one.list(Scope::Platform).await?.len(), 1);
    assert_eq!(one.first(Some("tga_other"), &file, at(2)).await?, First::Ignored);
    assert_eq!(one.verify("tga_other", at(3)).await?, None);
    assert!(!file.exists());
    let id = one.list(Scope::Platform).await?.first().context("one token")?.id.clone();
    one.revoke(Scope::Platform, &id, at(3)).await?;
    assert_eq!(one.first(given, &file, at(4)).await?, First::Ignored, "revoked is revoked");
    Ok(())
}

async fn join_tokens(place: &Place) -> anyhow::Result<JoinTokens> {
    let store = place.open().await?;
    let keys = keys(&store).await?;
    Ok(JoinTokens::new(store, keys, &"ab".repeat(32)))
}

fn join_token(use_limit: Option<u64>) -> NewJoinToken {
    NewJoinToken {
        gateway: "edge".to_owned(),
        created_by: "ada".to_owned(),
        expires_at: at(100),
        use_limit,
    }
}

async fn a_join_token_is_used_no_more_often_than_it_may_be(place: Place) -> anyhow::Result<()> {
    let (one, other) = (join_tokens(&place).await?, join_tokens(&place).await?);
    let (_, shown) = one.create(join_token(Some(3)), at(0)).await?;
    let both = [&one, &other].into_iter().cycle().take(12);
    let tries = both.map(|tokens| tokens.redeem(shown.reveal(), "edge", at(1)));
    let results = futures_util::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    let used_up = |result: &Result<_, JoinError>| matches!(result, Err(JoinError::UsedUp { .. }));
    assert_eq!(results.iter().filter(|result| used_up(result)).count(), 9);
    assert_eq!(other.list().await?.first().map(|token| token.uses), Some(3));
    Ok(())
}

async fn what_is_no_join_token_of_the_store_is_unknown(place: Place) -> anyhow::Result<()> {
    let tokens = join_tokens(&place).await?;
    let (made, shown) = tokens.create(join_token(None), at(0)).await?;
    let text = shown.reveal();
    let forged = text.replacen(&made.id, "AAAAAAAA", 1);
    let elsewhere = text.replace("abab", "cdcd");
    for unknown in ["", "tgj_", "tga_x", &forged, &elsewhere, &text[1..]] {
        let refused = tokens.redeem(unknown, "edge", at(1)).await;
        assert!(matches!(refused, Err(JoinError::Unknown)), "{unknown}: {refused:?}");
    }
    assert_eq!(tokens.redeem(text, "edge", at(1)).await?.uses, 1);
    Ok(())
}

async fn a_join_token_says_why_it_is_refused(place: Place) -> anyhow::Result<()> {
    let tokens = join_tokens(&place).await?;
    let (made, shown) = tokens.create(join_token(None), at(0)).await?;
    let text = shown.reveal();
    assert_eq!(trusted_fingerprint(text), Some("ab".repeat(32).as_str()));
    assert_eq!(tokens.redeem(text, "edge", at(99)).await?.uses, 1);
    let refused = tokens.redeem(text, "edge", at(100)).await;
    assert!(matches!(refused, Err(JoinError::Expired { .. })), "{refused:?}");
    let refused = tokens.redeem(text, "core", at(1)).await;
    assert!(
        matches!(&refused, Err(JoinError::OtherGateway { gateway, .. }) if gateway == "edge"),
        "{refused:?}"
    );
    assert!(tokens.revoke(&made.id, at(2)).await?);
    assert!(!tokens.revoke(&made.id, at(2)).await?);
    let refused = tokens.redeem(text, "edge", at(3)).await;
    assert!(matches!(refused, Err(JoinError::Revoked { .. })), "{refused:?}");
    Ok(())
}

async fn all_that_open_a_store_at_once_share_its_authority(place: Place) -> anyhow::Result<()> {
    let opened = futures_util::future::try_join_all((0..4).map(async |_| {
        let store = place.open().await?;
        anyhow::Ok(Authority::open(&store, &sealer(KEY)?, at(0)).await?)
    }));
    let opened = opened.await?;
    let later = Authority::open(&place.open().await?, &sealer(KEY)?, at(9)).await?;
    for authority in &opened {
        assert_eq!(authority.fingerprint(), later.fingerprint());
    }
    let wrong = Authority::open(&place.open().await?, &sealer(OTHER_KEY)?, at(0)).await;
    assert!(wrong.is_err(), "{wrong:?}");
    Ok(())
}

async fn an_authority_whose_key_is_of_another_is_refused(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    Authority::open(&store, &sealer(KEY)?, at(0)).await?;
    let other = Place::sqlite().await?;
    Authority::open(&other.open().await?, &sealer(KEY)?, at(0)).await?;
    let other = other.open().await?.authority().await?.context("it was made")?;
    let statement = sqlx::query("UPDATE authority SET certificate = $1").bind(other.certificate);
    place.raw().await?.execute(statement).await?;
    let refused = Authority::open(&store, &sealer(KEY)?, at(0)).await;
    let refused = format!("{:#}", anyhow::Error::from(refused.err().context("it is refused")?));
    assert!(refused.contains("not that of its key"), "{refused}");
    Ok(())
}

mod tls {
    use std::sync::atomic::{AtomicI64, Ordering};

    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// What a peer shows: its chain and key.
    type Shown = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

    async fn authority() -> anyhow::Result<(Place, Arc<Authority>)> {
        let place = Place::sqlite().await?;
        let store = place.open().await?;
        let authority = Authority::open(&store, &sealer(KEY)?, Timestamp::now()).await?;
        Ok((place, Arc::new(authority)))
    }

    fn node(
        authority: &Authority,
        name: &str,
        from: Timestamp,
        lifetime: SignedDuration,
    ) -> anyhow::Result<Shown> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let identity = NodeIdentity::new("edge", name)?;
        let issued = authority.issue_node(&identity, key.public_key_raw(), from, lifetime)?;
        let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
        Ok(Some((chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))))
    }

    /// Shakes hands as a node that trusts `trusted`; gives the certificates that each side saw first.
    async fn shake_hands(
        server: rustls::ServerConfig,
        trusted: &Authority,
        name: &str,
        shown: Shown,
    ) -> anyhow::Result<(Option<Vec<u8>>, Vec<u8>)> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut client = match shown {
            Some((chain, key)) => client.with_client_auth_cert(chain, key)?,
            None => client.with_no_client_auth(),
        };
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_owned())?;
        let connect = async {
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await?;
            stream.write_all(b"x").await?;
            // TLS 1.3: a client is refused only after it thinks that it is done.
            stream.read_u8().await?;
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            anyhow::Ok(certificates.first().map(|first| first.to_vec()).unwrap_or_default())
        };
        let accept = async {
            let mut stream = TlsAcceptor::from(Arc::new(server)).accept(far).await?;
            stream.read_u8().await?;
            stream.write_all(b"y").await?;
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
            assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            let first = session.peer_certificates().and_then(|all| all.first());
            anyhow::Ok(first.map(|first| first.to_vec()))
        };
        let (server_seen, client_seen) = tokio::try_join!(connect, accept)?;
        Ok((client_seen, server_seen))
    }

    #[tokio::test]
    async fn a_node_is_known_by_the_certificate_that_it_was_given() -> anyhow::Result<()> {
        let (_place, authority) = authority().await?;
        let shown = node(&authority, "n1", Timestamp::now(), NODE_LIFETIME)?;
        let server = authority.server_config(&["127.0.0.1".to_owned()], Timestamp::now)?;
        for name in ["tollgate-control-plane", "127.0.0.1"] {
            let shown = shown.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
            let (seen, _) = shake_hands(server.clone(), &authority, name, shown).await?;
            let identity = NodeIdentity::from_certificate(&seen.context("it showed one")?)?;
            assert_eq!(identity, NodeIdentity::new("edge", "n1")?);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_node_without_a_certificate_may_come_to_join() -> anyhow::Result<()> {
        let (_place, authority) = authority().await?;
        let server = authority.server_config(&[], Timestamp::now)?;
        let name = "tollgate-control-plane";
        let (seen, servers) = shake_hands(server, &authority, name, None).await?;
        assert_eq!(seen, None);
        let refused = NodeIdentity::from_certificate(&servers);
        assert!(refused.is_err(), "a control plane is no node: {refused:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_certificate_of_another_authority_or_past_its_time_is_refused() -> anyhow::Result<()>
    {
        let ((_place, authority), (_other, stranger)) = tokio::try_join!(authority(), authority())?;
        let server = authority.server_config(&[], Timestamp::now)?;
        let name = "tollgate-control-plane";
        let now = Timestamp::now();
        let past = now.checked_sub(SignedDuration::from_hours(48))?;
        for shown in [
            node(&stranger, "n1", now, NODE_LIFETIME)?,
            node(&authority, "n1", past, SignedDuration::from_hours(24))?,
        ] {
            assert!(shake_hands(server.clone(), &authority, name, shown).await.is_err());
        }
        // And a node does not speak to a control plane of another authority, nor under another name.
        assert!(shake_hands(server.clone(), &stranger, name, None).await.is_err());
        assert!(shake_hands(server, &authority, "elsewhere.test", None).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn the_control_planes_certificate_is_renewed_before_it_ends() -> anyhow::Result<()> {
        static PASSED_HOURS: AtomicI64 = AtomicI64::new(0);
        fn clock() -> Timestamp {
            let passed = SignedDuration::from_hours(PASSED_HOURS.load(Ordering::SeqCst));
            // Behind by 80 of 90 days, so that the new one is good in real time too.
            Timestamp::now() - SignedDuration::from_hours(80 * 24) + passed
        }
        let (_place, authority) = authority().await?;
        let server = authority.server_config(&[], clock)?;
        let name = "tollgate-control-plane";
        let (_, first) = shake_hands(server.clone(), &authority, name, None).await?;
        let (_, same) = shake_hands(server.clone(), &authority, name, None).await?;
        assert_eq!(first, same);
        PASSED_HOURS.store(61 * 24, Ordering::SeqCst);
        let (_, renewed) = shake_hands(server.clone(), &authority, name, None).await?;
        assert_ne!(first, renewed);
        assert_eq!(renewed, shake_hands(server, &authority, name, None).await?.1);
        Ok(())
    }

    #[tokio::test]
    async fn a_key_or_name_that_is_none_is_not_certified() -> anyhow::Result<()> {
        let (_place, authority) = authority().await?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let point = key.public_key_raw();
        let mut off_the_curve = point.to_vec();
        off_the_curve[64] ^= 1;
        let identity = NodeIdentity::new("edge", "n1")?;
        for bad in [&[][..], &point[1..], &off_the_curve, &[0; 65], &[4; 65], &[0; 1_000]] {
            let refused = authority.issue_node(&identity, bad, at(0), NODE_LIFETIME);
            assert!(refused.is_err(), "{bad:?}");
        }
        for name in ["", "a/b", "a b", "ü", "n\n", &"a".repeat(64)] {
            assert!(
                NodeIdentity::new("edge", name).is_err() && NodeIdentity::new(name, "n1").is_err()
            );
        }
        for name in ["", "a b", "http://x", "ü", "-"] {
            let refused = authority.server_config(&[name.to_owned()], Timestamp::now);
            assert!(refused.is_err(), "{name}");
        }
        assert!(NodeIdentity::from_certificate(b"").is_err());
        let authoritys = authority.certificate().to_vec();
        assert!(NodeIdentity::from_certificate(&authoritys).is_err());
        assert!(NodeIdentity::from_certificate(&[&authoritys[..], b"x"].concat()).is_err());
        Ok(())
    }
}
