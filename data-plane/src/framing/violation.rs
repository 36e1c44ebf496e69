//! What the validator refuses, as one list of constants: a code, a status and a sentence each.

/// Why the bytes of a connection were refused; the answer that the client is owed.
///
/// After one, the connection is of no further use: where the next message would begin is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Violation {
    /// The stable code: `malformed_request`, `ambiguous_framing`, `head_too_large`,
    /// `target_too_long`, `unsupported_transfer_coding`, `unsupported_version`,
    /// `method_not_supported` or `host_mismatch`.
    pub code: &'static str,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What is wrong, in one sentence for the caller; never anything the client sent.
    pub problem: &'static str,
}

const fn malformed(problem: &'static str) -> Violation {
    Violation { code: "malformed_request", status: 400, problem }
}

const fn ambiguous(problem: &'static str) -> Violation {
    Violation { code: "ambiguous_framing", status: 400, problem }
}

// RFC 9112 §2.2: lines end with CRLF; a bare CR must not be taken for one.
pub(super) static BARE_LF: Violation =
    malformed("a line ends with a bare LF; lines end with CR LF");
pub(super) static BARE_CR: Violation = malformed("a CR stands without its LF");
pub(super) static EMPTY_LINES: Violation =
    malformed("more than two empty lines stand before the request line");

// RFC 9112 §3: the request line.
pub(super) static METHOD: Violation =
    malformed("the method is not a token followed by exactly one space");
pub(super) static TARGET: Violation = malformed(
    "the request target holds a byte that no URI holds, or more than one space stands around it",
);
pub(super) static TARGET_FORM: Violation =
    malformed("the request target is neither a path, nor an http(s) URI, nor `*` with OPTIONS");
pub(super) static TARGET_AUTHORITY: Violation =
    malformed("the authority of the request target is not a host with an optional port");
pub(super) static VERSION: Violation =
    malformed("the request line does not end with an HTTP version and CR LF");
pub(super) static UNSUPPORTED_VERSION: Violation = Violation {
    code: "unsupported_version",
    status: 505,
    problem: "the version is neither HTTP/1.1 nor HTTP/1.0",
};
// RFC 9110 §9.3.6: a tunnel is not what a gateway of APIs is for.
pub(super) static CONNECT: Violation =
    Violation { code: "method_not_supported", status: 501, problem: "CONNECT is not supported" };

// RFC 9110 §15.5.15, RFC 6585 §5: what is too long.
pub(super) static TARGET_TOO_LONG: Violation = Violation {
    code: "target_too_long",
    status: 414,
    problem: "the request target is longer than this gateway takes",
};
pub(super) static HEAD_TOO_LARGE: Violation = Violation {
    code: "head_too_large",
    status: 431,
    problem: "the request line and the header fields are larger than this gateway takes",
};
pub(super) static TOO_MANY_FIELDS: Violation = Violation {
    code: "head_too_large",
    status: 431,
    problem: "there are more header fields than this gateway takes",
};
pub(super) static TRAILERS_TOO_LARGE: Violation = Violation {
    code: "head_too_large",
    status: 431,
    problem: "the trailer fields are larger or more than this gateway takes",
};

// RFC 9112 §5: field lines.
pub(super) static OBSOLETE_FOLD: Violation =
    malformed("a field line begins with white space (obsolete line folding)");
pub(super) static FIELD_NAME: Violation = malformed("a field name is not a token before a colon");
pub(super) static SPACE_BEFORE_COLON: Violation =
    malformed("white space stands between a field name and its colon");
pub(super) static FIELD_VALUE: Violation = malformed("a field value holds a control character");
pub(super) static FORBIDDEN_TRAILER: Violation =
    malformed("a trailer field is one that may only stand in the head");

// RFC 9112 §6: the length of the body.
pub(super) static CONTENT_LENGTH: Violation =
    malformed("content-length is not one number of at most 18 digits");
pub(super) static CONTENT_LENGTH_LIST: Violation =
    ambiguous("content-length is given more than once");
pub(super) static TRANSFER_ENCODING_LINES: Violation =
    ambiguous("transfer-encoding is given more than once");
pub(super) static BOTH_LENGTHS: Violation =
    ambiguous("both content-length and transfer-encoding are given");
pub(super) static TRANSFER_ENCODING_1_0: Violation =
    ambiguous("transfer-encoding is given in a request of HTTP/1.0");
pub(super) static DISGUISED_LENGTH: Violation =
    ambiguous("a field is named like content-length or transfer-encoding with an underscore");
pub(super) static TRANSFER_CODING: Violation = Violation {
    code: "unsupported_transfer_coding",
    status: 501,
    problem: "the transfer coding is not exactly `chunked`",
};

// RFC 9112 §3.2: the Host field.
pub(super) static HOST_MISSING: Violation =
    malformed("the host field, which HTTP/1.1 demands, is missing");
pub(super) static HOST_LINES: Violation = malformed("the host field is given more than once");
pub(super) static HOST: Violation = malformed("the host field is not a host with an optional port");
pub(super) static HOST_MISMATCH: Violation = Violation {
    code: "host_mismatch",
    status: 400,
    problem: "the host field names another authority than the request target",
};

// RFC 9112 §7.1: the chunked coding.
pub(super) static CHUNK_SIZE: Violation =
    malformed("a chunk size is not one to sixteen hexadecimal digits");
pub(super) static CHUNK_EXTENSION: Violation =
    malformed("a chunk extension holds a control character or is longer than 256 bytes");
pub(super) static CHUNK_END: Violation = malformed("the data of a chunk is not followed by CR LF");
