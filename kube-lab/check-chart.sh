#!/usr/bin/env bash
# What Helm makes of the chart is what the manifests in deploy/ say, document by document and to the byte; only their order is Helm's own (by kind).
# The same is tried without Helm by crates/tortie/tests/chart.rs.
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh
# A document in a line, without where it comes from, its lines ended by \1.
documents() { grep -v '^# Source: ' "$1" | awk 'BEGIN {RS = "---\n"} NF {sub(/\n+$/, ""); gsub(/\n/, "\1"); print}' | sort; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for manifest in tortie tortie-etcd:etcd tortie-dual:dual; do
    values=${manifest#*:} manifest=${manifest%:*}; [ "$values" != "$manifest" ] && with=(--values "../deploy/helm/$values.yaml") || with=()
    "$BIN/helm" template tortie ../deploy/helm/tortie --namespace kube-system "${with[@]}" >"$work/$manifest.yaml" 2>"$work/said" || die "$(cat "$work/said")"
    diff <(documents "../deploy/$manifest.yaml" | tr '\1' '\n') <(documents "$work/$manifest.yaml" | tr '\1' '\n') || die "deploy/$manifest.yaml isn't what Helm makes of the chart"
    echo "deploy/$manifest.yaml: $(documents "$work/$manifest.yaml" | wc -l) documents, as by Helm"
done
crds=$("$BIN/helm" show crds ../deploy/helm/tortie 2>/dev/null | grep -c '^kind: CustomResourceDefinition')
[ "$crds" = "$(grep -c '^kind: CustomResourceDefinition' ../deploy/crds.yaml)" ] || die "Helm finds $crds kinds in the chart"
echo "deploy/crds.yaml: $crds kinds, as by Helm"
