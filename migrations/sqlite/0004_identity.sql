-- Who administers. The token itself is never kept: `hash` is its keyed hash.
CREATE TABLE admin_token (
    id         TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    -- NULL: the whole platform.
    tenant     TEXT,
    role       TEXT    NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX admin_token_by_tenant ON admin_token (tenant);

-- What a node shows to get its first certificate.
CREATE TABLE join_token (
    id         TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    gateway    TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    uses       INTEGER NOT NULL,
    -- NULL: as often as one likes.
    use_limit  INTEGER
) STRICT;

-- The certificate authority of the nodes: one for all control planes of this store.
CREATE TABLE authority (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    -- DER.
    certificate BLOB    NOT NULL,
    -- PKCS #8, sealed under the master key.
    private_key TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- Keys that all control planes of this store share, sealed under the master key.
CREATE TABLE cluster_key (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
