# One image for both planes and the CLI: `docker run tollgate up`, `… control-plane`, `… data-plane`.
# Nothing here needs BuildKit.

# What decides the dependencies, and nothing that changes with every edit: so the layer that compiles them
# is made again only where a manifest changes.
FROM debian:bookworm-slim AS manifests
COPY . /source
WORKDIR /source
RUN find . -name main.rs -o -name build.rs | while read -r file; do echo 'fn main() {}' >"$file"; done \
    && find . -name lib.rs -exec truncate --size=0 {} + \
    && find . -path '*/benches/*.rs' -exec truncate --size=0 {} + \
    && find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name rust-toolchain.toml ! -name main.rs ! -name build.rs \
        ! -name lib.rs ! -path '*/benches/*.rs' -delete \
    && find . -type d -empty -delete

FROM rust:1-bookworm AS build
WORKDIR /source
ENV CARGO_TERM_COLOR=never
COPY --from=manifests /source /source
RUN cargo build --release --locked --package tollgate-cli
COPY . /source
# Cargo compares times: those of the checkout are older than those of the files above.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --release --locked --package tollgate-cli \
    && strip target/release/tollgate

FROM debian:bookworm-slim
# The certificates that upstreams over TLS are checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# /run/tollgate is where docker-compose.yml mounts the volume that the join token goes through.
RUN groupadd --gid 10001 tollgate \
    && useradd --uid 10001 --gid tollgate --home-dir /var/lib/tollgate --create-home --shell /usr/sbin/nologin tollgate \
    && mkdir /run/tollgate && chown tollgate:tollgate /run/tollgate && chmod 0700 /var/lib/tollgate /run/tollgate
COPY --from=build /source/target/release/tollgate /usr/local/bin/tollgate
USER 10001:10001
WORKDIR /var/lib/tollgate
ENV TOLLGATE_DATA=/var/lib/tollgate
VOLUME /var/lib/tollgate
# 8080 calls · 9080 admin API · 9081 gRPC from the nodes · 9082 status of a node
EXPOSE 8080 9080 9081 9082
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["tollgate", "health", "http://127.0.0.1:9082/ready"]
ENTRYPOINT ["tollgate"]
CMD ["up"]
