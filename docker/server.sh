# shellcheck shell=bash
# Sourced by tensorboard.sh, mlflow.sh, jupyter.sh and explore.sh: starts a server in the container.
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

START_TIMEOUT=120 # seconds, for a slow machine; the wait ends as soon as the server answers or has ended

# in_container CODE [ARGUMENT ...]: run the code in the container's sh
in_container() {
  docker exec "$CONTAINER" sh -c "$1" sh "${@:2}"
}

# answers ADDRESS PORT: succeed if a web server answers. A connection alone proves nothing: Docker accepts those itself.
answers() {
  (
    exec 3<>"/dev/tcp/$1/$2"
    printf 'GET / HTTP/1.0\r\nHost: localhost:%s\r\n\r\n' "$2" >&3
    read -r -t 10 status <&3
    [[ $status == HTTP/* ]]
  ) 2>/dev/null
}

# serve NAME PORT CODE: start the server, unless it is running, and wait until it answers here, on the host. Sets url.
# PORT is that of the container. CODE is for sh, ends in `exec`, and finds the port in $1.
# shellcheck disable=SC2034 # used by the scripts
serve() {
  local name=$1 port=$2 code=$3 published address host_port
  local folder=/tmp/patch_sets_servers
  local log=$folder/$name-$port.log pid=$folder/$name-$port.pid
  local runs="kill -0 \$(cat $pid)"

  [[ $port =~ ^[0-9]+$ ]] || die "'$port' is not a port: see docker/${0##*/} -h"
  require_container
  published=$(docker port "$CONTAINER" "$port/tcp" 2>/dev/null | head -n 1) || true
  [[ -n $published ]] || die "port $port of the container is not published: run docker/stop.sh, then" \
    "PORTS=\"$(setting PORTS "$SERVER_PORTS") $port:$port\" docker/run.sh"
  address=${published%:*} host_port=${published##*:}
  url=http://$address:$host_port
  if [[ $address == 0.0.0.0 ]]; then
    address=127.0.0.1 url=http://$(hostname):$host_port
  fi

  if ! in_container "$runs" 2>/dev/null; then
    ! answers "$address" "$host_port" || die "port $port is used by another server in the container: choose another"
    in_container "mkdir -p $folder; ($code) >$log 2>&1 </dev/null & echo \$! >$pid" "$port"
  fi
  local end=$((SECONDS + START_TIMEOUT))
  until answers "$address" "$host_port"; do
    if ! in_container "$runs" 2>/dev/null; then
      in_container "tail -n 20 $log" >&2
      die "$name has ended: see above"
    fi
    ((SECONDS < end)) || die "$name did not answer within $START_TIMEOUT s; its log: docker/exec.sh cat $log"
    sleep 0.2
  done
}
