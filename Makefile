# Two commands to begin with: make demo, make test. All others: make help.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
# No cgo: the same binary runs in an image without a C library. (The race detector needs it, in tests.)
BUILD := CGO_ENABLED=0 go build -trimpath
# What lints, renders and packages the chart. In the release workflow it is the machine's own.
HELM ?= bin/helm
# yes or no: whether make up starts caject, too.
CAJECT ?= yes
# How many caject make up starts.
REPLICAS ?= 1
# How many kube-apiservers, on one etcd.
APISERVERS ?= 1

.PHONY: help
help: ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build $(if $(wildcard bin/node/kubelet),nodeparts,assets) ## Show caject at work on a real API server, with measured times. Leaves nothing running.
	@cd test && go build -o ../bin/demo ./cmd/demo
	@bin/demo

.PHONY: test
test: $(if $(K8S),test-versions,test-all) ## Run the tests, with the race detector: unit, end-to-end on the real API server, and side by side with cert-manager's cainjector; test-long has the rest. K8S='1.30 1.36': the end-to-end tests on these versions of Kubernetes; SHORT=yes: some of them.

# Two at a time: most of what they do is wait.
.PHONY: test-all
test-all: assets clients bin/krew bin/prometheus bin/gotestsum
	@$(MAKE) --no-print-directory --jobs=2 test-cluster test-beside

GOTESTSUM := bin/gotestsum --format testname --format-hide-empty-pkg
# What of test runs beside the rest.
BESIDE := field scrape cli
# What has targets of its own, and is not run by make test: test-long runs it.
LONG := bench chaos load matrix policycost soak upgrade

.PHONY: test-cluster
test-cluster:
	@cd test && QUIET_REPLICAS=2 ../$(GOTESTSUM) -- -race -count=1 -p 1 -parallel 4 -timeout 30m \
	  $$(go list ./... | grep -vE '/test/(node|$(subst $() ,|,$(BESIDE) $(LONG)))$$')

.PHONY: test-beside
test-beside:
	@bin/gotestsum --format pkgname --format-hide-empty-pkg -- -race ./...
	@cd test/image && ../../$(GOTESTSUM) -- -count=1 ./...
	@cd test/monitoring && ../../$(GOTESTSUM) -- -count=1 ./...
	@cd test && ../$(GOTESTSUM) -- -race -count=1 -p 1 -parallel 4 -timeout 30m $(BESIDE:%=./%)
	@cd test/oracle && ../../$(GOTESTSUM) -- -short -race -count=1 -parallel 4 -timeout 30m ./...

.PHONY: test-long
test-long: assets oldest clients bin/gotestsum ## Run the tests that make test leaves out, in their short forms: the matrix, chaos, load, soak, the upgrade of a cluster, one replica and three, those of the benchmarks; and each scenario of the oracle for each kind.
	@cd test && QUIET_REPLICAS='1 3' ../$(GOTESTSUM) -- -race -count=1 -p 1 -parallel 4 -timeout 60m ./quiet $(LONG:%=./%)
	@cd test/oracle && ../../$(GOTESTSUM) -- -race -count=1 -timeout 30m -run TestOracle ./...

.PHONY: test-versions
test-versions: assets $(if $(filter yes,$(SHORT)),,clients) bin/gotestsum
	@cd test && go build -o ../bin/versions ./cmd/versions
	@bin/versions $(if $(filter yes,$(SHORT)),-short) $(K8S)

# The oldest version of Kubernetes that the chart is for: test/upgrade begins with it.
.PHONY: oldest
oldest: assets
	@test/controlplane/build 1.30

.PHONY: upgrade
upgrade: oldest bin/gotestsum ## Upgrade kube-apiserver over the same etcd while caject runs, 1.30 -> 1.36 -> current -> 1.36 -> 1.35, and check that all is right and silent after each step. SPAN=30s.
	@for version in 1.36 1.35; do test/controlplane/build $$version; done
	@cd test && UPGRADE_PATH='1.30 1.36 current 1.36 1.35' UPGRADE_SPAN=$(or $(SPAN),30s) ../bin/gotestsum --format standard-verbose -- -race -count=1 -timeout 30m ./upgrade

.PHONY: unit
unit: ## Run the unit tests alone, without Kubernetes and without the race detector.
	@go test ./...

.PHONY: bench
bench: build assets bin/cainjector ## Measure caject and cert-manager's cainjector side by side: a table, bin/bench.json and bin/benchmark.svg. Twelve minutes; SECRETS=100000, QUICK=yes.
	@cd test && go build -o ../bin/bench ./cmd/bench
	@bin/bench $(if $(SECRETS),-secrets $(SECRETS)) $(if $(filter yes,$(QUICK)),-quick)

.PHONY: microbench
microbench: ## Measure the rules, a round of resync and the admission handler on their own.
	go test -run '^$$' -bench . -benchmem ./cabundle ./cabundle/resync ./webhook

# It is built anew each time: go knows better than make what it depends on.
.PHONY: bin/cainjector
bin/cainjector:
	@cd test/oracle && $(BUILD) -ldflags '-s -w' -o ../../bin/cainjector ./cainjector

.PHONY: policycost
policycost: assets ## Measure what the policies cost each write with 1, 50, 500 and 5,000 sources, against none. Takes some two minutes.
	@cd test && go build -o ../bin/policycost ./cmd/policycost
	@bin/policycost

.PHONY: chaos
chaos: assets bin/gotestsum ## Cause thirteen faults around caject, ROUNDS times each, and print how soon all targets are right again. ROUNDS=3, REPLICAS=1, APISERVERS=1.
	@cd test && CHAOS_ROUNDS=$(or $(ROUNDS),3) CHAOS_REPLICAS=$(REPLICAS) CHAOS_APISERVERS=$(APISERVERS) ../bin/gotestsum --format standard-verbose -- -race -count=1 -timeout 60m ./chaos

.PHONY: quiet
quiet: assets bin/gotestsum ## Rotate, break and repair things around 1, 2 and 3 replicas, and check that all are silent for QUIET_SPAN (60s) afterwards. REPLICAS=n: that many only.
	@cd test && QUIET_SPAN=$(or $(QUIET_SPAN),60s) QUIET_REPLICAS='$(if $(filter file,$(origin REPLICAS)),1 2 3,$(REPLICAS))' ../bin/gotestsum --format standard-verbose -- -race -count=1 -parallel 4 -timeout 60m ./quiet

.PHONY: matrix
matrix: assets bin/gotestsum ## Try each kind of target with each reset, whatever has become of its source, with policies and without; shards under load, two API servers. ONLY=regexp: those cells.
	@cd test && MATRIX_SPAN=$(or $(SPAN),30s) MATRIX_ONLY='$(ONLY)' ../bin/gotestsum --format standard-verbose -- -race -count=1 -parallel 4 -timeout 30m ./matrix

.PHONY: apiservers
apiservers: assets bin/gotestsum ## Make one of APISERVERS (2) kube-apiservers on one etcd slow, silent, frozen, killed or stale, and check that caject writes nothing for SPAN (20s) after each.
	@cd test && APISERVERS=$(if $(filter file,$(origin APISERVERS)),2,$(APISERVERS)) APISERVERS_SPAN=$(or $(SPAN),20s) ../bin/gotestsum --format standard-verbose -- -race -count=1 -timeout 30m ./apiservers

.PHONY: field
field: assets bin/gotestsum ## Replay what people report about injectors, with kubectl and helm, with policies and without. REPLICAS=2 by default; ONLY=regexp: those tests.
	@cd test && FIELD_REPLICAS=$(if $(filter file,$(origin REPLICAS)),2,$(REPLICAS)) ../bin/gotestsum --format testname -- -race -count=1 -parallel 4 -timeout 30m $(if $(ONLY),-run '$(ONLY)') ./field

.PHONY: cli
cli: assets bin/gotestsum ## Run kubectl caject on a real API server, and time status over TARGETS (5000) objects.
	@cd test && CLI_TARGETS=$(or $(TARGETS),5000) ../bin/gotestsum --format standard-verbose -- -count=1 -timeout 30m $(if $(ONLY),-run '$(ONLY)') ./cli

.PHONY: load
load: build assets bin/cainjector ## Fill 2,000 objects from 200 sources, 1,000 creates at full speed and a CRD as large as etcd takes; prints latencies, cainjector's beside.
	@cd test && go build -o ../bin/load ./cmd/load
	@bin/load

.PHONY: soak
soak: build assets ## Change Secrets and targets for DURATION (10m), and watch memory, goroutines and each state of each target. REPLICAS=1, APISERVERS=1.
	@cd test && go build -o ../bin/soak ./cmd/soak
	@bin/soak -duration $(or $(DURATION),10m) -replicas $(REPLICAS) -apiservers $(APISERVERS)

.PHONY: lint
lint: bin/staticcheck bin/actionlint $(if $(filter bin/helm,$(HELM)),assets) generate ## Run gofmt, go vet, staticcheck, helm lint and actionlint, and see that nothing generated is out of date.
	@git diff --exit-code -- cabundle/v1alpha1 charts/caject/files charts/caject/README.md
	bin/actionlint -shellcheck= -pyflakes=
	$(HELM) lint --strict --quiet charts/caject
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	cd test && go vet ./...
	cd test && go vet -tags helmcontroller ./e2e
	cd test/oracle && go vet ./...
	cd test/controlplane && go vet ./gc
	cd test/image && go vet ./...
	cd test/monitoring && go vet ./...
	cd test/clients/flux && go vet ./...
	cd test/clients/argocd && go vet ./...
	bin/staticcheck ./...
	cd test && ../bin/staticcheck ./...
	cd test && ../bin/staticcheck -tags helmcontroller ./e2e
	cd test/oracle && ../../bin/staticcheck ./...
	cd test/image && ../../bin/staticcheck ./...
	cd test/monitoring && ../../bin/staticcheck ./...
	cd test/clients/flux && ../../../bin/staticcheck ./...
	cd test/clients/argocd && ../../../bin/staticcheck ./...

bin/staticcheck: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

bin/actionlint: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/actionlint github.com/rhysd/actionlint/cmd/actionlint

bin/helm-docs: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs

bin/govulncheck: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/govulncheck golang.org/x/vuln/cmd/govulncheck

.PHONY: vuln
vuln: bin/govulncheck ## Ask Go's vulnerability database about the code that is called. (Not tried: it needs the network.)
	bin/govulncheck ./...

# How long each fuzz test of make fuzz runs.
FUZZTIME ?= 20s

.PHONY: fuzz
fuzz: ## Run each fuzz test for FUZZTIME (20s), and print a table of what they did. `make test` runs their seeds.
	@test/fuzz $(FUZZTIME)

bin/controller-gen: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/controller-gen sigs.k8s.io/controller-tools/cmd/controller-gen

.PHONY: generate
generate: bin/controller-gen bin/helm-docs ## Make the CRD, the deep copies of cabundle/v1alpha1 and the chart's README anew. `make lint` says if that was forgotten.
	@bin/controller-gen object paths=./cabundle/v1alpha1
	@bin/controller-gen crd paths=./cabundle/v1alpha1 output:crd:dir=charts/caject/files
	@bin/helm-docs --chart-search-root charts --badge-style flat-square --log-level warning

bin/gotestsum: test/tools/go.mod test/tools/go.sum
	@cd test/tools && go build -o ../../bin/gotestsum gotest.tools/gotestsum

.PHONY: build
build: ## Build bin/caject and bin/kubectl-caject.
	@$(BUILD) -ldflags '$(LDFLAGS)' -o bin/caject ./cmd/caject
	@$(BUILD) -ldflags '$(LDFLAGS)' -o bin/kubectl-caject ./cmd/kubectl-caject

.PHONY: image
image: ## Build the image for amd64 and arm64 into bin/caject-image.tar, an OCI archive, without a container engine.
	@mkdir -p bin
	@cd test/image && go build -o ../../bin/image .
	@bin/image -version $(VERSION)

# The image as a release has it: by the chart's appVersion.
APPVERSION := $(shell awk '/^appVersion:/ { print $$2 }' charts/caject/Chart.yaml)
.PHONY: release
release: $(if $(filter bin/helm,$(HELM)),assets) ## Build all that a release has into bin/dist: image, programs, chart, manifests, bills of materials, checksums. VERSION=v1.2.3, which the chart has to name.
	@cd test/image && go build -o ../../bin/image .
	@bin/image release -version $(VERSION) -helm $(HELM)

.PHONY: release-snapshot
release-snapshot: $(if $(filter bin/helm,$(HELM)),assets) ## The same of this commit, to look at: without Docker, registry or tag.
	@cd test/image && go build -o ../../bin/image .
	@bin/image release -snapshot -version $(APPVERSION)-snapshot.g$$(git rev-parse --short HEAD) -helm $(HELM)

# Where make manifests writes, and for what.
MANIFESTS ?= bin/caject.yaml
NAMESPACE ?= caject
KUBE_VERSION ?= 1.37.0
VALUES ?=

.PHONY: manifests
manifests: $(if $(filter bin/helm,$(HELM)),assets) ## Render the chart into bin/caject.yaml, for kubectl and kustomize. NAMESPACE=caject, KUBE_VERSION=1.37.0, VALUES=file. From 1.36 on with the policies.
	@{ printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n' '$(NAMESPACE)'; \
	$(HELM) template caject charts/caject --namespace '$(NAMESPACE)' --skip-tests --kube-version '$(KUBE_VERSION)' $(if $(VALUES),--values '$(VALUES)') \
	  $(if $(filter-out 1.30% 1.31% 1.32% 1.33% 1.34% 1.35%,$(KUBE_VERSION)),--api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy); } >'$(MANIFESTS)'

# The image that push writes to; the chart goes to charts beside it.
REPOSITORY ?= ghcr.io/caject/caject

.PHONY: push
push: ## Push image and chart of bin/dist to REPOSITORY, as docker login has logged in, and print their references by digest. VERSION=v1.2.3.
	@bin/image push -version $(VERSION) -helm $(HELM) -repository $(REPOSITORY)

.PHONY: nodeparts
nodeparts: assets
	@test/controlplane/build node
	@cd test/image && go build -o ../../bin/image .
	@bin/image -arch $$(go env GOARCH) -o bin/node/caject.tar -version $(APPVERSION)
	@bin/image -arch $$(go env GOARCH) -o bin/node/pause.tar -program bin/node/pause -repository registry.k8s.io/pause -version 3.10 >/dev/null

.PHONY: node
node: nodeparts bin/gotestsum ## Run the image as pods on a real node, in namespaces of its own: needs root, and runc and nftables from the distribution. FAMILY=IPv6; ONLY=regexp.
	@cd test && NODE_FAMILY=$(or $(FAMILY),IPv4) ../bin/gotestsum --format standard-verbose -- -count=1 -timeout 45m $(if $(ONLY),-run '$(ONLY)') ./node

.PHONY: dockerfile
dockerfile: ## Build the Dockerfile with buildah, as root and without a registry, and run what came of it.
	@test/image/dockerfile

.PHONY: assets
assets: ## Build etcd, kube-apiserver, kubectl, helm and the garbage collector into bin/, once (ten minutes on two cores).
	@test/controlplane/build

.PHONY: clients
clients: bin/helm3 bin/flux bin/argocd ## Build Helm 3, and what Flux and Argo CD apply and compare with, into bin/, once (five minutes on two cores).

# Each in a module of its own: they want other versions of Kubernetes' libraries than caject does, and than each other.
bin/helm3: test/clients/helm3/go.mod test/clients/helm3/go.sum
	@cd test/clients/helm3 && go build -trimpath -ldflags '-s -w' -o ../../../bin/helm3 helm.sh/helm/v3/cmd/helm

bin/krew: test/clients/krew/go.mod test/clients/krew/go.sum
	@cd test/clients/krew && go build -trimpath -ldflags '-s -w' -o ../../../bin/krew sigs.k8s.io/krew/cmd/krew

bin/flux: $(wildcard test/clients/flux/*)
	@cd test/clients/flux && go build -trimpath -ldflags '-s -w' -o ../../../bin/flux .

bin/argocd: $(wildcard test/clients/argocd/*)
	@cd test/clients/argocd && go build -trimpath -ldflags '-s -w' -o ../../../bin/argocd .

# Flux's own controller; too large for make test.
bin/helm-controller: test/clients/helmcontroller/go.mod test/clients/helmcontroller/go.sum
	@cd test/clients/helmcontroller && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../bin/helm-controller github.com/fluxcd/helm-controller

.PHONY: helm-controller
helm-controller: assets bin/helm-controller bin/gotestsum ## Have Flux's helm-controller install the chart. It is built first, once (three minutes on two cores).
	@cd test && ../bin/gotestsum --format testname -- -race -count=1 -tags helmcontroller -run TestFluxInstallsTheChart ./e2e

# Without all that finds targets but what the chart and its documents ask for: it builds in three minutes on two cores.
bin/prometheus: test/monitoring/go.mod test/monitoring/go.sum
	@cd test/monitoring && CGO_ENABLED=0 go build -tags netgo,remove_all_sd,enable_kubernetes_sd -o ../../bin/prometheus github.com/prometheus/prometheus/cmd/prometheus

.PHONY: monitoring
monitoring: assets bin/prometheus bin/gotestsum ## Test alerts and dashboard with Prometheus' engine, and let a Prometheus scrape caject.
	@cd test/monitoring && ../../bin/gotestsum --format testname -- -count=1 ./...
	@cd test && ../bin/gotestsum --format testname -- -race -count=1 ./scrape

.PHONY: up
up: build $(if $(filter yes,$(NODE)),nodeparts,assets) ## Start a playground and leave it running; its files are in .run. CAJECT=no: all but caject. REPLICAS=n: several of it. APISERVERS=n: several kube-apiservers on one etcd. NODE=yes: a node with pods instead.
	@cd test && go build -o ../bin/playground ./cmd/playground
	@bin/playground up -node=$(or $(NODE),no) -caject=$(CAJECT) -replicas=$(REPLICAS) -apiservers=$(APISERVERS)

.PHONY: down
down: ## End the playground and remove .run with its logs.
	@cd test && go build -o ../bin/playground ./cmd/playground
	@bin/playground down

.PHONY: fmt
fmt: ## Format the code.
	gofmt -w $$(git ls-files '*.go')

.PHONY: clean
clean: down ## Remove all that was built, etcd and kube-apiserver too (ten minutes to build again).
	rm -rf bin
