//! Why a verb was not carried out, and the exit status that says so.

use std::fmt;

use serde::Deserialize;
use tollgate_llm::catalogue::CatalogueError;
use tollgate_model::Issue;
use tollgate_model::file::dotted;

use crate::context::ContextError;
use crate::edit::EditError;

/// How a verb ended that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// Not as asked, and the reason has been printed: nodes refuse, files differ.
    Negative,
}

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong usage that the grammar of the flags cannot show.
    #[error("{0}")]
    Usage(String),
    /// A name that stands for nothing, or a value that does not do.
    #[error("{0}")]
    Refused(String),
    /// Faults in resource files, one line each.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// Nothing listens there.
    #[error(
        "no control plane answers at {server}: start one with `tollgate up`, or name another with --server"
    )]
    NoServer {
        /// As the user named it.
        server: String,
        #[source]
        source: reqwest::Error,
    },
    /// Something listens, but is slow.
    #[error("the control plane at {server} did not answer within {limit_secs} s")]
    TooSlow {
        /// As the user named it.
        server: String,
        /// How long it was waited for.
        limit_secs: u64,
    },
    /// The connection broke, or could not be secured.
    #[error("call the control plane at {server}")]
    Transport {
        /// As the user named it.
        server: String,
        #[source]
        source: reqwest::Error,
    },
    /// Something answers that is no control plane.
    #[error(
        "{server} answers like no control plane ({detail}); is it the address of the admin API?"
    )]
    NotAdminApi {
        /// As the user named it.
        server: String,
        /// What was odd about the answer.
        detail: String,
    },
    /// The control plane refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The catalogue of models that is part of this program.
    #[error(transparent)]
    Catalogue(#[from] &'static CatalogueError),
    /// The file of contexts.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A resource could not be given to the editor.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A server of this program's own could not start.
    #[error("listen on {address}")]
    Listen {
        /// As it was given.
        address: String,
        #[source]
        source: std::io::Error,
    },
    /// Standard output was not writable.
    #[error("write to standard output")]
    Write(#[source] std::io::Error),
    /// Logging could not be set up.
    #[error("set up logging")]
    Logging(#[source] tollgate_telemetry::InitError),
    /// A control plane could not start.
    #[error(transparent)]
    ControlPlane(tollgate_control_plane::StartError),
    /// A control plane ended by itself.
    #[error(transparent)]
    ControlPlaneEnded(tollgate_control_plane::RunError),
    /// A node could not start.
    #[error(transparent)]
    Node(tollgate_data_plane::StartError),
    /// The process's own node could get no token to join with.
    #[error("make a join token for the node of this process")]
    Join(#[source] tollgate_control_plane::identity::JoinError),
    /// The process's own node received no configuration.
    #[error("the node of this process received no configuration within 30 s; the log says why")]
    NotReady,
    /// A part of the process ended that should not have.
    #[error("a part of this process stopped; the log says why")]
    Stopped,
    /// The runtime could not start.
    #[error("start the runtime")]
    Runtime(#[source] std::io::Error),
}

impl Failure {
    /// The exit status: 2 for wrong usage, else 1.
    #[must_use]
    pub(crate) fn exit_status(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    /// Whether the reader of standard output went away, as `head` does: nothing to complain about.
    #[must_use]
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The message with its causes, as it is printed. Faults of files stand alone, so that editors
    /// find `FILE:LINE:` at the beginning of a line.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        if let Self::Faults(lines) = self {
            return lines.join("\n");
        }
        let mut text = format!("error: {self}");
        let mut cause = std::error::Error::source(self);
        // What lies below `NoServer` is the system's words for what it says already.
        if matches!(self, Self::NoServer { .. }) {
            cause = None;
        }
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// A refusal of the admin API (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// What sort of refusal, in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened this time.
    pub(crate) detail: Option<String>,
    /// A stable name for programs.
    pub(crate) code: String,
    /// To find it in the control plane's log.
    pub(crate) request_id: Option<String>,
    /// Every fault of the request.
    pub(crate) issues: Vec<Issue>,
}

impl Problem {
    /// Whether somebody else has changed meanwhile what was to be changed.
    #[must_use]
    pub(crate) fn is_of_another_version(&self) -> bool {
        self.status == 412
    }

    /// Whether the detail is this issue already, word for word.
    fn says(&self, issue: &Issue) -> bool {
        issue.at.is_empty() && self.detail.as_deref() == Some(issue.problem.as_str())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.detail.as_deref().unwrap_or(&self.title))?;
        if !self.code.is_empty() {
            write!(formatter, " ({})", self.code)?;
        }
        for issue in self.issues.iter().filter(|issue| !self.says(issue)) {
            let place = dotted(&issue.at);
            let colon = if place.is_empty() { "" } else { ": " };
            write!(formatter, "\n  {place}{colon}{} ({})", issue.problem, issue.code)?;
        }
        match self.status {
            401 => formatter.write_str(
                "\nlog in with `tollgate login`, or give a token with --token or TOLLGATE_TOKEN",
            )?,
            500.. => {
                if let Some(id) = &self.request_id {
                    write!(formatter, "\nthe control plane's log has more under request id {id}")?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
