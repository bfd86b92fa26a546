# volbak in a container: docs/how-to/run-in-a-container.md says how to run it. Needs no BuildKit.
# Both can be given by --build-arg: NODE_BUILD needs npm, BASE needs Node 22.15 or later and GNU tar, find, sort and sh.
ARG NODE_BUILD=node:24-bookworm-slim
ARG BASE=node:24-bookworm-slim

FROM ${NODE_BUILD} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund
COPY . .
RUN rm -rf src tsconfig.json tsconfig.build.json package-lock.json

# What volbak keeps between runs belongs to the user that it runs as; a new volume takes that over.
RUN mkdir -p /rootfs/var/lib/volbak /rootfs/repository \
  && chmod 700 /rootfs/var/lib/volbak /rootfs/repository \
  && chown 1000:1000 /rootfs/var/lib/volbak /rootfs/repository

FROM ${BASE}
COPY --from=build /rootfs/ /
COPY --from=build /build /opt/volbak
# HOME and USER: it may be run as a user that the image does not know.
ENV PATH=/opt/volbak/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  HOME=/var/lib/volbak USER=volbak \
  XDG_STATE_HOME=/var/lib/volbak/state XDG_CACHE_HOME=/var/lib/volbak/cache XDG_DATA_HOME=/var/lib/volbak/data
# Where volbak.yaml is looked for.
WORKDIR /etc/volbak
# Says that helper containers can be made of this image, too. No VOLUME and no HEALTHCHECK: helpers would have them.
LABEL io.volbak.helper=own
USER 1000:1000
ENTRYPOINT ["/opt/volbak/bin/volbak"]
CMD ["--help"]
