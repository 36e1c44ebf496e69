-- Who administers. The token itself is never kept: `hash` is its keyed hash.
CREATE TABLE admin_token (
    id         TEXT    PRIMARY KEY,
    hash       BYTEA    NOT NULL UNIQUE,
    -- NULL: the whole platform.
    tenant     TEXT,
    role       TEXT    NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    name       TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX admin_token_by_tenant ON admin_token (tenant);

-- What a node shows to get its first certificate.
CREATE TABLE join_token (
    id         TEXT    PRIMARY KEY,
    hash       BYTEA    NOT NULL UNIQUE,
    gateway    TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    uses       BIGINT NOT NULL,
    -- NULL: as often as one likes.
    use_limit  BIGINT
);

-- The certificate authority of the nodes: one for all control planes of this store.
CREATE TABLE authority (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    -- DER.
    certificate BYTEA    NOT NULL,
    -- PKCS #8, sealed under the master key.
    private_key TEXT    NOT NULL,
    created_at  BIGINT NOT NULL
);

-- Keys that all control planes of this store share, sealed under the master key.
CREATE TABLE cluster_key (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
