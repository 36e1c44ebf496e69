//! `tollgate`: both planes in one process, and the client of the admin API. One module a verb; what
//! they share stands above them. This crate is the composition root: it never holds a rule of its
//! own about what a resource is or does.

// The flags of all verbs; the environment.
mod settings;
// Why a verb was not carried out; exit status.
mod failure;
// Standard output and standard error.
mod output;
// JSON values as YAML.
mod yaml;
// Control planes under a name; the verb `context`.
mod context;
// The admin API over HTTP.
mod client;
// What the admin API answers.
mod admin;
// Which server, as whom, for which tenant.
mod session;
// Resource files.
mod files;
// `from_env` and `from_file`.
mod secrets;
// Changes as people read them.
mod changes;
// The table of each kind.
mod columns;
// Which resources a resource names.
mod references;

mod apply;
mod completion;
mod delete;
mod describe;
mod diff;
mod echo;
mod edit;
mod explain;
mod export;
mod get;
mod health;
mod history;
mod key;
mod login;
mod model;
mod nodes;
mod planes;
mod provider;
mod purge;
mod rollback;
mod show;
mod status;
mod tokens;
mod validate;
mod version;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::session::Session;
use crate::settings::Global;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// API gateway and AI gateway with the management platform in the same box
#[derive(Parser)]
#[command(
    name = "tollgate",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run both planes in one process, on SQLite
    Up(Box<planes::up::Arguments>),
    /// Run a control plane
    ControlPlane(Box<planes::control::Arguments>),
    /// Run a node
    DataPlane(Box<planes::data::Arguments>),
    /// Ask a plane whether it is well: 0 where the answer is 200
    Health(health::Arguments),
    /// Answer any request with what was asked: a toy upstream for examples and demos
    Echo(echo::Arguments),
    /// Try a token and keep it in a context
    Login(login::Arguments),
    /// List, pick, add and remove contexts
    Context(context::verb::Arguments),
    /// Check resource files without a control plane
    Validate(files::FileArguments),
    /// Show the models that the catalogue knows
    Model(model::Arguments),
    /// Show the providers of models that the catalogue knows
    Provider(provider::Arguments),
    #[command(flatten)]
    Asking(Asking),
    /// Print a script that has a shell complete verbs and flags
    Completion(completion::Arguments),
    /// Print the version
    Version,
}

/// The verbs that ask a control plane.
#[derive(Subcommand)]
enum Asking {
    /// Make what resource files say so, in one revision
    Apply(apply::Arguments),
    /// Show what `apply` would change, or what changed between two revisions; ends with 1 where something differs
    Diff(diff::Arguments),
    /// Show which route a request would take, and why
    Explain(explain::Arguments),
    /// Print everything as one resource file
    Export(export::Arguments),
    /// List resources of a kind, or get one
    Get(get::Arguments),
    /// Show one resource with its references, revisions and nodes
    Describe(describe::Arguments),
    /// Change a resource in an editor, unless somebody else changes it meanwhile
    Edit(edit::Arguments),
    /// Delete a resource
    Delete(delete::Arguments),
    /// List revisions, newest first
    History(history::Arguments),
    /// Show one revision and what it changed
    Show(show::Arguments),
    /// Make a new revision with the content of an old one
    Rollback(rollback::Arguments),
    /// Take responses out of the nodes' caches
    Purge(purge::Arguments),
    /// List the nodes
    Nodes(nodes::Arguments),
    /// Manage how nodes join
    Node(nodes::NodeArguments),
    /// Show whether every node runs the current revision, and if not, why
    Status(status::Arguments),
    /// Manage API keys of applications
    Key(key::Arguments),
    /// Manage tokens of administrators and programs
    Token(tokens::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.verb, cli.global.without_empty()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::FAILURE,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

fn run(verb: Verb, global: Global) -> Result<Outcome, Failure> {
    let out = Output::new(global.output);
    match verb {
        Verb::Up(arguments) => planes::up::run(*arguments, &out),
        Verb::ControlPlane(arguments) => planes::control::run(*arguments),
        Verb::DataPlane(arguments) => planes::data::run(*arguments),
        Verb::Health(arguments) => block_on(health::run(arguments, &out)),
        Verb::Echo(arguments) => block_on(echo::run(arguments, out)),
        Verb::Login(arguments) => block_on(login::run(arguments, global)),
        Verb::Context(arguments) => context::verb::run(arguments, &global, &out),
        Verb::Validate(arguments) => validate::run(&arguments, &global, &out),
        Verb::Model(arguments) => model::run(arguments, &out),
        Verb::Provider(arguments) => provider::run(arguments, &out),
        Verb::Completion(arguments) => completion::run::<Cli>(&arguments, &out),
        Verb::Version => version::run(&out),
        Verb::Asking(verb) => block_on(ask(verb, Session::open(&global)?)),
    }
}

/// Carries out a verb that speaks to a control plane.
async fn ask(verb: Asking, session: Session) -> Result<Outcome, Failure> {
    let session = &session;
    match verb {
        Asking::Apply(arguments) => apply::run(arguments, session).await,
        Asking::Diff(arguments) => diff::run(arguments, session).await,
        Asking::Explain(arguments) => explain::run(arguments, session).await,
        Asking::Export(arguments) => export::run(arguments, session).await,
        Asking::Get(arguments) => get::run(arguments, session).await,
        Asking::Describe(arguments) => describe::run(arguments, session).await,
        Asking::Edit(arguments) => edit::run(arguments, session).await,
        Asking::Delete(arguments) => delete::run(arguments, session).await,
        Asking::History(arguments) => history::run(arguments, session).await,
        Asking::Show(arguments) => show::run(arguments, session).await,
        Asking::Rollback(arguments) => rollback::run(arguments, session).await,
        Asking::Purge(arguments) => purge::run(arguments, session).await,
        Asking::Nodes(arguments) => nodes::run(arguments, session).await,
        Asking::Node(arguments) => nodes::run_node(arguments, session).await,
        Asking::Status(arguments) => status::run(arguments, session).await,
        Asking::Key(arguments) => key::run(arguments, session).await,
        Asking::Token(arguments) => tokens::run(arguments, session).await,
    }
}

fn block_on(verb: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::Runtime)?.block_on(verb)
}
