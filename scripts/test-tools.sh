#!/usr/bin/env bash
# Brings the tools that the tests compare with: skopeo and umoci read our OCI layouts, docker-registry serves charts.
#
# As root on Debian and Ubuntu they are installed; elsewhere it is said what to install. Without them the tests
# that need them are skipped, but not in CI (CI=true), where that is a failure.
set -euo pipefail

missing=()
for tool in skopeo umoci docker-registry; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "Installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null && exit 0
    echo "error: ${missing[*]} could not be installed" >&2
elif command -v apt-get >/dev/null; then
    echo "Tests that need ${missing[*]} are skipped. To install them:" >&2
    echo "  sudo apt-get install ${missing[*]}" >&2
elif command -v brew >/dev/null; then
    echo "Tests that need ${missing[*]} are skipped. To install them:" >&2
    for tool in "${missing[@]}"; do
        case $tool in
            skopeo) echo "  brew install skopeo" >&2 ;;
            docker-registry) echo "  go install github.com/distribution/distribution/v3/cmd/registry@latest, as docker-registry" >&2 ;;
            umoci) echo "  go install github.com/opencontainers/umoci/cmd/umoci@latest" >&2 ;;
        esac
    done
else
    echo "Tests that need ${missing[*]} are skipped; install them with the package manager of this system." >&2
fi
[ "${CI:-}" != true ]
