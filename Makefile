# The verbs of the project. CI runs the same: .ci/run calls `make test`.

CARGO ?= cargo

.PHONY: help demo build check test tools bless doc bench mutations fuzz bench-templates bench-builds bench-cluster compare-charts install clean

help: ## Lists the verbs.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1 \t/'

demo: ## Builds, and shows the whole job on a scratch repository made from examples/quickstart.
	@scripts/demo.sh

build: ## Builds the program for use: target/release/stagewright.
	$(CARGO) build --release --locked

check: ## Format and lints; a warning is a failure.
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

test: tools check ## Everything: check, all tests, the demo. Installs what the tests need.
	$(CARGO) test --locked
	scripts/demo.sh --quiet

tools: ## Installs what the tests use: skopeo, umoci, docker-registry, Docker Engine, busybox, Ansible, a Kubernetes control plane.
	@scripts/test-tools.sh
	@scripts/test-cluster.sh

bless: ## Writes goldens and generated lists anew; review the difference as text.
	BLESS=1 $(CARGO) test --locked

doc: ## Builds the documentation of the crate.
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items

bench: ## Measures parse, render, sign and plan on generated projects, and prints a table.
	$(CARGO) bench --locked --bench main

mutations: ## Reads 100,000 mutated configurations, some of ten megabytes: no panic, no hang, always a place. Takes a while.
	MUTATIONS=100000 $(CARGO) test --release --locked --test suite mutations

fuzz: ## As mutations, with other seeds each time: FROM=NUMBER is the first, COUNT how many.
	MUTATIONS=$(or $(COUNT),100000) MUTATIONS_FROM=$(or $(FROM),$(shell date +%s)) $(CARGO) test --release --locked --test suite mutations

bench-templates: build ## Measures `template` against a warm Helm on large charts; CHARTS=FOLDER adds charts.
	python3 benches/templates.py $(if $(CHARTS),--charts $(CHARTS))

bench-builds: build tools ## Measures builds against `docker build`, `git ls-tree` and `tar | gzip`, and the requests of an idle one.
	python3 benches/builds.py $(if $(ROUNDS),--rounds $(ROUNDS))

bench-cluster: build tools ## Measures plan and apply of many resources against a warm Helm on the same API server; SIZES=10,100.
	python3 benches/cluster.py $(if $(SIZES),--sizes $(SIZES)) $(if $(ROUNDS),--rounds $(ROUNDS))

install: ## Installs the program into cargo's bin folder.
	$(CARGO) install --path . --locked

clean: ## Removes what was built.
	$(CARGO) clean

compare-charts: ## Compares `template` with a real Helm over the charts under CHARTS; HELM=4 for Helm 4.
	$(CARGO) build --locked
	scripts/compare-charts.py --helm $(or $(HELM),3) $(CHARTS)
