# make image builds the same without a container engine, and its test builds from what is copied here. make dockerfile builds this with buildah.
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
