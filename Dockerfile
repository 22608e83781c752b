# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /p2psip-gateway ./cmd/p2psip-gateway && mkdir /state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /p2psip-gateway /p2psip-gateway
# A volume that is mounted here is the gateway's own: bindings, and the identity.
COPY --from=build --chown=nonroot:nonroot /state /var/lib/p2psip-gateway
USER nonroot:nonroot
WORKDIR /var/lib/p2psip-gateway
EXPOSE 5060/udp 5060/tcp 5061/tcp 6084/tcp 6084/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["/p2psip-gateway", "status", "--ready"]
ENTRYPOINT ["/p2psip-gateway"]
CMD ["run", "-c", "/etc/p2psip-gateway/gateway.yaml"]
