# Tortie: one command runs it, one tests it, one measures it. Each installs what it needs.
# KEEP=1 leaves the demo's lab up. ARGS is passed on to the benchmarks.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TORTIE := $(TARGET)/release/tortie

.PHONY: help demo test lint unit bench build install tools kube image cluster cluster-images cluster-test cluster-bench

help:
	@echo 'make demo    a lab on this machine: pods, policy, real packets, and what blocked which (KEEP=1 leaves it up)'
	@echo 'make test    all tests (root; everything happens in network namespaces of their own)'
	@echo 'make bench   the benchmarks, and those of cluster-bench: name=value lines'
	@echo 'make build   the release binary, $(TORTIE)'
	@echo 'make image   a container image, image.tar'
	@echo 'make cluster a real Kubernetes of two nodes on this machine, with Tortie as its network (kube-lab/stop-all.sh ends it)'
	@echo 'make cluster-test   the same, tried: pods, policy, restarts, outages, leaks (SUITES=1: and the public suites, half an hour)'
	@echo 'make cluster-bench  the same, measured: name=value lines'
	@echo 'make install the binary, its names as calicoctl and CNI plugin, and the service, on this machine'

tools:
	@tools/install

# A Kubernetes for the tests, from its Go modules; kept in ~/.cache/tortie-kube.
kube: tools
	@kube-lab/build-kube.sh

build: tools
	$(CARGO) build --release --bin tortie

demo: build
	$(TORTIE) demo $(if $(KEEP),--keep)

test: tools lint unit

lint: tools
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: tools kube
	$(CARGO) test --workspace --locked --no-fail-fast

bench: tools kube
	$(CARGO) build --release --workspace --bins
	$(TARGET)/release/tortie-bench $(ARGS)
	$(if $(ARGS),,$(MAKE) cluster-bench)

# A container image with the binary in it.
image: build
	packaging/image image.tar

# A real cluster of two nodes in namespaces of this machine, with Tortie as its network, and the demo's shop in it.
cluster: cluster-images
	@kube-lab/start-cluster.sh
	@TORTIE=$(abspath $(TORTIE)) kube-lab/shop.sh

# Its programs and images.
cluster-images: kube build
	@kube-lab/install
	@kube-lab/build-image.sh
	@packaging/image $$(kube-lab/where)/tortie.tar

# What needs kubelets, containerd and minutes: the tests aren't part of `make test`. ARGS goes to the program, for example
# ARGS='policy first --pods 100'; KEEP=1 leaves the cluster up. CLUSTER=etcd, vxlan, subnets, dual or helm: another cluster (kube-lab/README.md).
cluster-test cluster-bench: cluster-images
	$(CARGO) build --release -p tortie-cluster
	@kube-lab/with-cluster.sh $(TARGET)/release/tortie-cluster $(@:cluster-%=%) $(ARGS)

install: build
	packaging/install
