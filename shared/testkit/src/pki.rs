//! Authorities and the certificates that they issue.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority that vouches for what a test needs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub pem: String,
}

/// A chain and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, and behind it those of its issuers but the authority.
    pub chain: String,
    /// The key of the first.
    pub key: String,
}

impl Authority {
    /// An authority of this name.
    ///
    /// # Errors
    ///
    /// Where the system gives no key.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("make a key")?;
        let params = authority(name);
        let pem = params.self_signed(&key).context("sign an authority")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// An authority below this one, and its certificate, which stands behind those it issues.
    ///
    /// # Errors
    ///
    /// Where the system gives no key.
    pub fn below(&self, name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("make a key")?;
        let params = authority(name);
        let pem = params.signed_by(&key, &self.issuer).context("sign an authority")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// A server's certificate for these hosts and addresses.
    ///
    /// # Errors
    ///
    /// Where a name cannot stand in a certificate.
    pub fn server(&self, hosts: &[&str]) -> anyhow::Result<Issued> {
        self.issue(server(hosts)?)
    }

    /// The same, out of its time.
    ///
    /// # Errors
    ///
    /// Where a name cannot stand in a certificate.
    pub fn expired_server(&self, hosts: &[&str]) -> anyhow::Result<Issued> {
        let mut params = server(hosts)?;
        params.not_after = date_time_ymd(2001, 1, 1);
        self.issue(params)
    }

    /// A client's certificate for a common name and a URI.
    ///
    /// # Errors
    ///
    /// Where a name cannot stand in a certificate.
    pub fn client(&self, name: &str, uri: &str) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().context("read a URI")?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A certificate for no host, and for no use.
    ///
    /// # Errors
    ///
    /// Where the system gives no key.
    pub fn nobody(&self, name: &str) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> anyhow::Result<Issued> {
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        Ok(Issued { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Issued {
    /// The document of a `Certificate` of this name, in YAML.
    #[must_use]
    pub fn document(&self, name: &str) -> String {
        let chain = serde_json::Value::from(self.chain.as_str());
        let key = serde_json::Value::from(self.key.as_str());
        format!("kind: Certificate\nname: {name}\nspec: {{chain: {chain}, key: {key}}}\n")
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server(hosts: &[&str]) -> anyhow::Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).context("read the hosts")?;
    params.distinguished_name = named("server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
