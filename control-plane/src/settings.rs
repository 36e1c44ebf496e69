//! Every flag and variable, with its default and unit; the only reader of the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tollgate_model::issue::nearest;
use tollgate_model::secret::SecretText;

use crate::fanout::StreamLimits;

/// What a control plane needs to start.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where the admin API listens
    #[arg(long, env = "TOLLGATE_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    pub admin: SocketAddr,
    /// Where nodes connect
    #[arg(long, env = "TOLLGATE_GRPC", value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    pub grpc: SocketAddr,
    /// Host names and addresses by which nodes know this control plane, with commas between them; they
    /// stand in its certificate beside those it has anyway
    #[arg(long, env = "TOLLGATE_GRPC_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub grpc_name: Vec<String>,
    /// The store: `sqlite://PATH` or `postgres://USER@HOST/DATABASE` (default: `sqlite://DATA/tollgate.db`)
    #[arg(long, env = "TOLLGATE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// The folder of the store's file, the master key and the first administrator's token
    #[arg(long, env = "TOLLGATE_DATA", value_name = "FOLDER", default_value = "./tollgate-data")]
    pub data: PathBuf,
    /// The file of the master key, which seals secrets (default: DATA/master-key, made on first start)
    #[arg(long, env = "TOLLGATE_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// The master key itself; none: as `TOLLGATE_MASTER_KEY` says.
    #[arg(skip)]
    pub master_key: Option<SecretText>,
    /// The first administrator's token; none: as `TOLLGATE_ADMIN_TOKEN` says, else one is made.
    #[arg(skip)]
    pub admin_token: Option<SecretText>,
    /// How much is kept for streams that are behind.
    #[arg(skip)]
    pub stream: StreamLimits,
}

/// How log events look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for tollgate_telemetry::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Variables of this program and of the others of Tollgate.
const VARIABLES: [&str; 26] = [
    "TOLLGATE_ACCESS_LOG",
    "TOLLGATE_ADMIN",
    "TOLLGATE_ADMIN_TOKEN",
    "TOLLGATE_CONTEXT",
    "TOLLGATE_CONTROL_PLANE",
    "TOLLGATE_DATA",
    "TOLLGATE_DATABASE_URL",
    "TOLLGATE_DRAIN_TIME",
    "TOLLGATE_ECHO_LISTEN",
    "TOLLGATE_GATEWAY",
    "TOLLGATE_GRPC",
    "TOLLGATE_GRPC_NAMES",
    "TOLLGATE_JOIN_TOKEN",
    "TOLLGATE_JOIN_TOKEN_FILE",
    "TOLLGATE_LISTEN",
    "TOLLGATE_LOG",
    "TOLLGATE_LOG_FORMAT",
    "TOLLGATE_MASTER_KEY",
    "TOLLGATE_MASTER_KEY_FILE",
    "TOLLGATE_NODE",
    "TOLLGATE_REDIS_URL",
    "TOLLGATE_SERVER",
    "TOLLGATE_STATUS",
    "TOLLGATE_TENANT",
    "TOLLGATE_TOKEN",
    "TOLLGATE_WORKERS",
];
const PREFIX: &str = "TOLLGATE_";

impl Settings {
    /// The address of the store.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database
            .clone()
            .filter(|url| !url.is_empty())
            .unwrap_or_else(|| format!("sqlite://{}", self.data.join("tollgate.db").display()))
    }

    /// Where the master key is, where it is not given itself.
    #[must_use]
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.data.join("master-key"))
    }

    /// Where the first administrator's token is written.
    #[must_use]
    pub fn admin_token_path(&self) -> PathBuf {
        self.data.join("admin-token")
    }

    /// The same settings, with the secrets that come from the environment alone: on a command line every
    /// user of the machine would see them.
    #[must_use]
    pub fn with_secrets(mut self) -> Self {
        self.master_key = self.master_key.or_else(|| secret("TOLLGATE_MASTER_KEY"));
        self.admin_token = self.admin_token.or_else(|| secret("TOLLGATE_ADMIN_TOKEN"));
        self
    }
}

fn secret(name: &str) -> Option<SecretText> {
    let value = std::env::var_os(name)?.into_string().ok()?;
    (!value.is_empty()).then(|| SecretText::new(value))
}

/// Variables that look like ours and are not, each with what was probably meant.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown =
        names.filter(|name| name.starts_with(PREFIX) && !VARIABLES.contains(&name.as_str()));
    unknown.filter_map(|name| misspelt(&name)).collect()
}

/// What was probably meant, where there is something near. The prefix is no likeness.
fn misspelt(name: &str) -> Option<String> {
    let bare = name.strip_prefix(PREFIX)?;
    let known = VARIABLES.map(|known| known.strip_prefix(PREFIX).unwrap_or(known));
    let meant = nearest(bare, &known);
    let meant = meant.strip_prefix("did you mean `")?;
    Some(format!("`{name}` is not a setting; did you mean `{PREFIX}{meant}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn the_store_is_in_the_data_folder_unless_it_is_named() {
        let read = |arguments: &[&str]| Program::try_parse_from(arguments).unwrap().settings;
        let settings = read(&["x", "--data", "/var/lib/tollgate"]);
        assert_eq!(settings.database_url(), "sqlite:///var/lib/tollgate/tollgate.db");
        assert_eq!(settings.admin.port(), 9080);
        let settings = read(&["x", "--database", "postgres://h/d", "--grpc-name", "a,b"]);
        assert_eq!(settings.database_url(), "postgres://h/d");
        assert_eq!(settings.grpc_name, ["a", "b"]);
        assert!(Program::try_parse_from(["x", "--databse", "y"]).is_err());
    }

    #[test]
    fn a_misspelt_variable_is_told_from_one_of_somebody_else() {
        assert!(
            misspelt("TOLLGATE_DATABASE")
                .is_some_and(|text| text.contains("TOLLGATE_DATABASE_URL"))
        );
        assert_eq!(
            misspelt("TOLLGATE_ADMN").as_deref(),
            Some("`TOLLGATE_ADMN` is not a setting; did you mean `TOLLGATE_ADMIN`?")
        );
        assert_eq!(misspelt("TOLLGATE_SERVICE_PORT_9080_TCP_PROTO"), None);
    }
}
