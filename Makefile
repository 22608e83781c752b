GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Pinned tools; `go run` fetches and builds them when first used.
STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOLANGCI     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.7.2

FUZZTIME ?= 30s

.PHONY: build test check check-format check-vet lint fuzz soak-mutate soak-nat soak redirect-tier bench compare run image clean

build: ## static binary in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/p2psip-gateway ./cmd/p2psip-gateway

test: ## every test, with the race detector; installs the Debian packages that they need
	./.ci/deps
	$(GO) test -run TestWorldsHold ./overlay/sim # all 200 worlds; with the race detector there are fewer
	$(GO) test ./overlay/sim -run TestMixedWorlds -v -seeds 500
	$(GO) test ./overlay/sim -run "TestMixedWorlds|TestWorldsHold" -v -seeds 100 -fresh # from a seed that nobody has chosen, printed
	$(GO) test -race -timeout 15m ./...

check: check-format check-vet lint ## what a change must pass besides the tests

check-format:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }

check-vet:
	$(GO) vet ./...

lint:
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(GOLANGCI) run

fuzz: ## each fuzz target for FUZZTIME
	./.ci/fuzz $(FUZZTIME)

soak-mutate: ## ten minutes of mutated messages over each SIP transport: no panic, no growth, still serving
	$(GO) test -v -count=1 -timeout 15m -run TestMutatedMessages ./cmd/p2psip-gateway/internal/gateway -mutate 10m

soak-nat: ## calls to phones that were silent for ten minutes behind NATs which forget after one; needs root
	$(GO) test -v -count=1 -timeout 30m -run TestPhonesBehindNATsAreReachedAfterIdleTime ./cmd/p2psip-gateway/internal/gateway -nat-forgets 60s -nat-idle 10m

soak: build ## half an hour of 200 calls a second among 10,000 phones: memory and goroutines stay, no call fails
	$(GO) run ./deploy/soak --binary bin/p2psip-gateway --for 30m --rate 200 --phones 10000

redirect-tier: build ## 10 gateways, 3 redirect peers, 10,000 phones: every answer is checked, one peer is killed; ARGS='--kamailio BENCH/servers/kamailio/start.sh'
	$(GO) run ./deploy/redirect-tier --binary bin/p2psip-gateway $(ARGS)

bench: ## benchmarks, as docs/performance.md quotes them
	$(GO) test -run '^$$' -bench . -benchmem ./...

compare: build ## CPU for each SIP operation beside Kamailio; BENCH is the directory of the load bench, ARGS go to compare.py
	deploy/bench/compare.py --bench '$(BENCH)' --gateway bin/p2psip-gateway $(ARGS)

run: ## a throw-away overlay with three gateways and a redirect peer
	$(GO) run ./cmd/p2psip-gateway dev

image: ## container image
	docker build --build-arg VERSION=$(VERSION) -t p2psip-gateway:$(VERSION) .

clean:
	rm -rf bin
