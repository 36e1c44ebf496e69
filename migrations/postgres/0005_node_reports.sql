-- What every node runs, as the control plane that it is connected to last heard: the other control planes
-- of this store read it here.
CREATE TABLE node_report (
    gateway      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    -- The control plane process that the node was last connected to.
    replica      TEXT    NOT NULL,
    is_connected BIGINT  NOT NULL,
    -- A JSON object.
    report       TEXT    NOT NULL,
    at           BIGINT  NOT NULL,
    PRIMARY KEY (gateway, name)
);
