# SPDX-License-Identifier: Apache-2.0
#
# docker build -t muster .                        the agent alone, from scratch: what the chart runs beside any server
# docker build -t muster-redis --target server .  agent and server in one container: docker/docker-compose.yml
#
# DEBIAN is pinned by digest in releases (--build-arg DEBIAN=debian@sha256:...). SERVER is a package of that Debian:
# redis-server or valkey-server.
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config musl-tools \
        libcurl4-openssl-dev libcjson-dev libyaml-dev libevent-dev libssl-dev libhiredis-dev \
    && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt /src/
COPY agent /src/agent
ARG REVISION=unknown
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DMUSTER_TESTS=OFF \
        -DMUSTER_COMMIT="${REVISION}" -DMUSTER_CACHE=/nothing \
    && cmake --build /build \
    && cmake --install /build --prefix /rootfs/usr --strip
COPY LICENSE /rootfs/usr/share/doc/muster/
# The closure: the program, its loader and its libraries, each at its own place; and who it runs as, for tools that ask.
RUN strip /rootfs/usr/bin/muster-hook \
    && cd /rootfs \
    && mkdir -p usr/lib usr/lib64 etc \
    && ln -s usr/lib lib \
    && ln -s usr/lib64 lib64 \
    && ldd usr/bin/muster | grep -oE '/[^ ]+' | xargs cp -L --parents -t . \
    && printf 'muster:x:10003:10001::/:/nologin\n' >etc/passwd \
    && printf 'muster:x:10001:\n' >etc/group \
    && chroot . muster version \
    && chroot . muster-hook --version

COPY docker/init.c /src/docker/
RUN musl-gcc -std=c11 -D_GNU_SOURCE -Os -Wall -Wextra -static -s -o /usr/local/bin/muster-init /src/docker/init.c

FROM ${DEBIAN} AS server
ARG SERVER=redis-server
# no service starts in a build; what the package's configuration says does not matter, docker/redis.conf does
RUN apt-get update \
    && apt-get install -y --no-install-recommends "${SERVER}" libcurl4t64 libcjson1 libyaml-0-2 libssl3t64 \
        libhiredis1.1.0 \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /data /run/muster \
    && chown 10002:10001 /data /run/muster
COPY --from=build /rootfs/usr/bin/ /usr/bin/
COPY --from=build /usr/local/bin/muster-init /usr/bin/
COPY docker/redis.conf /etc/muster/redis.conf
# the agent keeps its record beside the socket: in the volume
ENV SERVER=${SERVER} \
    PASSWORD_CONFIG=/run/muster/password.conf \
    MUSTER_HOOK_SOCKET=/data/muster/agent.sock
USER 10002:10001
WORKDIR /data
VOLUME /data
EXPOSE 6379 16379 8008
ENTRYPOINT ["/usr/bin/muster-init"]
HEALTHCHECK --interval=5s --timeout=2s --start-period=20s \
    CMD ["muster-hook", "ready", "--socket", "/data/muster/agent.sock"]

FROM scratch AS agent
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="muster" \
    org.opencontainers.image.description="Redis Cluster and Valkey on Kubernetes without an operator: the agent beside every server" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
COPY --from=build /rootfs/ /
ENV PATH=/usr/bin
USER 10003:10001
EXPOSE 8008
ENTRYPOINT ["/usr/bin/muster"]
CMD ["agent"]
