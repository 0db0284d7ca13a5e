#!/usr/bin/env bash
# The whole job, on one machine with nothing installed: plan, apply, an empty plan, an edit, its plan and its reason.
#
# A scratch git repository is made from examples/quickstart in a temporary folder, which stays there to look at.
# `--quiet` shows a step's output only where the step does not do what it should, and removes the folder at the end.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
quiet=false
[ "${1:-}" = --quiet ] && quiet=true

say() { printf '\n\033[1m== %s\033[0m\n\n' "$1" | if [ -t 1 ]; then cat; else sed $'s/\033\\[[0-9;]*m//g'; fi; }

# Runs the program, and fails unless it exits with the code that is expected.
step() {
    local expected=$1 code=0 output
    shift
    if $quiet; then
        output=$("$program" "$@" 2>&1) || code=$?
    else
        echo "\$ stagewright $*"
        "$program" "$@" || code=$?
    fi
    if [ "$code" != "$expected" ]; then
        printf '%s\n' "${output:-}" >&2
        echo "error: \`stagewright $*\` exited with $code, not with $expected" >&2
        exit 1
    fi
}

# Commits all changes; author and time are fixed, so every demo makes the same commits.
commit() {
    git add --all
    GIT_AUTHOR_DATE='2026-01-01T12:00:00Z' GIT_COMMITTER_DATE='2026-01-01T12:00:00Z' git \
        -c user.name='Demo' -c user.email='demo@shop.example' -c commit.gpgsign=false commit --quiet --message "$1"
}

# The development profile: it is built in a fraction of the release build's time, and fast enough for a shop.
say "Build (development profile; \`make build\` makes the one to use)"
cargo build --quiet --locked --manifest-path "$root/Cargo.toml"
program=${CARGO_TARGET_DIR:-$root/target}/debug/stagewright

scratch=$(mktemp -d "${TMPDIR:-/tmp}/stagewright-demo.XXXXXX")
trap '$quiet && rm -rf "$scratch"' EXIT
cp -R "$root/examples/quickstart" "$scratch/shop"
cd "$scratch/shop"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
git -c init.defaultBranch=main init --quiet
commit "the shop"

say "1. Plan: everything that would happen, and why. Nothing is written."
step 2 plan --env dev --exit-code --out ../first.plan
[ ! -e .stagewright ] || { echo "error: plan wrote to .stagewright" >&2; exit 1; }

say "2. Apply the saved plan: build, store and deploy exactly that."
step 0 apply ../first.plan

say "3. Plan again: nothing to do."
step 0 plan --env dev --exit-code

say "4. Edit one file of the assets, commit, plan: what follows from it, and why."
sed 's/#2f6f4f/#8a3b12/' assets/css/shop.css >edited && mv edited assets/css/shop.css
commit "assets: a warmer colour"
$quiet || git --no-pager show --format='commit %h: %s' --unified=0 HEAD
step 2 plan --env dev --exit-code --out ../second.plan
step 0 why frontend --env dev

say "5. Apply it."
step 0 apply ../second.plan

say "6. A commit that reaches no image and no manifest: nothing to do."
echo "More tea soon." >>README.md
commit "readme: more tea"
step 0 plan --env dev --exit-code

if ! $quiet; then
    say "Look at it"
    echo "repository   $PWD"
    echo "OCI layout   $PWD/.stagewright/store        skopeo inspect oci:…:TAG reads it"
    echo "manifests    $PWD/.stagewright/manifests"
    echo
    (cd .stagewright && find manifests -type f | sort)
    echo
    echo "Remove it all with:"
    echo "rm -rf $scratch"
else
    echo "demo: ok"
fi
