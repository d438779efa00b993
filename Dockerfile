# Not tried where the project's tests run: there is no container engine there. make image builds the same without one, and its test builds
# from what is copied here.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY webhook webhook
COPY cabundle cabundle
COPY certs certs
COPY internal internal
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /caject ./cmd/caject

FROM scratch
COPY --from=build /caject /caject
USER 65532:65532
ENTRYPOINT ["/caject"]
