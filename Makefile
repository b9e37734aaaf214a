# The commands for developers and CI. Each installs the tools that it needs and that are missing.

.DEFAULT_GOAL := help
.PHONY: help up stack down logs alerts dashboard-check test test-compose sim nodes planted planted-table http fuzz openapi drill held-readers payment-cost idle-cost bench chaos power-loss one-way soak chaos-tools lint deny advisories zookeeper clean

# Whichever this machine has: the plugin of docker, or the program of its own.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
PORT ?= 7101
DATA ?= quorapay-dev
SEEDS ?= 2000
SECONDS ?= 60
SOAK ?= 2h
ROUNDS ?= 50
ROUNDS_PER_CHECK ?= 5
RATE ?= 1000
ENTRIES ?= 1000000
SOAK_SEEDS ?= 100000

help: ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

stack: ## the stack of docker-compose.yml: three ZooKeeper servers and three nodes in containers
	QUORAPAY_REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(COMPOSE) up --build --detach

down: ## stop the stack and remove its containers; ledgers and secrets stay in their volumes
	$(COMPOSE) down

logs: ## follow what the containers of the stack say
	$(COMPOSE) logs --follow --tail 100

alerts: ## check and test the alert rules with Prometheus' own tool
	bash runbooks/observability/promtool.sh

dashboard-check: zookeeper ## run the dashboard's and the alerts' queries in a real Prometheus while nodes die, for a minute
	bash runbooks/observability/promtool.sh install
	cargo test --workspace --test it every_panel_has_data -- --ignored --nocapture

zookeeper: ## install ZooKeeper if it is missing
	@bash zk/zookeeper.sh where >/dev/null 2>&1 || bash zk/zookeeper.sh install

up: zookeeper ## run ZooKeeper and three nodes on this machine, until Ctrl-C
	cargo build --release --bin quorapay
	./target/release/quorapay dev --port $(PORT) --data-dir $(DATA)

test: zookeeper chaos-tools ## run every test, including those with a real ZooKeeper
	cargo test --workspace --lib --bins
	N=$(SEEDS) cargo test --workspace --test sim
	N=20 cargo test --workspace --test nodes
	cargo test --workspace --test it
	$(MAKE) payment-cost
	cargo test --workspace --test chaos
	cargo test --workspace --doc
	BINARY=$(CURDIR)/target/debug/quorapay bash tests/http/schemathesis.sh 60
	SEED=1 bash tests/fuzz/run.sh 33
	bash runbooks/observability/promtool.sh

test-compose: ## every fault on the stack of docker-compose.yml, in containers; installs docker where it can, leaves only images
	bash tests/compose/run.sh

sim: ## run only the simulation: make sim N=100000, or one run: make sim SEED=7
	cargo test -p quorapay-core --test sim $(if $(SEED),a_sweep_of_seeds) -- --nocapture

nodes: ## run the simulation of whole nodes: make nodes N=1000, or one run: make nodes SEED=7 (TRACE=1 logs it)
	cargo test --workspace --test nodes a_sweep_of_whole_nodes -- --nocapture

planted: ## check that the simulation finds each planted bug; replay one: make planted PLANTED=name SEED=7
	cargo test -p quorapay-core --features planted-bugs --test sim every_planted_bug -- --nocapture

planted-table: ## the same, and write the results into docs/TESTING.md
	PLANTED_TABLE=$(CURDIR)/docs/TESTING.md $(MAKE) planted

http: zookeeper ## test a real cluster against its OpenAPI description: make http SECONDS=60
	bash tests/http/schemathesis.sh $(SECONDS)

fuzz: ## fuzz every parser of untrusted input, for SECONDS in total: make fuzz SECONDS=600
	bash tests/fuzz/run.sh $(SECONDS)

openapi: ## write docs/openapi.json again from the handlers
	UPDATE_OPENAPI=1 cargo test --workspace --lib the_description_that_is_checked_in

drill: zookeeper ## measure failover, pause, leadership transfer, ZooKeeper outage and catch-up on real processes
	cargo build --release --bin quorapay
	QUORAPAY_BINARY=$(CURDIR)/target/release/quorapay cargo test --workspace --test it drill -- --ignored --nocapture --test-threads 1

held-readers: zookeeper ## payments with a reader on every ledger and without: make held-readers RATE=10000
	cargo build --release --bin quorapay
	RATE=$(RATE) SECONDS=$(SECONDS) QUORAPAY_BINARY=$(CURDIR)/target/release/quorapay cargo test --workspace --test it measure_payments_while -- --ignored --nocapture

payment-cost: zookeeper ## processor time of a payment on each node, in a debug build
	cargo test --workspace --test it measure_the_processor_time_of_a_payment -- --ignored --nocapture

bench: zookeeper ## measure every table of docs/BENCHMARKS.md and write it there; make bench QUICK=1 is short and only prints
	cargo build --release --bin quorapay
	python3 tests/bench/run.py --port $(PORT) $(if $(QUICK),--quick)

idle-cost: zookeeper ## processor time of an idle leader with a dead follower: make idle-cost ENTRIES=1000000
	cargo build --release --bin quorapay
	ENTRIES=$(ENTRIES) QUORAPAY_BINARY=$(CURDIR)/target/release/quorapay cargo test --workspace --test it measure_an_idle_leader -- --ignored --nocapture

chaos-tools:
	@bash tests/chaos/tools.sh install || echo "some faults will be skipped; the report says which"

chaos: zookeeper chaos-tools ## make faults on real processes: make chaos SECONDS=60 SEED=1
	cargo build --release --bin quorapay
	./target/release/quorapay chaos --duration $(SECONDS)s $(if $(SEED),--seed $(SEED)) --report target/chaos

power-loss: zookeeper chaos-tools ## power losses, failed syncs, kills at a sync, as root: make power-loss ROUNDS=50
	cargo build --bin quorapay
	QUORAPAY_BINARY=$(CURDIR)/target/debug/quorapay bash tests/chaos/power_loss.sh $(ROUNDS) $(ROUNDS_PER_CHECK)

one-way: zookeeper chaos-tools ## each direction between two nodes fails, as root: make one-way ROUNDS=14 tries each form once
	cargo build --release --bin quorapay
	./target/release/quorapay chaos --network namespaces --faults partition-link --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) --report target/one-way

soak: zookeeper chaos-tools ## run SOAK=2h of chaos and SOAK_SEEDS=100000 simulations; reports in target/soak
	mkdir -p target/soak
	env -u SEED N=$(SOAK_SEEDS) cargo test -p quorapay-core --test sim -- --nocapture >target/soak/simulation.log 2>&1 || (tail -40 target/soak/simulation.log && false)
	cargo build --release --bin quorapay
	./target/release/quorapay chaos --duration $(SOAK) $(if $(SEED),--seed $(SEED)) --report target/soak/chaos

lint: deny ## check formatting, clippy, documentation, dependencies
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

deny: ## check licences, versions and origins of the dependencies, by deny.toml
	bash .ci/deny.sh licenses bans sources

advisories: ## check the dependencies for known vulnerabilities; fetches the database of advisories
	bash .ci/deny.sh advisories

clean: ## remove the build output and the development cluster's data
	cargo clean
	rm -rf $(DATA)
