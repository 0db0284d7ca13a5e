#!/usr/bin/env bash
# Brings the tools and services that the tests use: skopeo and umoci read our OCI layouts, docker-registry serves
# charts and stages, dockerd builds and runs images (made from a static busybox), ansible-playbook runs tasks, newuidmap
# gives users ranges of ids; xz, bzip2 and ssh-agent make what builds take.
#
# As root on Debian and Ubuntu they are installed; elsewhere it is said what to install. Without them the tests
# that need them are skipped, but not in CI (CI=true), where that is a failure.
set -euo pipefail

# program=package of Debian
tools=(skopeo=skopeo umoci=umoci docker-registry=docker-registry dockerd=docker.io busybox=busybox-static ansible-playbook=ansible-core newuidmap=uidmap xz=xz-utils bzip2=bzip2 ssh-agent=openssh-client)
PATH=$PATH:/usr/sbin:/sbin

programs=() packages=()
for tool in "${tools[@]}"; do
    command -v "${tool%%=*}" >/dev/null && continue
    programs+=("${tool%%=*}")
    packages+=("${tool#*=}")
done
[ ${#programs[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "Installing ${packages[*]}" >&2
    # The tests start services of their own: with this run level the packages start none.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null && exit 0
    echo "error: ${packages[*]} could not be installed" >&2
elif command -v apt-get >/dev/null; then
    echo "Tests that need ${programs[*]} are skipped. To install them:" >&2
    echo "  sudo apt-get install ${packages[*]}" >&2
elif command -v brew >/dev/null; then
    echo "Tests that need ${programs[*]} are skipped. To install them:" >&2
    for program in "${programs[@]}"; do
        case $program in
            skopeo) echo "  brew install skopeo" >&2 ;;
            ansible-playbook) echo "  brew install ansible" >&2 ;;
            docker-registry) echo "  go install github.com/distribution/distribution/v3/cmd/registry@latest, as docker-registry" >&2 ;;
            umoci) echo "  go install github.com/opencontainers/umoci/cmd/umoci@latest" >&2 ;;
            *) echo "  ($program runs on Linux only)" >&2 ;;
        esac
    done
else
    echo "Tests that need ${programs[*]} are skipped; install them with the package manager of this system." >&2
fi
[ "${CI:-}" != true ]
