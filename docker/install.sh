#!/bin/sh
# [CPU=1] sh docker/install.sh VENV LOCK [option of uv pip sync ...]
#
# Fills the environment VENV, which has pip, from LOCK, each file checked by its hash, and writes into VENV/.installed
# what it has (docker/choose_lock.sh reads it). UV_OPTIONS may hold options too.
#
# With CPU=1, torch has no CUDA, which saves 4 GB: torch and torchvision come from uv's --torch-backend cpu, where they
# have other hashes than in LOCK. All other packages are installed by hash, except CUDA's own, which are left out.
set -eu
venv=$1 lock=$2
shift 2
wanted=$(basename "$lock")
[ "${CPU-}" != 1 ] || wanted="$wanted CPU=1"

uv_pip() { # COMMAND OPTION ...
  verb=$1
  shift
  # shellcheck disable=SC2086 # UV_OPTIONS holds several words
  "$venv/bin/uv" pip "$verb" --python "$venv/bin/python" ${UV_OPTIONS-} "$@"
}

"$venv/bin/python" -c 'import sys
if sys.version_info < (3, 11):
    sys.exit("Python %d.%d is older than 3.11: the README says under Start how to get another" % sys.version_info[:2])'

awk '/^uv==/ { found = 1 } found { print } found && !/\\$/ { exit }' "$lock" |
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement /dev/stdin

# torch of the other kind has the version that the lock names, so uv would keep it
kind=cuda
case $(ls "$venv"/lib/python*/site-packages 2>/dev/null) in *torch-*+cpu.dist-info*) kind=cpu ;; esac
if [ "${CPU-}" = 1 ]; then
  torch=$(grep -oE '^torch(vision)?==[^ ]+' "$lock")
  # tried before anything is removed
  # shellcheck disable=SC2086 # two requirements
  if ! problem=$(uv_pip install "$@" --torch-backend cpu --no-deps --reinstall --dry-run $torch 2>&1); then
    reason=$(echo "$problem" | sed -n '$s/^ *\(cause: \)*//p')
    echo "torch without CUDA is out of reach, and nothing was changed: $reason. Without CPU=1, torch with CUDA is" \
      "installed: it computes on the CPU too" >&2
    exit 1
  fi
  requirements=$(mktemp)
  trap 'rm -f "$requirements"' EXIT
  awk '/^[^ #]/ { cuda = /^(nvidia-|cuda-|triton==)/ && !/^nvidia-ml-py==/; torch = /^torch(vision)?==/ }
    torch { if (/--hash/) next; sub(/ *\\$/, "") }
    !cuda' "$lock" >"$requirements"
  set -- "$@" --torch-backend cpu
  [ $kind = cpu ] || set -- "$@" --reinstall-package torch --reinstall-package torchvision
else
  requirements=$lock
  set -- "$@" --require-hashes
  [ $kind = cuda ] || set -- "$@" --reinstall-package torch --reinstall-package torchvision
fi
rm -f "$venv/.installed" # until all is there again
uv_pip sync "$@" "$requirements"
{ echo "$wanted" && cat "$lock"; } >"$venv/.installed"
