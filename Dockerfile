# One image for every command: `docker run IMAGE` runs a node, `docker run IMAGE status --url ...` another command.
# It has no cache mounts, so that it can be built with BuildKit and with the legacy builder.

# The version is that of rust-toolchain.toml. To use another image with that compiler: --build-arg RUST_IMAGE=...
ARG RUST_IMAGE=rust:1.95.0-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Compiles the dependencies with empty crates, so that this layer stays cached until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY src/core/Cargo.toml src/core/
COPY src/api/Cargo.toml src/api/
COPY src/client/Cargo.toml src/client/
COPY src/node/Cargo.toml src/node/
COPY src/lab/Cargo.toml src/lab/
RUN mkdir -p tests/sim tests/it tests/chaos docs/examples \
    && touch src/core/lib.rs src/api/lib.rs src/client/lib.rs src/node/lib.rs src/lab/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs docs/examples/checkout.rs > tests/sim/main.rs \
    && touch tests/it/main.rs tests/chaos/main.rs \
    && cargo build --profile dist --locked

COPY migrations migrations
COPY zk zk
COPY src src
# COPY keeps modification times. Cargo would consider sources that are older than the empty crates as compiled.
RUN find src -name '*.rs' -exec touch {} + && cargo build --profile dist --locked


FROM debian:bookworm-slim
# The ids are fixed, so that the owner of a volume stays valid with the next image. A new named volume gets the owner
# of /data.
RUN groupadd --gid 10001 quorapay \
    && useradd --uid 10001 --gid quorapay --no-create-home --home-dir /data --shell /usr/sbin/nologin quorapay \
    && install --directory --owner quorapay --group quorapay --mode 0700 /data /secrets
COPY --from=build /src/target/dist/quorapay /usr/local/bin/quorapay

USER 10001:10001
# Loopback is not reachable from outside a container. On other addresses a node requires QUORAPAY_CLUSTER_SECRET.
ENV QUORAPAY_DATA_DIR=/data \
    QUORAPAY_LISTEN=0.0.0.0:7101 \
    QUORAPAY_PEER_LISTEN=0.0.0.0:7201
VOLUME /data
EXPOSE 7101 7201

# On SIGTERM a leader transfers the leadership and answers its pending requests; the process exits with 0.
STOPSIGNAL SIGTERM
# Healthy means able to serve. A node without a leader, or one that is catching up, is unhealthy and must not be
# restarted for that reason. The check retries for two seconds, which is longer than a failover.
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["quorapay", "ready", "--deadline-ms", "2000"]

# Last, because another revision must not build the layers before it again.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Quorapay" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision=${REVISION} \
    org.opencontainers.image.licenses="Apache-2.0"

ENTRYPOINT ["quorapay"]
CMD ["node"]
