#!/usr/bin/env bash
# docker/jupyter.sh [port]
#
# Starts JupyterLab in the running container, with a random token, and prints its URL. Notebooks can import the modules
# of src/. The port is that of the container (8888), for which docker/run.sh has published one of the host.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

# Requests that name another host are refused, as an attack by DNS rebinding would send them. Jupyter compares names and
# addresses of this machine itself, but no other address: where BIND is one, the token alone protects it.
remote=False
[[ $ADDRESS == 0.0.0.0 || $ADDRESS == 127.* ]] || remote=True

# The token stays the same until the container ends. It is in a file, because other users can see arguments, and has no
# newline, which would become part of it.
# shellcheck disable=SC2016 # the container's sh expands it
serve jupyter "${1-8888}" "set -- \"\$1\" $remote '$(hostname)'"'
  umask 077
  [ -s /tmp/jupyter-token ] || od -An -N24 -tx1 /dev/urandom | tr -d " \n" >/tmp/jupyter-token
  umask 022
  export JUPYTER_TOKEN_FILE=/tmp/jupyter-token PYTHONPATH=/workspace/src
  exec jupyter lab --no-browser --allow-root --ip=0.0.0.0 --port="$1" --ServerApp.port_retries=0 \
    --ServerApp.allow_remote_access="$2" --ServerApp.local_hostnames=localhost --ServerApp.local_hostnames="$3"'
echo "$url/lab?token=$(in_container 'cat /tmp/jupyter-token')"
